"""What a mail's job has as its result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MailReceipt:
    """What became of a mail that the server took for at least one recipient."""

    message_id: str
    "The ``Message-ID`` header; the same in every attempt."
    accepted: tuple[str, ...]
    "Addresses for which the server took the mail."
    refused: dict[str, tuple[int, str]]
    "Address → (code, text) of those it did not take; the code is 0 where no reply came."
    attempts: int
    "Attempts that it took, the last one included."
    server_reply: str
    "What the server said when it took the mail, with the code; often its queue id."
    possibly_duplicate: bool = False
    "An earlier attempt ended when the mail was out, or may have been, and before the reply."
