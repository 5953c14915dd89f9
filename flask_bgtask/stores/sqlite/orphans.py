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


class Search:
    """Looks for what dead processes left.

    It is done several times a second for years, and mostly nothing has happened since: then the
    files of the processes are looked at alone.
    """

    def __init__(self, live: Liveness, app: str, process: str) -> None:
        self._live = live
        self._app = app
        self._process = process
        self._quiet: object = None  # what had been written when nothing was to be found

    def find(self, db: Connections, version: object) -> list[Record]:
        """See :meth:`.Store.orphans`. Files of dead processes with nothing left are removed.

        :param version: of the file, as last asked for; ``None`` if nobody asks.
        """
        written = None if version is None else (version, db.written())
        files = self._live.names() - {self._process}
        dead = {name for name in files if self._live.is_dead(name)}
        if written is not None and written == self._quiet and not dead:
            return []
        bound = {name for (name,) in db.read(_BOUND, (self._app, self._process))}
        missing = bound - files
        dead |= {name for name in missing if self._live.is_dead(name)}
        self._quiet = None if dead or missing else written
        for name in dead - bound:
            if not has_rows(db, name):
                self._live.remove(name)
        return self._left_by(db, dead & bound)

    def _left_by(self, db: Connections, dead: set[str]) -> list[Record]:
        rows: list[Record] = []
        if dead:
            names = json.dumps(sorted(dead))
            for statement in _LEFT:
                rows += [decode(row) for row in db.read(statement, (self._app, names))]
        return rows[:BATCH]
