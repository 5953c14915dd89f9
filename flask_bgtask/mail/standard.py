"""Freezing a message of the standard library."""

from __future__ import annotations

import copy
from email.message import Message as StandardMessage
from email.policy import EmailPolicy
from email.utils import formatdate, getaddresses, make_msgid
from typing import Any

from flask import Flask
from flask_mail import sanitize_address

from ..errors import ArgumentError
from .addresses import bare_address, needs_utf8, refuse_breaks
from .settings import flask_mail_state


def render_standard(app: Flask, message: StandardMessage) -> dict[str, Any]:
    """Freeze an :class:`email.message.EmailMessage`.

    Sender and recipients come from the headers, the ``Resent-`` ones where there are such (RFC
    5322, 3.6.6). ``From``, ``Date`` and ``Message-ID`` are added where they are missing.
    """
    refuse_header_breaks(message)
    own = _own_copy(message)
    prefix = _prefix(own)
    hidden = _recipients(own, f"{prefix}Bcc")
    recipients = _recipients(own, f"{prefix}To") + _recipients(own, f"{prefix}Cc") + hidden
    del own["Bcc"], own["Resent-Bcc"]
    _complete(own, flask_mail_state(app).default_sender)
    sender = _sender(own, prefix)
    utf8 = _write_ascii_domains(own)
    return {
        "sender": sender,
        "recipients": recipients,
        "message_id": str(own["Message-ID"]).strip(),
        "mime": _rendered(own, utf8),
        "mail_options": [],
        "rcpt_options": [],
        "utf8": utf8,
        "fields": None,
        "bcc": hidden,
    }


def refuse_header_breaks(message: StandardMessage) -> None:
    """Refuse line breaks in all headers; the older policies of the library let them in."""
    for part in message.walk():
        for name, value in part.items():
            refuse_breaks(name, "message")
            refuse_breaks(value, f"message[{name!r}]", folded=True)


def _own_copy(message: StandardMessage) -> StandardMessage:
    """A copy that can be rendered without a change to the message; contents are shared.

    Rendering sets boundaries, in parts too. No deep copy: an object that somebody hung onto the
    message, such as a connection, may not know how to be copied.
    """
    own = copy.copy(message)
    # A deletion gives the copy a list of headers of its own, whether the header is there or not.
    del own["Status"]
    if own.is_multipart():
        parts: Any = own.get_payload()
        own.set_payload([_own_copy(part) for part in parts])
    return own


def _prefix(message: StandardMessage) -> str:
    blocks = len(message.get_all("Resent-Date", []))
    if blocks > 1:
        raise ArgumentError("message", "was resent more than once: which recipients are meant?")
    return "Resent-" if blocks else ""


def _recipients(message: StandardMessage, header: str) -> list[str]:
    addresses = []
    for value in message.get_all(header, []):
        for name, address in getaddresses([str(value)]):
            if address or not str(value).strip().endswith(";"):  # an empty group (RFC 5322, 3.4)
                addresses.append(bare_address((name, address), f"message[{header!r}]"))
    return addresses


def _complete(message: StandardMessage, default_sender: Any) -> None:
    if not str(message["From"] or "").strip():
        if not default_sender:
            raise ArgumentError(
                "message['From']", "is missing: set it, or MAIL_DEFAULT_SENDER in the configuration"
            )
        bare_address(default_sender, "MAIL_DEFAULT_SENDER")
        del message["From"]
        message["From"] = sanitize_address(default_sender)
    if message["Date"] is None:
        message["Date"] = formatdate(localtime=True)
    if not str(message["Message-ID"] or "").strip():
        del message["Message-ID"]
        sender = _sender(message, "").rpartition("@")[2]
        message["Message-ID"] = make_msgid(domain=sender if sender.isascii() else None)


def _sender(message: StandardMessage, prefix: str) -> str:
    header = f"{prefix}Sender" if message[f"{prefix}Sender"] else f"{prefix}From"
    value = message[header] or message["From"]
    name, address = (getaddresses([str(value)]) or [("", "")])[0]
    return bare_address((name, address), f"message[{header!r}]")


_ADDRESS_HEADERS = ("From", "Sender", "Reply-To", "To", "Cc")


def _write_ascii_domains(message: StandardMessage) -> bool:
    """Write internationalised domains as ASCII; whether an address is left that is not."""
    left = False
    for header in (p + name for p in ("", "Resent-") for name in _ADDRESS_HEADERS):
        value = text = message[header]
        if value is None:
            continue
        for _, address in getaddresses([str(value)]):
            local, at, domain = address.rpartition("@")
            if not domain.isascii():
                ascii_domain = bare_address(f"x@{domain}", f"message[{header!r}]")[1:]
                text = str(text).replace(at + domain, ascii_domain)
            left = left or needs_utf8(local)
        if text is not value:
            message.replace_header(header, text)
    return left


def _rendered(message: StandardMessage, utf8: bool) -> bytes:
    policy = message.policy.clone(linesep="\r\n")
    if isinstance(policy, EmailPolicy):
        policy = policy.clone(utf8=utf8)
    return message.as_bytes(policy=policy)
