"""How sending can fail: for good, or for now."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ..errors import Abort, BgTaskError

#: Longest text of a server's reply that is kept, in characters.
LONGEST_TEXT = 500

#: Addresses that an error names; all of them are in its ``recipients``.
NAMED = 10


class Stage(StrEnum):
    """The step of SMTP (RFC 5321) at which something was said or went wrong."""

    CONNECT = "connect"
    TLS = "TLS"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    SIZE = "SIZE"
    MAIL = "MAIL FROM"
    RECIPIENT = "RCPT TO"
    DATA = "DATA"
    BODY = "end of data"


class MailRefused(Abort):
    """The mail can not be sent as it is: the job fails at once, whatever retries are left.

    :param stage: where it was refused.
    :param code: the server's reply code; 0 where it is not the server who refuses.
    :param text: the text of the reply.
    :param recipients: address → (code, text), where recipients were refused one by one.
    """

    def __init__(
        self,
        stage: Stage,
        code: int,
        text: str,
        recipients: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        super().__init__(_describe(stage, code, text, recipients))
        self.stage = stage
        self.code = code
        self.text = text
        self.recipients = _plain(recipients or {})


class MailDeferred(BgTaskError):
    """The mail could not be sent now: the job is tried again while retries are left.

    Takes what :class:`MailRefused` takes; the code is 0 where no reply came.

    :param unanswered: the whole mail went out, and the connection broke before the reply.
    """

    def __init__(
        self,
        stage: Stage,
        code: int,
        text: str,
        recipients: Mapping[str, tuple[int, str]] | None = None,
        *,
        unanswered: bool = False,
    ) -> None:
        doubt = "; the whole mail had gone out, so it may arrive twice" if unanswered else ""
        super().__init__(_describe(stage, code, text, recipients) + doubt)
        self.stage = stage
        self.code = code
        self.text = text
        self.recipients = _plain(recipients or {})
        self.unanswered = unanswered


def judge(stage: Stage, code: int, reply: bytes | str) -> MailRefused | MailDeferred:
    """The failure that a reply means.

    The first digit decides (RFC 5321, 4.2.1): 5 is for good and 4 for now. Any other one does not
    belong at this stage; the server may be itself again later.
    """
    text = readable(reply)
    if 500 <= code <= 599:
        return MailRefused(stage, code, text)
    if 400 <= code <= 499:
        return MailDeferred(stage, code, text)
    return MailDeferred(stage, max(code, 0), f"unexpected reply: {text}")


def readable(reply: bytes | str) -> str:
    """A server's text as one line that can be shown and logged."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return text[:LONGEST_TEXT]


def named(recipients: Mapping[str, tuple[int, str]]) -> str:
    """Recipients with what was said of them, for a message."""
    some = [f"{address}: {said(*why)}" for address, why in list(recipients.items())[:NAMED]]
    if len(recipients) > NAMED:
        some.append(f"and {len(recipients) - NAMED} more")
    return "; ".join(some)


def said(code: int, text: str) -> str:
    """Code and text as the server wrote them; the text alone where there is no code."""
    return f"{code} {text}".strip() if code else text


def _plain(recipients: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """The same as the receipt has it: pairs, not the replies of a connection."""
    return {address: (code, text) for address, (code, text) in recipients.items()}


def _describe(
    stage: Stage, code: int, text: str, recipients: Mapping[str, tuple[int, str]] | None
) -> str:
    return f"{stage}: {named(recipients) if recipients else said(code, text)}"
