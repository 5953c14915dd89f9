"""Opening an SMTP connection, up to the point where a mail can be sent."""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from .failures import MailDeferred, MailRefused, Stage, judge, readable
from .settings import Server
from .smtp import Client, EncryptedClient


def connect(server: Server) -> Client:
    """Connect, greet, encrypt and log in, as configured.

    :raises MailDeferred: it does not work at the moment.
    :raises MailRefused: the server said no for good.
    """
    client = _greeted(server)
    try:
        client.set_debuglevel(server.debug)
        with _at(Stage.EHLO):
            client.ehlo_or_helo_if_needed()
        if server.use_tls and not server.use_ssl:
            _encrypt(client, server)
        if server.username and server.password:
            _log_in(client, server.username, server.password)
    except BaseException:
        client.close()
        raise
    return client


def failure_at(stage: Stage, error: OSError) -> MailRefused | MailDeferred:
    """What went wrong at a stage, as one of our failures; smtplib's are all ``OSError``."""
    if isinstance(error, smtplib.SMTPResponseException):
        return judge(stage, error.smtp_code, error.smtp_error)
    if isinstance(error, ssl.SSLError):
        return MailDeferred(Stage.TLS, 0, _tls_text(error))
    return MailDeferred(stage, 0, str(error) or type(error).__name__)


@contextmanager
def _at(stage: Stage) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise failure_at(stage, error) from error


def _tls_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    return str(error)


def _greeted(server: Server) -> Client:
    with _at(Stage.CONNECT):
        try:
            if not server.use_ssl:
                return Client(server.host, server.port, local_name(), timeout=server.timeout)
            return EncryptedClient(
                server.host,
                server.port,
                local_name(),
                timeout=server.timeout,
                context=_tls_context(server),
            )
        except (smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected):
            with _at(Stage.GREETING):
                raise


@cache
def local_name() -> str:
    """How this machine calls itself in EHLO; asked for once, as that may wait for a name server."""
    name = str(smtplib.SMTP().local_hostname)
    return name if name.isascii() else "[127.0.0.1]"


def _tls_context(server: Server) -> ssl.SSLContext:
    """Checks against the system's authorities, or those in ``SSL_CERT_FILE`` (OpenSSL's own)."""
    context = ssl.create_default_context()
    if not server.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _encrypt(client: Client, server: Server) -> None:
    if not client.has_extn("starttls"):
        raise MailRefused(
            Stage.STARTTLS,
            0,
            "MAIL_USE_TLS is set and the server does not offer STARTTLS; nothing was sent",
        )
    with _at(Stage.STARTTLS):
        # What the server said in clear is forgotten (RFC 3207, 4.2), also by smtplib's buffer.
        client.starttls(context=_tls_context(server))
    with _at(Stage.EHLO):
        client.ehlo_or_helo_if_needed()


def _log_in(client: Client, username: str, password: str) -> None:
    """Log in; what the server says of it is shown without the password, which some repeat."""
    failure: MailRefused | MailDeferred
    try:
        client.login(username, password)
        return
    except ValueError:
        # Raised for what is not ASCII in name or password and for a challenge that is no base64.
        if username.isascii() and password.isascii():
            failure = MailDeferred(Stage.AUTH, 0, "the server's challenge is broken")
        else:
            failure = MailRefused(Stage.AUTH, 0, "MAIL_USERNAME or MAIL_PASSWORD is not ASCII")
    except OSError as error:
        # A refusal counts more than the hanging up that may follow it.
        failure = _login_failure(client.auth_refusal or error, username, password)
    try:
        # Raised out here, so that no original error with the server's words comes along.
        raise failure
    finally:
        del failure  # or error and frame would keep one another, and the password


def _login_failure(error: OSError, username: str, password: str) -> MailRefused | MailDeferred:
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
        return judge(Stage.AUTH, error.smtp_code, _without_secrets(text, username, password))
    text = _without_secrets(str(error), username, password)
    # No login is offered, or none that both sides know.
    refused = type(error) in (smtplib.SMTPNotSupportedError, smtplib.SMTPException)
    return (MailRefused if refused else MailDeferred)(Stage.AUTH, 0, readable(text))


def _without_secrets(text: str, username: str, password: str) -> str:
    for secret in (password, f"\0{username}\0{password}"):
        coded = base64.b64encode(secret.encode("utf-8", "replace")).decode("ascii")
        text = text.replace(coded, "•••").replace(secret, "•••")
    return text
