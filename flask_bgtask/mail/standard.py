"""Freezing a message of the standard library."""

from __future__ import annotations

import copy
import time
from email.message import Message as StandardMessage
from email.utils import formatdate, make_msgid
from functools import lru_cache
from itertools import chain
from typing import Any

from flask import Flask
from flask_mail import sanitize_address

from ..errors import ArgumentError
from .addresses import addresses_in, bare_address, has_break, needs_utf8, refuse_breaks
from .rendering import rendered
from .settings import flask_mail_state

Headers = dict[str, list[Any]]
"All values of each header, by its name in lower case: a message looks through its list each time."


def render_standard(app: Flask, message: StandardMessage) -> dict[str, Any]:
    """Freeze an :class:`email.message.EmailMessage`.

    Sender and recipients come from the headers, the ``Resent-`` ones where there are such (RFC
    5322, 3.6.6). ``From``, ``Date`` and ``Message-ID`` are added where they are missing.
    """
    refuse_header_breaks(message)
    own = _own_copy(message)
    headers = _headers(own)
    prefix = _prefix(headers)
    hidden = _recipients(headers, f"{prefix}Bcc")
    recipients = _recipients(headers, f"{prefix}To") + _recipients(headers, f"{prefix}Cc") + hidden
    del own["Bcc"], own["Resent-Bcc"]
    added = _missing_author(own, headers, flask_mail_state(app).default_sender)
    sender = _sender(headers, prefix)
    added += _missing_marks(own, headers, sender.rpartition("@")[2])
    utf8 = _write_ascii_domains(own, headers)
    return {
        "sender": sender,
        "recipients": recipients,
        "message_id": _first(headers, "message-id").strip(),
        "mime": added.encode() + rendered(own, utf8=utf8),
        "mail_options": [],
        "rcpt_options": [],
        "utf8": utf8,
        "fields": None,
        "bcc": hidden,
    }


def refuse_header_breaks(message: StandardMessage) -> None:
    """Refuse line breaks in all headers; the older policies of the library let them in."""
    for part in message.walk():
        headers = part.items()
        if has_break("".join(map(str, chain.from_iterable(headers)))):
            for name, value in headers:
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


def _headers(message: StandardMessage) -> Headers:
    headers: Headers = {}
    for name, value in message.items():
        headers.setdefault(name.lower(), []).append(value)
    return headers


def _first(headers: Headers, name: str) -> str:
    """The first of a header's values; empty if it is not there."""
    return str(headers[name][0]) if name in headers else ""


def _prefix(headers: Headers) -> str:
    blocks = len(headers.get("resent-date", ()))
    if blocks > 1:
        raise ArgumentError("message", "was resent more than once: which recipients are meant?")
    return "Resent-" if blocks else ""


def _recipients(headers: Headers, header: str) -> list[str]:
    addresses = []
    for value in headers.get(header.lower(), ()):
        for name, address in addresses_in(value):
            if address or not str(value).strip().endswith(";"):  # an empty group (RFC 5322, 3.4)
                addresses.append(bare_address((name, address), f"message[{header!r}]"))
    return addresses


# Headers that are added are written as they stand: to have the library parse them and fold them
# again costs as much as all other headers together.


def _missing_author(message: StandardMessage, headers: Headers, default_sender: Any) -> str:
    """``From`` as it has to be added to the message, if it is not there or empty."""
    if _first(headers, "from").strip():
        return ""
    if not default_sender:
        raise ArgumentError(
            "message['From']", "is missing: set it, or MAIL_DEFAULT_SENDER in the configuration"
        )
    bare_address(default_sender, "MAIL_DEFAULT_SENDER")
    del message["From"]
    author = sanitize_address(default_sender)
    headers["from"] = [author]
    return f"From: {author}\r\n"


def _missing_marks(message: StandardMessage, headers: Headers, domain: str) -> str:
    """``Date`` and ``Message-ID``, the same way."""
    added = ""
    if "date" not in headers:
        added = f"Date: {_date(int(time.time()))}\r\n"
    if not _first(headers, "message-id").strip():
        del message["Message-ID"]
        made = make_msgid(domain=domain if domain.isascii() else None)
        headers["message-id"] = [made]
        added += f"Message-ID: {made}\r\n"
    return added


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    return formatdate(now, localtime=True)


def _sender(headers: Headers, prefix: str) -> str:
    header = f"{prefix}Sender" if _first(headers, f"{prefix}Sender".lower()) else f"{prefix}From"
    value = _first(headers, header.lower()) or _first(headers, "from")
    found = addresses_in(value)
    return bare_address(found[0] if found else ("", ""), f"message[{header!r}]")


_ADDRESS_HEADERS = tuple(
    prefix + name
    for prefix in ("", "resent-")
    for name in ("from", "sender", "reply-to", "to", "cc")
)


def _write_ascii_domains(message: StandardMessage, headers: Headers) -> bool:
    """Write internationalised domains as ASCII; whether an address is left that is not."""
    left = False
    for header in _ADDRESS_HEADERS:
        value = text = _first(headers, header)
        if value.isascii():
            continue
        for _, address in addresses_in(value):
            local, at, domain = address.rpartition("@")
            if not domain.isascii():
                ascii_domain = bare_address(f"x@{domain}", f"message[{header.title()!r}]")[1:]
                text = text.replace(at + domain, ascii_domain)
            left = left or needs_utf8(local)
        if text is not value:
            message.replace_header(header, text)
    return left
