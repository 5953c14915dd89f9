"""The statements by which a process takes a waiting job."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from ...job import Record
from ...store import Wanted
from .rows import SELECTED

#: Attempts are counted up to here: a row that somebody gave more must not stop who claims it.
MOST_ATTEMPTS = 2**31

_ANY_OF = "(SELECT value FROM json_each(?))"

# Only the oldest holder of a serial key, and only while no holder runs or is late. The second
# condition is needed where an older job was retried while a younger one runs. Few rows run or are
# late, while a key's line may be long: hence the indexes by name.
_ITS_TURN = """(serial IS NULL OR (holds = 1
    AND NOT EXISTS (SELECT 1 FROM job AS older WHERE older.app = job.app
        AND older.serial = job.serial AND older.holds = 1 AND older.seq < job.seq)
    AND NOT EXISTS (SELECT 1 FROM job AS busy INDEXED BY job_live WHERE busy.app = job.app
        AND busy.state = 'running' AND busy.serial = job.serial AND busy.holds = 1)
    AND NOT EXISTS (SELECT 1 FROM job AS late INDEXED BY job_late WHERE late.app = job.app
        AND late.holds = 1 AND late.state <> 'queued' AND late.state <> 'scheduled'
        AND late.state <> 'running' AND late.serial = job.serial)))"""


def candidate(
    wanted: Wanted, app: str, process: str, unknown: Collection[str]
) -> tuple[str, list[Any]]:
    """Statement and values that select the best row to take.

    :param unknown: names of tasks that this process does not know.
    """
    values: list[Any] = [app, process]
    if not wanted.others:
        values.append(process)
    for some in (wanted.queues, wanted.without or None, unknown or None):
        if some is not None:
            values.append(json.dumps(list(some)))
    if wanted.better_than is not None:
        priority, created_at = wanted.better_than
        values += [priority, priority, created_at]
    if wanted.job_id is not None:
        values.append(wanted.job_id)
    return _select(
        wanted.others,
        wanted.queues is not None,
        bool(wanted.without),
        bool(unknown),
        wanted.better_than is not None,
        wanted.job_id is not None,
    ), values


@lru_cache
def _select(
    others: bool, queues: bool, without: bool, unknown: bool, better_than: bool, one: bool
) -> str:
    conditions = [
        "app = ? AND state = 'queued' AND (durable = 1 OR home = ?)",
        "" if others else "home = ?",
        f"(queue IN {_ANY_OF} OR durable = 0)" if queues else "",
        f"queue NOT IN {_ANY_OF}" if without else "",
        f"task NOT IN {_ANY_OF}" if unknown else "",
        "priority >= ? AND (priority > ? OR created_at < ?)" if better_than else "",
        "id = ?" if one else "",
        _ITS_TURN,
    ]
    where = " AND ".join(condition for condition in conditions if condition)
    return f"SELECT {SELECTED} FROM job WHERE {where} ORDER BY priority DESC, seq LIMIT 1"


@lru_cache
def take(names: tuple[str, ...], serial: bool) -> str:
    """The compare-and-set that takes a row, with the columns of these names.

    Its values: those columns, the process, then :func:`as_seen` of the row.
    """
    columns = "".join(f', "{name}" = ?' for name in names)
    return (
        f"UPDATE job SET state = 'running', attempt = min(attempt, {MOST_ATTEMPTS}) + 1{columns}, "
        "process = ? "
        "WHERE seq = ? AND id = ? AND state = 'queued' AND attempt = ? AND crashes = ? "
        f"AND token IS ?{' AND ' + _ITS_TURN if serial else ''}"
    )


def as_seen(row: Record) -> list[Any]:
    """What must still be so of a row that was selected: nobody began an attempt since."""
    return [row.seq, row.id, row.attempt, row.crashes, row.token]
