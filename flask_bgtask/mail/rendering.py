"""The bytes of a message of the standard library: what it would render, and sooner."""

from __future__ import annotations

import re
from email.headerregistry import (
    ContentTransferEncodingHeader,
    MIMEVersionHeader,
    ParameterizedMIMEHeader,
    UnstructuredHeader,
)
from email.message import Message
from email.policy import EmailPolicy, Policy
from typing import Any

from flask_mail import BadHeaderError

from .addresses import is_plain

# The beginning of each header in a mail's head; a folded line goes on behind white space.
_HEADER = re.compile(rb"^[^ \t\r]", re.MULTILINE)


def rendered(message: Message, *, utf8: bool) -> bytes:
    """The message with CRLF at the end of its lines.

    :param utf8: whether headers are written in UTF-8 (RFC 6532), not in encoded words.
    :raises flask_mail.BadHeaderError: a line break that its text does not show ends a header, and
        with it the head of the mail; the library keeps one at the end of an address.
    """
    policy = _as_sent(message.policy, utf8)
    raw = _plain_text(message, policy) or message.as_bytes(policy=policy)
    head = raw.partition(b"\r\n\r\n")[0]
    if len(_HEADER.findall(head)) < len(message):
        raise BadHeaderError("a header holds a line break")
    return raw


def _plain_text(message: Message, policy: Policy) -> bytes | None:
    """A message of one ASCII text, which the library would write line by line; else ``None``."""
    text = message.get_payload()
    if not (type(policy) is _Quick and type(text) is str and text.isascii()):
        return None
    if message.get_content_maintype() != "text":
        return None
    head = [policy.fold_binary(name, value) for name, value in message.raw_items()]
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    return b"".join([*head, b"\r\n", lines.encode("ascii")])


def _as_sent(policy: Policy, utf8: bool) -> Policy:
    if type(policy) is EmailPolicy:
        return _Quick.of(policy, linesep="\r\n", utf8=utf8)
    if isinstance(policy, EmailPolicy):
        return policy.clone(linesep="\r\n", utf8=utf8)
    return policy.clone(linesep="\r\n")


# Headers that are, as text, what they were parsed into. Those of dates are not, and those of
# addresses only where these are plain.
_LITERAL = (
    UnstructuredHeader,
    ParameterizedMIMEHeader,
    ContentTransferEncodingHeader,
    MIMEVersionHeader,
)


class _Quick(EmailPolicy):
    """Writes a short header of plain text down as it is.

    Folding goes through the parsed header word by word, which is most of what rendering an ordinary
    mail costs; in a line of ASCII that is short enough it finds nothing to do.
    """

    @classmethod
    def of(cls, policy: EmailPolicy, **changes: Any) -> _Quick:
        """The same policy with some settings changed."""
        quick = cls.__new__(cls)
        vars(quick).update(vars(policy), **changes)
        return quick

    def fold_binary(self, name: str, value: Any) -> bytes:
        """The header with its name, as :meth:`email.policy.EmailPolicy.fold_binary` gives it."""
        if value and (issubclass(type(value), _LITERAL) or is_plain(str(value))):
            line = f"{value.name}: {value}"
            if len(line) <= (self.max_line_length or 0) and line.isascii() and line.isprintable():
                return f"{line}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)
