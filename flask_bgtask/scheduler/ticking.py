"""Turns ticks into jobs: each once, whichever process is first."""

from __future__ import annotations

import time

from ..errors import DuplicateJob, StoreError
from ..job import Record
from ..runtime import Runtime
from ..store import ScheduleState
from ..task import draft
from .rules import Rule
from .schedules import Schedule

#: Longest time in seconds until schedules are looked at again: one may have been added, or the
#: clock may have been set.
LOOK_EVERY = 5.0

#: Longest time in seconds until a schedule is looked at again whose trigger failed, or a reference
#: in its arguments.
TRY_AGAIN = 1.0

#: Ticks that are made up for in one go at most, of ``catch_up="all"`` after a long rest.
AT_ONCE = 1_000

#: Where the newest missed tick is looked for, in seconds back: in the shortest that has one, so
#: that a year of missed minutes need not be counted.
_SPANS = (60.0, 3_600.0, 86_400.0, 31 * 86_400.0, float("inf"))

#: A tick, and whether it gets a job.
Step = tuple[float, bool]


class Ticker:
    """The duty of every process that takes jobs of others."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._began: float | None = None
        self._states: dict[str, ScheduleState] | None = None

    def tick(self) -> float | None:
        """Duty: deal with the ticks that are due; seconds until the next."""
        if self._runtime.closed:
            return None
        if self._began is None:
            self._began = time.time()
        waits = [self._look_at(each) for each in list(self._runtime.registry.schedules.values())]
        return min([max(0.0, wait) for wait in waits] + [LOOK_EVERY])

    def _look_at(self, schedule: Schedule) -> float:
        """The same for one schedule: code of the application's in it may fail, others go on."""
        try:
            return self._deal_with(schedule)
        except StoreError:
            raise  # what concerns all of them
        except Exception as error:
            self._runtime.troubles.tell(error, f"the schedule {schedule.id!r}")
            return TRY_AGAIN

    def _deal_with(self, schedule: Schedule) -> float:
        """Add the jobs of the ticks that are due; seconds until the next one."""
        now = time.time()
        last = self._state(schedule).last_tick
        if last is None:  # it is new: it begins now
            return self._wait(schedule, now) if self._note(schedule, None, now, False) else 0.0
        for moment, with_job in self._steps(schedule, last, now):
            if not self._note(schedule, last, moment, with_job):
                return 0.0
            last = moment
        return self._wait(schedule, last)

    def _wait(self, schedule: Schedule, last: float) -> float:
        following = schedule.rule.after(last)
        return LOOK_EVERY if following is None else following - time.time()

    def _steps(self, schedule: Schedule, last: float, now: float) -> list[Step]:
        """The ticks to deal with, oldest first.

        A tick before this process began was missed, or another process would have dealt with it.
        All later ones get a job, however late: somebody was there.
        """
        began = self._began or now
        if last >= began:
            return [(moment, True) for moment in ticks(schedule.rule, last, now)]
        if schedule.catch_up == "all":
            missed = [(moment, True) for moment in ticks(schedule.rule, last, began)]
        else:
            newest = newest_tick(schedule.rule, last, began)
            missed = [] if newest is None else [(newest, schedule.catch_up == "latest")]
        if len(missed) == AT_ONCE:
            return missed
        return missed + [(moment, True) for moment in ticks(schedule.rule, began, now)]

    def _state(self, schedule: Schedule) -> ScheduleState:
        """What the store remembers; read again after another process was first."""
        if self._states is None:
            self._states = {state.id: state for state in self._runtime.store.schedules()}
        return self._states.get(schedule.id) or _state(schedule, None)

    def _note(self, schedule: Schedule, last: float | None, moment: float, with_job: bool) -> bool:
        """Write down that a tick was dealt with, and add its job; ``False`` if another did."""
        store = self._runtime.store
        state = _state(schedule, moment)
        record = self._draft(schedule) if with_job else None
        try:
            first = store.tick(state, last, record)
        except DuplicateJob:
            record = None  # its task is unique, and the job of an earlier tick has not ended
            first = store.tick(state, last, None)
        if not first or self._states is None:
            self._states = None
            return False
        self._states[schedule.id] = state
        if record is not None:
            self._runtime.deliver(record)
        return True

    def _draft(self, schedule: Schedule) -> Record:
        with self._runtime.app.app_context():
            options = schedule.options.merged({"delay": schedule.delay()})
            return draft(
                self._runtime, schedule.task, schedule.args, dict(schedule.kwargs), options
            )


def _state(schedule: Schedule, last: float | None) -> ScheduleState:
    following = None if last is None else schedule.rule.after(last)
    return ScheduleState(schedule.id, schedule.task.name, str(schedule.rule), last, following)


def ticks(rule: Rule, after: float, until: float) -> list[float]:
    """The ticks later than ``after`` and not later than ``until``, at most :data:`AT_ONCE`."""
    found: list[float] = []
    tick = rule.after(after)
    while tick is not None and tick <= until and len(found) < AT_ONCE:
        found.append(tick)
        tick = rule.after(tick)
    return found


def newest_tick(rule: Rule, after: float, until: float) -> float | None:
    """The last tick later than ``after`` and not later than ``until``."""
    for span in _SPANS:
        newest, tick = None, rule.after(max(after, until - span))
        while tick is not None and tick <= until:
            newest, tick = tick, rule.after(tick)
        if newest is not None:
            return newest
    return None
