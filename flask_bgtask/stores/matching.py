"""Whether a row passes a listing's filter, for rows that are in this process's memory."""

from __future__ import annotations

from ..job import Record
from ..store import Filter


def matches(row: Record, wanted: Filter, now: float) -> bool:
    """Whether the row is one that the listing shows at ``now``."""
    return (
        (wanted.state is None or row.shown_state(now) is wanted.state)
        and (wanted.task is None or row.task == wanted.task)
        and (wanted.queue is None or row.queue == wanted.queue)
        and (wanted.owner is None or row.owner == wanted.owner)
        and (wanted.text is None or _has_text(row, wanted.text.casefold()))
    )


def _has_text(row: Record, text: str) -> bool:
    return any(text in part.casefold() for part in (row.id, row.task, row.label or ""))
