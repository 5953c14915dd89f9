"""A message as it is at ``send_mail``, turned into data that can wait and travel."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import Message as StandardMessage
from email.utils import formataddr
from typing import Any

import flask_mail
from flask import Flask

from ..context import inside
from ..errors import ArgumentError
from . import mime
from .addresses import bare_address, needs_utf8, refuse_breaks, without_doubles
from .settings import check_server, flask_mail_state
from .standard import render_standard

#: Bytes that a mail takes at most as MIME text, where three bytes of an attachment are four.
MAX_MAIL_BYTES = 64 * 1024 * 1024

#: Bytes of its row: texts are there twice, and JSON has up to six bytes for one of theirs.
MAX_STORED_BYTES = 13 * MAX_MAIL_BYTES

#: Lists of addresses in a Flask-Mail message.
_LISTS = ("recipients", "cc", "bcc")


def freeze(app: Flask, message: Any) -> dict[str, Any]:
    """Render a message now; what happens to the object later does not matter.

    :param message: a :class:`flask_mail.Message` or an :class:`email.message.EmailMessage`.
    :return: envelope, MIME bytes and what :func:`.rebuild` needs; plain data.
    :raises ArgumentError: it could never be sent: no recipient, no sender, no mail address,
        too much of it.
    :raises flask_mail.BadHeaderError: a line break where it would begin another header.
    :raises ConfigError: Flask-Mail is not initialised on the app, or knows no server.
    """
    check_server(app)
    render: Callable[[Flask, Any], dict[str, Any]]
    if isinstance(message, flask_mail.Message):
        render = _render
    elif isinstance(message, StandardMessage):
        render = render_standard
    else:
        raise ArgumentError(
            "message",
            f"is a {type(message).__name__}: a flask_mail.Message or an "
            "email.message.EmailMessage is expected",
        )
    with inside(app):
        return _finished(render(app, message))


def _finished(frozen: dict[str, Any]) -> dict[str, Any]:
    """Check the envelope and make the bytes fit for SMTP."""
    recipients = without_doubles(frozen["recipients"])
    if not recipients:
        raise ArgumentError("message.recipients", "is empty: there is nobody to send this to")
    for option in ("mail_options", "rcpt_options"):
        for value in frozen[option]:
            refuse_breaks(value, f"message.{option}")
    raw = mime.fit(frozen["mime"])
    if len(raw) > MAX_MAIL_BYTES:
        raise ArgumentError(
            "message",
            f"takes {len(raw):,} bytes as it is sent, and {MAX_MAIL_BYTES:,} are the limit: "
            "keep large files where they can be fetched from, and send a link",
        )
    return frozen | {"recipients": recipients, "mime": mime.pack(raw)}


def _render(app: Flask, message: flask_mail.Message) -> dict[str, Any]:
    """Freeze a Flask-Mail message, by its own rendering."""
    plain = _plain_copy(message, flask_mail_state(app).default_sender)
    _refuse_bad_headers(plain)
    envelope = [bare_address(each, path) for path, each in _addresses(plain, *_LISTS)]
    return {
        "sender": bare_address(plain.sender, "message.sender"),
        "recipients": envelope,
        "message_id": plain.msgId,
        "mime": _rendered(plain),
        "mail_options": list(map(str, plain.mail_options or ())),
        "rcpt_options": list(map(str, plain.rcpt_options or ())),
        "utf8": False,
        "fields": _fields(plain),
    }


def _plain_copy(message: flask_mail.Message, default_sender: Any) -> flask_mail.Message:
    """The same message with lazy texts evaluated and lists of its own."""
    plain = copy.copy(message)
    sender = message.sender or default_sender
    if not sender:
        raise ArgumentError("message.sender", "is missing: give one, or set MAIL_DEFAULT_SENDER")
    plain.sender = _address_value(sender)
    plain.reply_to = _address_value(message.reply_to) if message.reply_to else None
    for name in _LISTS:
        setattr(plain, name, [_address_value(each) for each in _listed(message, name)])
    plain.subject = _text(message.subject) or ""
    plain.body = _text(message.body)
    plain.alts = {str(kind): str(text) for kind, text in message.alts.items()}
    plain.extra_headers = {str(k): str(v) for k, v in (message.extra_headers or {}).items()}
    plain.attachments = [_checked_attachment(i, a) for i, a in enumerate(message.attachments or ())]
    plain.date = time.time() if message.date is None else message.date
    return plain


def _text(value: Any) -> str | None:
    return None if value is None else flask_mail.force_text(value)


def _listed(message: flask_mail.Message, name: str) -> Iterable[Any]:
    value = getattr(message, name) or ()
    if isinstance(value, (str, bytes)):
        raise ArgumentError(f"message.{name}", f"is the text {value!r}: a list is expected")
    return value


def _address_value(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _checked_attachment(index: int, attachment: flask_mail.Attachment) -> flask_mail.Attachment:
    data: Any = attachment.data  # what is given, whatever the annotation says
    if not isinstance(data, (str, bytes, bytearray, memoryview)):
        raise ArgumentError(
            f"message.attachments[{index}]",
            f"({type(data).__name__}) cannot leave this process: give its content, "
            "as bytes or text",
        )
    if isinstance(data, (bytearray, memoryview)):
        attachment = copy.copy(attachment)
        attachment.data = bytes(data)
    return attachment


def _addresses(message: flask_mail.Message, *names: str) -> Iterator[tuple[str, Any]]:
    for name in names:
        for index, value in enumerate(getattr(message, name)):
            yield f"message.{name}[{index}]", value


def _refuse_bad_headers(message: flask_mail.Message) -> None:
    """Check what Flask-Mail checks, and what it forgets: cc, bcc, further headers, attachments."""
    for path, value in _shown_addresses(message):
        if needs_utf8(bare_address(value, path)):
            raise ArgumentError(
                path,
                f"is {value!r}: Flask-Mail cannot write an address that is not ASCII before the @ "
                "into a header; use an email.message.EmailMessage",
            )
    if message.has_bad_headers():
        raise flask_mail.BadHeaderError("the subject or an address holds a line break")
    refuse_breaks(message.subject, "message.subject", folded=True)
    refuse_breaks(message.msgId, "message.msgId")
    for name, value in (message.extra_headers or {}).items():
        refuse_breaks(name, "message.extra_headers")
        refuse_breaks(value, f"message.extra_headers[{name!r}]", folded=True)
        if name.lower() in ("bcc", "resent-bcc"):
            raise ArgumentError(
                f"message.extra_headers[{name!r}]", "would show everybody who is in it: use bcc"
            )
    for kind in message.alts:
        refuse_breaks(kind, "message.alts")
    for index, attachment in enumerate(message.attachments):
        for value in (attachment.filename, attachment.content_type, attachment.disposition):
            refuse_breaks(value, f"message.attachments[{index}]")
        for pair in attachment.headers.items():
            refuse_breaks("".join(map(str, pair)), f"message.attachments[{index}].headers")


def _shown_addresses(message: flask_mail.Message) -> Iterator[tuple[str, Any]]:
    yield "message.sender", message.sender
    if message.reply_to:
        yield "message.reply_to", message.reply_to
    yield from _addresses(message, "recipients", "cc")


def _rendered(message: flask_mail.Message) -> bytes:
    try:
        return message.as_bytes()
    except LookupError as error:
        raise ArgumentError("message.charset", f"is {message.charset!r}: {error}") from error


def _fields(message: flask_mail.Message) -> dict[str, Any]:
    """The message's own values, for those who listen to Flask-Mail's signal.

    The bytes of attachments are in the MIME text already and not kept a second time.
    """
    names = ("subject", "recipients", "cc", "bcc", "body", "alts", "reply_to", "date")
    fields = {name: getattr(message, name) for name in (*names, "charset", "extra_headers")}
    fields["sender"] = _written(message.sender)
    fields["attachments"] = [
        {
            "filename": each.filename,
            "content_type": each.content_type,
            "disposition": each.disposition,
            "headers": dict(each.headers),
            "text": each.data if isinstance(each.data, str) else None,
        }
        for each in message.attachments
    ]
    return fields


def _written(sender: Any) -> str:
    return formataddr(sender) if isinstance(sender, tuple) else str(sender)
