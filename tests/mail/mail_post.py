"""Sends one mail attempt by attempt, so that a test decides what happens in between."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from flask_mail import Message

from flask_bgtask.context import RunningJob, running_as
from flask_bgtask.job import Record
from flask_bgtask.mail import MailReceipt, deliver, freeze


@dataclass
class Post:
    """Sends a mail attempt by attempt, as the runner does."""

    app: Flask
    memo: dict[str, Any] = field(default_factory=dict)
    "What one attempt leaves to the next."
    saved: list[dict[str, Any]] = field(default_factory=list)
    "The memo, as often as an attempt wrote it to the store."
    frozen: dict[str, Any] = field(default_factory=dict)

    def freeze(self, *recipients: str, **fields: Any) -> Post:
        """Take a mail for these recipients."""
        fields = {"subject": "s", "body": "text"} | fields
        with self.app.app_context():
            message = Message(recipients=list(recipients or ["a@x.org"]), **fields)
            self.frozen = freeze(self.app, message)
        return self

    def attempt(self, number: int = 1, of: int = 9, crashes: int = 0) -> MailReceipt:
        """One attempt at a job with this mail."""
        record = Record(id="a" * 32, attempt=number, max_attempts=of, crashes=crashes)
        job = RunningJob(record, write=self._write, later=lambda _: None)
        job.memo = self.memo
        with self.app.app_context(), running_as(job):
            return deliver(self.frozen)

    def _write(self, _: RunningJob, columns: dict[str, Any]) -> None:
        self.saved.append(json.loads(columns["memo"]))
