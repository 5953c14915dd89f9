"""Finds what dead processes left, and clears their files away."""

from __future__ import annotations

import json

from ...job import Record
from ...store import BATCH
from .connections import Connections
from .liveness import Liveness
from .rows import SELECTED, decode
from .schema import LATE, VOLATILE

# Who the rows of an app are bound to, but for this process: its own rows are passed over within
# the index, because thousands of them may wait.
_BOUND = f"""
    SELECT DISTINCT process FROM job WHERE app = ?1 AND state = 'running' AND process <> ?2
    UNION SELECT process FROM job WHERE app = ?1 AND {LATE} AND process <> ?2
    UNION SELECT home FROM job WHERE app = ?1 AND {VOLATILE} AND home < ?2
    UNION SELECT home FROM job WHERE app = ?1 AND {VOLATILE} AND home > ?2
"""

_OF = "IN (SELECT value FROM json_each(?))"

_LEFT = tuple(
    f"SELECT {SELECTED} FROM job WHERE app = ? AND {kind} LIMIT {BATCH}"
    for kind in (
        f"state = 'running' AND process {_OF}",
        f"{LATE} AND process {_OF}",
        f"{VOLATILE} AND home {_OF}",
    )
)

# Of any app: several may share the file.
_HAS_ROWS = f"""
    SELECT EXISTS (SELECT 1 FROM job WHERE state = 'running' AND process = ?1)
        OR EXISTS (SELECT 1 FROM job WHERE {LATE} AND process = ?1)
        OR EXISTS (SELECT 1 FROM job WHERE {VOLATILE} AND home = ?1)
"""


def has_rows(db: Connections, process: str) -> bool:
    """Whether anything in the file is bound to that process."""
    return bool(db.read(_HAS_ROWS, (process,))[0][0])


def find_orphans(db: Connections, live: Liveness, app: str, process: str) -> list[Record]:
    """See :meth:`.Store.orphans`. Files of dead processes with nothing left are removed."""
    bound = {name for (name,) in db.read(_BOUND, (app, process))}
    files = live.names() - {process}
    dead = {name for name in bound | files if live.is_dead(name)}
    for name in dead - bound:
        if not has_rows(db, name):
            live.remove(name)
    mourned = json.dumps(sorted(dead & bound))
    rows: list[Record] = []
    if dead & bound:
        for statement in _LEFT:
            rows += [decode(row) for row in db.read(statement, (app, mourned))]
    return rows[:BATCH]
