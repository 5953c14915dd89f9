"""Statements of one line or two that the store runs as they are."""

from __future__ import annotations

from ...store import BATCH
from .rows import ALL_NAMES, SELECTED, SELECTED_TO_LOOK, WIDTH
from .schema import FINISHED, KEYED, TICK_NAMES

GET = f"SELECT {SELECTED} FROM job WHERE id = ? AND app = ?"
GET_MANY = f"""SELECT {SELECTED_TO_LOOK} FROM job
    WHERE id IN (SELECT value FROM json_each(?)) AND app = ?"""
NEXT_DUE = """SELECT min(run_at) FROM job
    WHERE app = ? AND state = 'scheduled' AND (durable = 1 OR home = ?)"""
PROMOTE = f"""UPDATE job SET state = 'queued' WHERE seq IN (SELECT seq FROM job
    WHERE app = ? AND state = 'scheduled' AND (durable = 1 OR home = ?) AND run_at <= ?
    ORDER BY run_at LIMIT {BATCH})"""
DELETE = f"DELETE FROM job WHERE id = ? AND app = ? AND {FINISHED} AND NOT {KEYED}"
PURGE = f"""DELETE FROM job WHERE seq IN (SELECT seq FROM job
    WHERE app = ? AND expires_at <= ? AND {FINISHED} AND NOT {KEYED} LIMIT {BATCH})"""
#: A tick and its job in one statement; see ``tick`` in the schema.
TICK = f"""INSERT INTO tick ({", ".join(TICK_NAMES)}, {ALL_NAMES})
    VALUES ({", ".join("?" * (len(TICK_NAMES) + WIDTH))})"""
