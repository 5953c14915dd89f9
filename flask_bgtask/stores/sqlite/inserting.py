"""Writes new rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from ...errors import DuplicateJob, StoreError
from ...job import Record
from .connections import Connections
from .rows import ALL_NAMES, INSERT_NEW, WIDTH, encode, encode_new, is_new

#: Rows for one statement, so for one transaction; the sizes are few because each is prepared.
SIZES = (64, 8, 1)


def insert(db: Connections, record: Record) -> None:
    """Write one row.

    :raises DuplicateJob: another row holds its ``unique`` key.
    """
    while True:
        try:
            if is_new(record):
                db.write(INSERT_NEW, encode_new(record))
            else:
                _insert_together(db, [record])
            return
        except sqlite3.IntegrityError as error:
            refuse(db, error, record.app, record.id, record.unique)


def insert_all(db: Connections, records: Sequence[Record]) -> None:
    """Write rows in their order, many to a statement.

    One that no table can take does not keep the others from it.

    :raises StoreError: some could not be written: all of them, unless the error is about one.
    """
    errors = []
    for group in _groups(records):
        try:
            _insert_together(db, group)
        except sqlite3.IntegrityError:
            errors += [error for record in group if (error := _alone(db, record)) is not None]
    if errors:
        raise RefusedRows("; ".join(str(error) for error in errors)) from errors[0]


class RefusedRows(StoreError):
    """The others were written, these never will be."""


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
        raise StoreError(f"the row of job {job_id!r} cannot be written: {error}") from error


def _groups(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Rows of one kind (finished or not), as many together as one statement takes."""
    groups: list[Sequence[Record]] = []
    for finished in (True, False):
        rows = [record for record in records if record.state.finished is finished]
        start = 0
        for size in SIZES:
            while len(rows) - start >= size:
                groups.append(rows[start : start + size])
                start += size
    return groups


def _insert_together(db: Connections, records: Sequence[Record]) -> None:
    statement = _insert_statement(records[0].state.finished, len(records))
    db.write(statement, [value for record in records for value in encode(record)])


def _alone(db: Connections, record: Record) -> StoreError | None:
    try:
        insert(db, record)
    except (StoreError, DuplicateJob) as error:
        return StoreError(str(error))
    return None


@lru_cache
def _insert_statement(finished: bool, count: int) -> str:
    row = f"({', '.join('?' * WIDTH)})"
    table = "ended" if finished else "job"
    return f"INSERT INTO {table} ({ALL_NAMES}) VALUES {', '.join([row] * count)}"
