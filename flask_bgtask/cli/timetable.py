"""Periodic tasks: those that this code registers, beside what the store remembers of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..store import ScheduleState
from .output import moment, stamp

#: Headings of the list.
HEAD = ("ID", "TASK", "RULE", "LAST (UTC)", "NEXT (UTC)")


@dataclass(frozen=True, slots=True)
class Line:
    """One periodic task. Times are seconds since the epoch."""

    id: str
    task: str
    rule: str
    last_tick: float | None
    next_tick: float | None
    registered: bool
    "Whether this code has it; else nobody of this version makes its ticks."
    error: str | None = None
    "Why the rule cannot tell the next tick."

    def data(self) -> dict[str, Any]:
        """As plain data."""
        times = {name: stamp(moment(getattr(self, name))) for name in ("last_tick", "next_tick")}
        return {**dataclasses.asdict(self), **times}

    def row(self) -> tuple[object, ...]:
        """For people."""
        following = self.error or moment(self.next_tick)
        if not self.registered:
            following = "not in this code"
        return self.id, self.task, self.rule, moment(self.last_tick), following


def timetable(
    registered: Mapping[str, Any], known: Iterable[ScheduleState], now: float
) -> list[Line]:
    """All periodic tasks by their ids.

    :param registered: the schedules of this code by their ids.
    :param known: what the store remembers.
    """
    remembered = {state.id: state for state in known}
    return [
        _line(name, registered.get(name), remembered.get(name), now)
        for name in sorted(registered.keys() | remembered.keys())
    ]


def _line(name: str, schedule: Any, state: ScheduleState | None, now: float) -> Line:
    last = None if state is None else state.last_tick
    if schedule is None:
        assert state is not None
        return Line(name, state.task, state.spec, last, None, False)
    following, error = None, None
    try:
        following = schedule.rule.after(now)
    except Exception as failure:  # a trigger of the application's own
        error = f"{type(failure).__name__}: {failure}"
    return Line(name, schedule.task.name, str(schedule.rule), last, following, True, error)
