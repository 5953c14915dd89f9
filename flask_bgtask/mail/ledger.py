"""What became of each recipient, over all attempts at one mail."""

from __future__ import annotations

from typing import Any

from .failures import MailDeferred, MailRefused, Stage
from .receipt import MailReceipt

Reason = tuple[int, str]


class Ledger:
    """Keeps its state in the job's memo, so that no attempt sends again what one before sent.

    The memo is written when an attempt ends and another is to follow, and when the process is told
    to stop. An attempt that crashes leaves nothing. So if this is not the first one and the one
    before did not sign off, the mail may be out already. That costs no write for each mail.

    :param memo: the memo of the running job; plain data.
    :param recipients: all recipients of the mail.
    :param attempt: the number of this attempt.
    """

    def __init__(self, memo: dict[str, Any], recipients: list[str], attempt: int) -> None:
        self._memo = memo
        self._attempt = attempt
        self._recipients = recipients
        self._accepted: list[str] = memo.setdefault("accepted", [])
        self._refused: dict[str, list[Any]] = memo.setdefault("refused", {})
        self.deferred: dict[str, Reason] = {}
        "Those that this attempt could not deal with."
        self.stage = Stage.RECIPIENT
        "Where the last of the refusals and deferrals was."
        crashed = attempt > 1 and memo.get("ended") != attempt - 1
        if self.remaining and (crashed or memo.get("running")):
            self.doubt()
        memo["running"] = True

    def doubt(self) -> None:
        """Nobody knows what became of a mail that went out, or may have."""
        self._memo["duplicate"] = True

    def sign_off(self) -> None:
        """All that this attempt did is in here."""
        self._memo.update(ended=self._attempt, running=False)

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

    def accept(self, recipients: list[str], reply: str) -> None:
        """The server took the mail for these."""
        self._accepted.extend(recipients)
        self._memo["reply"] = reply

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

    def receipt(self, message_id: str) -> MailReceipt:
        """The result of a mail that somebody gets."""
        accepted = set(self._accepted)
        return MailReceipt(
            message_id=message_id,
            accepted=tuple(r for r in self._recipients if r in accepted),
            refused=self.refused,
            attempts=self._attempt,
            server_reply=self._memo.get("reply", ""),
            possibly_duplicate=self._memo.get("duplicate", False),
        )
