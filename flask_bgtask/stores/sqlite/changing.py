"""Changes a row in the file by compare-and-set."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from ...job import JobState
from .connections import Connections
from .inserting import refuse
from .rows import names_of, plain


def change_in_file(
    db: Connections,
    app: str,
    job_id: str,
    columns: Mapping[str, Any],
    states: Collection[JobState] | None,
    token: str | None,
) -> bool:
    """See :meth:`.Store.change`; the caller has the writing lock."""
    expected = None if states is None else tuple(state._value_ for state in states)
    statement = _update(names_of(columns), expected, token is not None)
    values = [*map(plain, columns.values()), job_id, app]
    if token is not None:
        values.append(token)
    while True:
        try:
            return db.write(statement, values) > 0
        except sqlite3.IntegrityError as error:
            held = db.look('SELECT "unique" FROM job WHERE id = ?', (job_id,))[0][0]
            refuse(db, error, app, job_id, columns.get("unique", held))


@lru_cache(maxsize=256)
def _update(names: tuple[str, ...], states: tuple[str, ...] | None, token: bool) -> str:
    assignments = ", ".join(f'"{name}" = ?' for name in names)
    of_states = "" if states is None else f" AND state IN ({_texts(states)})"
    of_token = " AND token = ?" if token else ""
    return f"UPDATE job SET {assignments} WHERE id = ? AND app = ?{of_states}{of_token}"


def _texts(states: tuple[str, ...]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))
