"""Writes new rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from ...errors import DuplicateJob, StoreError
from ...job import Record
from .buffer import Buffer
from .connections import BadValue, Connections
from .rows import ALL_NAMES, WIDTH, encode, encode_new, is_new

#: Rows for one statement, so for one transaction; the sizes are few because each is prepared.
SIZES = (64, 8, 1)


def insert(db: Connections, record: Record) -> None:
    """Write one row.

    :raises DuplicateJob: another row holds its ``unique`` key.
    """
    while True:
        try:
            if is_new(record):
                db.write(*encode_new(record))
            else:
                _insert_together(db, [record])
            return
        except sqlite3.IntegrityError as error:
            refuse(db, error, record.app, record.id, record.unique)


def write_kept(db: Connections, buffer: Buffer, until: float | None = None) -> None:
    """Write what the buffer keeps, many rows to a statement.

    :param until: when to give up waiting for others that write, by the monotonic clock.
    :raises RowRefused: all is written but rows that no table takes; those are dropped.
    :raises StoreError: for a reason that may pass; what is not written is kept.
    """
    refused: Exception | None = None
    alone = 0
    while len(buffer):
        with db.locked(until):
            rows = buffer.take((1,) if alone else SIZES)
            if not rows:
                break
            alone = max(0, alone - 1)
            try:
                _insert_together(db, rows, until)
            except (sqlite3.IntegrityError, BadValue) as error:
                if len(rows) > 1:  # one of them is bad: write each by itself
                    buffer.take_back()
                    alone = len(rows)
                    continue
                refused = error
            except BaseException:
                buffer.take_back()
                raise
            buffer.written()
    if refused is not None:
        raise RowRefused(f"the row of a job cannot be written: {refused}") from refused


class RowRefused(StoreError):
    """No table takes the row: it will never be written, but others may."""


def refuse(
    db: Connections, error: sqlite3.IntegrityError, app: str, job_id: str, unique: str | None
) -> None:
    """Raise what a broken constraint means; return if its cause is gone, so that one tries again.

    :raises DuplicateJob: another row holds the key.
    """
    if unique is not None:
        holder = db.look(
            'SELECT id FROM job WHERE app = ? AND "unique" = ? AND holds = 1', (app, unique)
        )
        if holder and holder[0][0] != job_id:
            raise DuplicateJob(unique, holder[0][0]) from error
    if "job.unique" not in str(error):
        raise RowRefused(f"the row of job {job_id!r} cannot be written: {error}") from error


def _insert_together(
    db: Connections, records: Sequence[Record], until: float | None = None
) -> None:
    statement = _insert_statement(records[0].state.finished, len(records))
    db.write(statement, [value for record in records for value in encode(record)], until)


@lru_cache
def _insert_statement(finished: bool, count: int) -> str:
    row = f"({', '.join('?' * WIDTH)})"
    table = "ended" if finished else "job"
    return f"INSERT INTO {table} ({ALL_NAMES}) VALUES {', '.join([row] * count)}"
