"""The bytes of a message of the standard library, as it renders them, and sooner."""

from __future__ import annotations

from email.headerregistry import (
    ContentTransferEncodingHeader,
    MIMEVersionHeader,
    ParameterizedMIMEHeader,
    UnstructuredHeader,
)
from email.message import Message
from email.policy import EmailPolicy
from typing import Any


def rendered(message: Message, *, utf8: bool) -> bytes:
    """The message with CRLF at the end of its lines.

    :param utf8: whether headers are written in UTF-8 (RFC 6532), not in encoded words.
    """
    policy = message.policy
    if type(policy) is EmailPolicy:
        return message.as_bytes(policy=_Quick.of(policy, linesep="\r\n", utf8=utf8))
    if isinstance(policy, EmailPolicy):
        return message.as_bytes(policy=policy.clone(linesep="\r\n", utf8=utf8))
    return message.as_bytes(policy=policy.clone(linesep="\r\n"))


# Headers that are, as text, what they were parsed into. Those of addresses and dates are not.
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
        if issubclass(type(value), _LITERAL) and value:
            line = f"{value.name}: {value}"
            if len(line) <= (self.max_line_length or 0) and line.isascii() and line.isprintable():
                return f"{line}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)
