"""The statements behind lists and counts."""

from __future__ import annotations

from typing import Any

from ...job import JobState
from ...store import Filter
from .rows import SELECTED_BRIEF, SELECTED_TO_LOOK

#: How many jobs of an app are in each state: finished ones as tallied, others counted.
COUNTS = """
    SELECT state, sum(jobs) FROM tally WHERE app = ?1 GROUP BY state
    UNION ALL SELECT 'queued', count(*) FROM job WHERE app = ?1 AND state = 'queued'
    UNION ALL SELECT 'running', count(*) FROM job WHERE app = ?1 AND state = 'running'
    UNION ALL SELECT 'scheduled', count(*) FROM job WHERE app = ?1 AND state = 'scheduled'
"""

WAITING = "SELECT count(*) FROM job WHERE app = ? AND state = 'queued' AND durable = 1"

OLDEST_QUEUED = """
    SELECT min(max(run_at, created_at)) FROM job WHERE app = ? AND state = 'queued'
"""

WAITING_TASKS = """
    SELECT task FROM job WHERE app = ?1 AND state = 'queued'
    UNION SELECT task FROM job WHERE app = ?1 AND state = 'scheduled'
"""

TASKS = f"""{WAITING_TASKS}
    UNION SELECT task FROM job WHERE app = ?1 AND state = 'running'
    UNION SELECT task FROM tally WHERE app = ?1 AND jobs > 0
"""


def listing(
    wanted: Filter, app: str, limit: int, after: int | None, now: float, *, brief: bool = False
) -> tuple[str, list[Any]]:
    """Statement and values of one page, newest first."""
    columns = SELECTED_BRIEF if brief else SELECTED_TO_LOOK
    conditions, values = ["app = ?"], [app]
    for condition, some in _conditions(wanted, after, now):
        conditions.append(condition)
        values += some
    where = " AND ".join(conditions)
    statement = f"SELECT {columns} FROM job WHERE {where} ORDER BY seq DESC LIMIT ?"
    return statement, [*values, limit]


def _conditions(wanted: Filter, after: int | None, now: float) -> list[tuple[str, tuple[Any, ...]]]:
    found: list[tuple[str, tuple[Any, ...]]] = []
    if after is not None:
        found.append(("seq < ?", (after,)))
    if wanted.state is not None:
        found.append(_shown_as(wanted.state, now))
    for name, value in (("task", wanted.task), ("queue", wanted.queue), ("owner", wanted.owner)):
        if value is not None:
            found.append((f"{name} = ?", (value,)))
    if wanted.text is not None:
        text = wanted.text.casefold()
        found.append((_HAS_TEXT, (text, text, text)))
    return found


# SQLite's own lower() knows only ASCII.
_HAS_TEXT = """(instr(lower(id), ?) OR instr(casefold(task), ?)
    OR (label IS NOT NULL AND instr(casefold(label), ?)))"""


def _shown_as(state: JobState, now: float) -> tuple[str, tuple[Any, ...]]:
    """A scheduled job whose time has come shows as queued."""
    if state is JobState.SCHEDULED:
        return "state = 'scheduled' AND run_at > ?", (now,)
    if state is JobState.QUEUED:
        return "(state = 'queued' OR (state = 'scheduled' AND run_at <= ?))", (now,)
    # The literal, not a value to bind, is what lets the partial indexes be used.
    return f"state = '{state.value}'", ()
