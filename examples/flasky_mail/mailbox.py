"""The mail that the demo's own SMTP server has caught, in a small SQLite file.

The server's process writes it, those of the application read it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (
    id INTEGER PRIMARY KEY,
    caught_at REAL NOT NULL,
    recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    source BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS mail_of_subject ON mail (subject, recipients);
"""


@dataclass(frozen=True)
class Caught:
    """One mail as it came."""

    id: int
    caught_at: datetime
    recipients: str
    source: bytes

    @cached_property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        return message_from_bytes(self.source, policy=policy.default)

    def part(self, kind: str) -> str | None:
        """The text of kind ``plain`` or ``html``."""
        found = self.message.get_body(preferencelist=(kind,))
        return None if found is None else found.get_content()


class Mailbox:
    """The file; any number of processes may use it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def keep(self, recipients: list[str], source: bytes) -> None:
        """Add a mail."""
        subject = str(message_from_bytes(source, policy=policy.default)["Subject"])
        row = (time.time(), ", ".join(recipients), subject, source)
        with self._file() as file:
            file.execute(
                "INSERT INTO mail (caught_at, recipients, subject, source) VALUES (?, ?, ?, ?)", row
            )

    def newest(self, limit: int) -> list[Caught]:
        """The newest mails first."""
        return self._select("ORDER BY id DESC LIMIT ?", limit)

    def get(self, mail_id: int) -> Caught | None:
        """One mail."""
        return next(iter(self._select("WHERE id = ?", mail_id)), None)

    def count(self) -> int:
        """How many mails there are."""
        with self._file() as file:
            return int(file.execute("SELECT count(*) FROM mail").fetchone()[0])

    def reached(self, subject: str) -> tuple[int, int]:
        """How many different readers got the mail of this subject, and how many copies came."""
        with self._file() as file:
            row = file.execute(
                "SELECT count(DISTINCT recipients), count(*) FROM mail WHERE subject = ?",
                (subject,),
            ).fetchone()
        return row[0], row[1]

    def _select(self, rest: str, value: int) -> list[Caught]:
        with self._file() as file:
            rows = file.execute(
                f"SELECT id, caught_at, recipients, source FROM mail {rest}", (value,)
            ).fetchall()
        return [
            Caught(number, datetime.fromtimestamp(at, UTC), recipients, source)
            for number, at, recipients, source in rows
        ]

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        file = sqlite3.connect(self.path, timeout=10)
        try:
            file.execute("PRAGMA synchronous = OFF")  # a demo's mail may be lost in a power cut
            file.executescript(_SCHEMA)
            with file:
                yield file
        finally:
            file.close()
