"""What became of each recipient, over all attempts at one mail."""

from __future__ import annotations

from typing import Any

from .failures import MailDeferred, MailRefused, Stage
from .receipt import MailReceipt

Reason = tuple[int, str]


class Ledger:
    """Keeps its state in the job's memo, so that no attempt sends again what one before sent.

    :param memo: the memo of the running job; plain data.
    :param recipients: all recipients of the mail.
    """

    def __init__(self, memo: dict[str, Any], recipients: list[str]) -> None:
        self._memo = memo
        self._recipients = recipients
        self._accepted: list[str] = memo.setdefault("accepted", [])
        self._refused: dict[str, list[Any]] = memo.setdefault("refused", {})
        self.deferred: dict[str, Reason] = {}
        "Those that this attempt could not deal with."
        self.stage = Stage.RECIPIENT
        "Where the last of the refusals and deferrals was."
        if memo.pop("sending", False):
            memo["duplicate"] = True

    @property
    def duplicate(self) -> bool:
        """Whether a mail went out before whose fate is not known."""
        return bool(self._memo.get("duplicate"))

    @property
    def accepted(self) -> bool:
        """Whether the server took the mail for anybody."""
        return bool(self._accepted)

    @property
    def refused(self) -> dict[str, Reason]:
        """Who will not get the mail, and why."""
        return {address: (code, text) for address, (code, text) in self._refused.items()}

    @property
    def remaining(self) -> list[str]:
        """Who is still to be dealt with."""
        return [r for r in self._recipients if r not in self._accepted and r not in self._refused]

    @property
    def open(self) -> list[str]:
        """Those of them with whom this attempt has not dealt."""
        return [r for r in self.remaining if r not in self.deferred]

    def sending(self, begun: bool) -> None:
        """Note that the mail is about to go out, or that it is known what became of it."""
        self._memo["sending"] = begun

    def accept(self, recipients: list[str], reply: str) -> None:
        """The server took the mail for these."""
        self._accepted.extend(recipients)
        self._memo["reply"] = reply
        self.sending(False)

    def refuse(self, recipient: str, reason: Reason, stage: Stage = Stage.RECIPIENT) -> None:
        """The server will not take the mail for this one."""
        self._refused[recipient] = list(reason)
        self.stage = stage

    def defer(self, recipient: str, reason: Reason, stage: Stage = Stage.RECIPIENT) -> None:
        """The server may take it later."""
        self.deferred[recipient] = reason
        self.stage = stage

    def give_up(self) -> None:
        """Count those that are deferred as refused."""
        for recipient, reason in self.deferred.items():
            self.refuse(recipient, reason, self.stage)
        self.deferred = {}

    def forget(self) -> None:
        """Forget who was refused."""
        self._refused = self._memo["refused"] = {}

    def refusal(self) -> MailRefused:
        """The failure of a mail that nobody gets."""
        code, text = next(iter(self.refused.values()))
        return MailRefused(self.stage, code, text, self.refused)

    def deferral(self) -> MailDeferred:
        """The failure of an attempt that leaves recipients for the next one."""
        code, text = next(iter(self.deferred.values()))
        return MailDeferred(self.stage, code, text, self.deferred)

    def receipt(self, message_id: str, attempts: int) -> MailReceipt:
        """The result of a mail that somebody gets."""
        accepted = set(self._accepted)
        return MailReceipt(
            message_id=message_id,
            accepted=tuple(r for r in self._recipients if r in accepted),
            refused=self.refused,
            attempts=attempts,
            server_reply=self._memo.get("reply", ""),
            possibly_duplicate=self.duplicate,
        )
