"""Encryption is what was asked for or nothing is sent; passwords stay secret."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult
from mail_servers import Drop, Flood, Inbox, Scripted, real_server

from flask_bgtask.mail import MailDeferred, MailRefused, Stage

Make = Callable[..., Any]

PASSWORD = "hunter2 is secret"
CODED = "aHVudGVyMiBpcyBzZWNyZXQ="  # the same in base64, as LOGIN sends it
PLAIN = "AHVzZXIAaHVudGVyMiBpcyBzZWNyZXQ="  # as PLAIN sends it, with the name


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that this process trusts, by OpenSSL's own variable."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


def tls(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def starttls(authority: trustme.CA) -> Iterator[Callable[[str], tuple[Inbox, int]]]:
    """Makes servers that offer STARTTLS with a certificate for the given name."""
    running = []

    def make(name: str = "localhost", ca: trustme.CA = authority) -> tuple[Inbox, int]:
        context = tls(ca, name)
        server = real_server(lambda inbox: SMTP(inbox, tls_context=context))
        running.append(server)
        return server.__enter__()

    yield make
    for server in running:
        server.__exit__(None, None, None)


def test_starttls_encrypts(starttls: Make, make_post: Make) -> None:
    """``MAIL_USE_TLS``: a certificate of a known authority for this name is needed, and enough."""
    inbox, port = starttls()
    make_post(port, MAIL_SERVER="localhost", MAIL_USE_TLS=True).attempt()
    assert inbox.sessions[0].ssl is not None


def test_tls_from_the_first_byte(authority: trustme.CA, make_post: Make) -> None:
    """``MAIL_USE_SSL``; ``MAIL_USE_TLS`` beside it asks for nothing more."""
    with real_server(SMTP, tls(authority)) as (inbox, port):
        config = {"MAIL_SERVER": "localhost", "MAIL_USE_SSL": True}
        make_post(port, **config).attempt()
        make_post(port, **config, MAIL_USE_TLS=True).attempt()
        assert len(inbox.envelopes) == 2


@pytest.mark.parametrize("bad", ["name", "authority"])
@pytest.mark.parametrize("use", ["MAIL_USE_TLS", "MAIL_USE_SSL"])
def test_a_bad_certificate_stops_the_mail(
    bad: str, use: str, authority: trustme.CA, starttls: Make, make_post: Make
) -> None:
    """Another name, or an authority that nobody knows: nothing is sent, and the error says why."""
    name = "elsewhere" if bad == "name" else "localhost"
    issuer = authority if bad == "name" else trustme.CA()

    def check(inbox: Inbox, port: int) -> None:
        config: dict[str, Any] = {"MAIL_SERVER": "localhost", use: True}
        with pytest.raises(MailDeferred, match="certificate is not trusted") as caught:
            make_post(port, **config).attempt()
        assert caught.value.stage is Stage.TLS
        assert not inbox.envelopes
        # Only who says so in the configuration goes without the check.
        make_post(port, **config, BGTASK_MAIL_VERIFY=False).attempt()
        assert len(inbox.envelopes) == 1

    if use == "MAIL_USE_TLS":
        check(*starttls(name, issuer))
    else:
        with real_server(SMTP, tls(issuer, name)) as running:
            check(*running)


def test_a_server_without_starttls_gets_nothing(scripted: Make, make_post: Make) -> None:
    """Somebody on the way may have taken the offer out: the mail is not sent in clear."""
    server = scripted(["AUTH PLAIN"])
    post = make_post(server, MAIL_USE_TLS=True, MAIL_USERNAME="user", MAIL_PASSWORD=PASSWORD)
    with pytest.raises(MailRefused, match="does not offer STARTTLS"):
        post.attempt()
    assert [line.split()[0].lower() for line in server.commands[0]] == ["ehlo"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("454 not now", MailDeferred),
        ("502 what", MailRefused),
        ("250 sure", MailDeferred),
        (Drop, MailDeferred),
        ("220 go ahead\r\nthis is no TLS", MailDeferred),
        ((b"220 go ahead\r\n", Flood(b"x" * 1000)), MailDeferred),
    ],
    ids=str,
)
def test_starttls_that_fails_stops_the_mail(
    reply: Any, kind: type[Exception], scripted: Make, make_post: Make
) -> None:
    """Whatever the server says instead of beginning TLS, nothing goes out in clear."""
    server = scripted(["STARTTLS"], starttls=[reply])
    post = make_post(server, MAIL_USE_TLS=True, BGTASK_MAIL_TIMEOUT=1)
    with pytest.raises(kind):
        post.attempt()
    assert not [line for line in server.commands[0] if line.upper().startswith("MAIL")]


def test_what_was_said_in_clear_is_forgotten(authority: trustme.CA, make_post: Make) -> None:
    """Replies that somebody puts behind the go-ahead for TLS are thrown away (RFC 3207, 6)."""
    context = tls(authority)

    class Injected(Scripted):
        """Says more than it should with the go-ahead, then speaks TLS as a sane server."""

        def _serve(self, connection: Any, commands: list[str]) -> None:
            encrypted = connection
            try:
                connection.sendall(b"220 ready\r\n")
                assert connection.recv(1000)
                connection.sendall(b"250-server\r\n250-X-CLEAR\r\n250 STARTTLS\r\n")
                assert connection.recv(1000)
                # In one write: the client finds it in the buffer that it read the 220 from.
                connection.sendall(b"220 go\r\n250-evil\r\n250-X-EVIL\r\n250 SIZE 1\r\n")
                encrypted = context.wrap_socket(connection, server_side=True)
                self._sockets.append(encrypted)
                self.script["greeting"] = [b""]
                self.extensions = ["SIZE 100000"]
                super()._serve(encrypted, commands)
            finally:
                encrypted.close()

    server = Injected()
    try:
        post = make_post(server, MAIL_SERVER="localhost", MAIL_USE_TLS=True)
        post.attempt()
        connection = next(iter(post.app.extensions["flask_bgtask.mail"].values()))._idle[0]
        assert connection.size_limit == 100_000
        assert not connection.offers("x-evil")
        assert not connection.offers("x-clear")
        assert len(server.mails) == 1
    finally:
        server.stop()


def log_in_server(known: dict[bytes, bytes]) -> Callable[[Inbox], SMTP]:
    def check(server: Any, session: Any, envelope: Any, mechanism: Any, data: Any) -> AuthResult:
        return AuthResult(success=known.get(data.login) == data.password, handled=False)

    return lambda inbox: SMTP(
        inbox, authenticator=check, auth_required=True, auth_require_tls=False
    )


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_login(make_post: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The right password is let in; a wrong one is a refusal, with the code."""
    with real_server(log_in_server({b"user": PASSWORD.encode()})) as (inbox, port):
        make_post(port, MAIL_USERNAME="user", MAIL_PASSWORD=PASSWORD).attempt()
        assert inbox.sessions[0].authenticated
        post = make_post(port, MAIL_USERNAME="user", MAIL_PASSWORD="wrong")
        with pytest.raises(MailRefused, match="AUTH: 535") as caught:
            post.attempt()
        assert caught.value.code == 535
        with pytest.raises(MailRefused, match="530"):  # no login at all
            make_post(port).attempt()
        assert len(inbox.envelopes) == 1


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (["454 4.7.0 later"] * 2, MailDeferred, 454),
        (["535 no", "535 no"], MailRefused, 535),
        (["535 no", Drop], MailRefused, 535),
        ([("421 busy", Drop)], MailDeferred, 421),
        ([Drop], MailDeferred, 0),
        (["334 abcde"] * 2, MailDeferred, 0),
        (["334 "] + ["334 "] * 20, MailRefused, 0),
        (["504 unknown", "235 in"], None, 0),
    ],
    ids=str,
)
def test_what_a_login_is_answered(
    script: list[Any], kind: type[Any] | None, code: int, scripted: Make, make_post: Make
) -> None:
    """5xx is final and anything else is tried again; a second mechanism gets its chance."""
    server = scripted(["AUTH PLAIN LOGIN"], auth=script[:2])
    # The answers to challenges are lines without a verb.
    for line in (CODED, PLAIN, "dXNlcg=="):
        server.script[line.lower()] = list(script[2:])
    post = make_post(server, MAIL_USERNAME="user", MAIL_PASSWORD=PASSWORD, BGTASK_MAIL_TIMEOUT=1)
    if kind is None:
        post.attempt()
        return
    with pytest.raises(kind) as caught:
        post.attempt()
    assert caught.value.code == code


@pytest.mark.parametrize("offer", [[], ["AUTH GSSAPI"]], ids=str)
def test_a_server_that_knows_no_login(offer: list[str], scripted: Make, make_post: Make) -> None:
    """A password was configured and the server has no use for it: that is told, not ignored."""
    post = make_post(scripted(offer), MAIL_USERNAME="user", MAIL_PASSWORD=PASSWORD)
    with pytest.raises(MailRefused) as caught:
        post.attempt()
    assert caught.value.stage is Stage.AUTH


def test_a_password_that_is_not_ascii(scripted: Make, make_post: Make) -> None:
    """The standard library cannot log in with it; the error does not say what it is."""
    post = make_post(scripted(["AUTH PLAIN"]), MAIL_USERNAME="user", MAIL_PASSWORD="pässwörd")
    with pytest.raises(MailRefused, match="MAIL_PASSWORD is not ASCII") as caught:
        post.attempt()
    assert "pässwörd" not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("debug", [0, 1])
def test_the_password_is_shown_nowhere(
    mechanism: str,
    debug: int,
    scripted: Make,
    make_post: Make,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not in an error with its traceback, not in a log or the dialogue that ``MAIL_DEBUG``
    prints, even if the server repeats what it was sent.
    """
    echo = f"535 what is {PASSWORD} or {CODED} or {PLAIN}? " + "x" * 460 + CODED
    server = scripted([f"AUTH {mechanism}"], auth=[echo])
    config = {"MAIL_USERNAME": "user", "MAIL_PASSWORD": PASSWORD, "MAIL_DEBUG": debug}
    post = make_post(server, **config)
    if mechanism == "LOGIN":
        server.script["auth"] = ["334 VXNlcm5hbWU6"]
        server.script[CODED.lower()] = [echo]
    shown = ""
    with caplog.at_level(logging.DEBUG):
        try:
            post.attempt()
        except MailRefused:
            post.app.logger.exception("it failed")
            shown = caplog.text
    assert "•••" in shown
    output = capsys.readouterr()
    for secret in (PASSWORD, CODED, PLAIN, "aHVudGVy"):
        assert secret not in shown
        assert secret not in output.err
        assert secret not in output.out
        assert secret not in repr(post.memo)
    assert bool(output.err) == bool(debug)
    assert any(PLAIN in line or CODED in line for line in server.all_commands)
