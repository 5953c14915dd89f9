"""A ``flask_mail.Message`` again, for those who listen to Flask-Mail's signal."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from email.message import Message as StandardMessage
from email.utils import parsedate_to_datetime
from typing import Any

import flask_mail

from . import mime

#: Headers that have an attribute of their own in a Flask-Mail message, or come with its parts.
_KNOWN = frozenset(
    {
        *("subject", "from", "to", "cc", "bcc", "date", "reply-to", "message-id"),
        *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
    }
)


def rebuild(frozen: dict[str, Any]) -> flask_mail.Message:
    """The message as it was at ``send_mail``; needs an app context."""
    fields = frozen["fields"]
    message = _from_mime(frozen) if fields is None else _from_fields(fields, frozen)
    message.msgId = frozen["message_id"]
    return message


def _from_fields(fields: dict[str, Any], frozen: dict[str, Any]) -> flask_mail.Message:
    given = {name: value for name, value in fields.items() if name != "attachments"}
    message = flask_mail.Message(
        **given,
        html=fields["alts"].get("html"),
        mail_options=frozen["mail_options"],
        rcpt_options=frozen["rcpt_options"],
    )
    attachments = fields["attachments"]
    if attachments:
        for data, kept in zip(_attached(frozen, len(attachments)), attachments):
            text = kept["text"]
            message.attach(
                kept["filename"],
                kept["content_type"],
                data if text is None else text,
                kept["disposition"],
                dict(kept["headers"]),
            )
    return message


def _attached(frozen: dict[str, Any], count: int) -> list[bytes]:
    """The bytes of the attachments, which Flask-Mail puts behind all other parts."""
    whole: StandardMessage = email.message_from_bytes(mime.unpack(frozen["mime"]))
    leaves = [part for part in whole.walk() if not part.is_multipart()]
    return [_content(part) for part in leaves[-count:]]


def _from_mime(frozen: dict[str, Any]) -> flask_mail.Message:
    whole = email.message_from_bytes(mime.unpack(frozen["mime"]), policy=email.policy.default)
    assert isinstance(whole, EmailMessage)
    message = flask_mail.Message(
        subject=str(whole["Subject"] or ""),
        recipients=_listed(whole["To"]),
        cc=_listed(whole["Cc"]),
        bcc=list(frozen["bcc"]),
        sender=str(whole["From"]),
        reply_to=str(whole["Reply-To"]) if whole["Reply-To"] else None,
        body=_text(whole, "plain"),
        html=_text(whole, "html"),
        date=_timestamp(whole["Date"]),
        extra_headers={k: str(v) for k, v in whole.items() if k.lower() not in _KNOWN},
    )
    for part in whole.iter_attachments() if whole.is_multipart() else ():
        message.attach(
            part.get_filename(),
            part.get_content_type(),
            _content(part),
            part.get_content_disposition(),
        )
    return message


def _listed(header: Any) -> list[Any]:
    return [str(address) for address in header.addresses] if header else []


def _text(whole: EmailMessage, subtype: str) -> str | None:
    part = whole.get_body((subtype,))
    if part is None:
        return None
    return _content(part).decode(part.get_content_charset("utf-8"), "replace").replace("\r\n", "\n")


def _content(part: StandardMessage) -> bytes:
    if part.is_multipart():  # an attached message
        return b"".join(each.as_bytes() for each in part.get_payload())  # type: ignore[union-attr]
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _timestamp(date: Any) -> float | None:
    try:
        return parsedate_to_datetime(str(date)).timestamp()
    except ValueError:
        return None
