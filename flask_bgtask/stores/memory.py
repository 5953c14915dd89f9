"""Jobs in the memory of one process: for tests, and for whom they may end with the process."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import DuplicateJob, StoreError
from ..job import FINISHED, INPUT_COLUMNS, LONG_COLUMNS, WAITING, JobState, Record
from ..store import BATCH, Filter, ScheduleState, Wanted, always
from .matching import matches
from .waiting import WaitingRows

#: How many finished jobs are kept; past it the one that finished first goes.
KEPT = 1_000

#: A change of any other column leaves a row where it is in the indexes.
_INDEXED = frozenset(
    ("state", "queue", "priority", "task", "run_at", "durable", "home", "unique", "serial", "holds")
)

_NO_INPUT = dict.fromkeys(INPUT_COLUMNS)
_NO_LONG_COLUMNS = dict.fromkeys(LONG_COLUMNS)


class MemoryStore:
    """Keeps one app's jobs in this process, with the last 1,000 finished ones.

    A stored row is never changed, only replaced. So a reader needs the lock just to pick rows.

    :param app_name: ``Record.app`` of the rows.
    :param takes_jobs: whether this process does more than submit.
    """

    shared = False
    file = None

    def __init__(self, app_name: str, *, takes_jobs: Callable[[], bool] = always) -> None:
        self._app = app_name
        self._takes_jobs = takes_jobs
        self._start_empty()

    def _start_empty(self) -> None:
        self.process = secrets.token_hex(8)
        # Guards everything below. Nothing is called under it that could block.
        self._lock = threading.Lock()
        self._seq = 0
        self._rows: dict[str, Record] = {}
        self._unique: dict[str, str] = {}
        self._waiting = WaitingRows(self.process)
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._paused: frozenset[str] = frozenset()
        self._schedules: dict[str, ScheduleState] = {}

    def add(self, record: Record) -> None:
        """See :meth:`.Store.add`."""
        with self._lock:
            self._insert(record)

    def flush(self) -> None:
        """Nothing is kept back."""

    def get(self, job_id: str) -> Record | None:
        """See :meth:`.Store.get`."""
        row = self._rows.get(job_id)
        return None if row is None else _copy(row)

    def get_many(self, job_ids: Collection[str]) -> list[Record]:
        """See :meth:`.Store.get_many`."""
        found = (self._rows.get(job_id) for job_id in set(job_ids))
        return [row.copy(**_NO_INPUT) for row in found if row is not None]

    def change(
        self,
        job_id: str,
        columns: Mapping[str, Any],
        *,
        states: Collection[JobState] | None = None,
        token: str | None = None,
    ) -> Record | None:
        """See :meth:`.Store.change`."""
        with self._lock:
            row = self._rows.get(job_id)
            if (
                row is None
                or (states is not None and row.state not in states)
                or (token is not None and row.token != token)
            ):
                return None
            return _copy(self._replace(row, columns))

    def end(self, attempt: Record, columns: Mapping[str, Any]) -> bool:
        """See :meth:`.Store.end`."""
        ended = self.change(attempt.id, columns, states=(JobState.RUNNING,), token=attempt.token)
        return ended is not None

    def claim(self, wanted: Wanted, columns: Mapping[str, Any]) -> Record | None:
        """See :meth:`.Store.claim`."""
        with self._lock:
            row = self._candidate(wanted)
            if row is None:
                return None
            begun = {
                "state": JobState.RUNNING,
                "process": self.process,
                "attempt": row.attempt + 1,
            }
            return _copy(self._replace(row, {**columns, **begun}))

    def promote(self, now: float) -> float | None:
        """See :meth:`.Store.promote`."""
        with self._lock:
            while (job_id := self._waiting.due(now)) is not None:
                self._replace(self._rows[job_id], {"state": JobState.QUEUED})
            return self._waiting.next_due()

    def version(self) -> object:
        """Always the same: no other process sees these rows."""
        return 0

    def waiting(self) -> int:
        """See :meth:`.Store.waiting`."""
        return self._waiting.durable

    def counts(self) -> dict[JobState, int]:
        """See :meth:`.Store.counts`."""
        found = Counter(row.state for row in self._all())
        return {state: found[state] for state in JobState}

    def oldest_queued(self) -> float | None:
        """See :meth:`.Store.oldest_queued`."""
        return min(
            (
                max(row.run_at, row.created_at)
                for row in self._all()
                if row.state is JobState.QUEUED
            ),
            default=None,
        )

    def tasks(self, *, waiting: bool = False) -> set[str]:
        """See :meth:`.Store.tasks`."""
        asked = (JobState.QUEUED, JobState.SCHEDULED) if waiting else tuple(JobState)
        return {row.task for row in self._all() if row.state in asked}

    def listing(
        self,
        wanted: Filter,
        *,
        limit: int,
        after: int | None = None,
        now: float,
        brief: bool = False,
    ) -> list[Record]:
        """See :meth:`.Store.listing`."""
        found: list[Record] = []
        for row in reversed(self._all()):
            if len(found) >= limit:
                break
            if (after is None or row.seq < after) and matches(row, wanted, now):
                found.append(row.copy(**(_NO_LONG_COLUMNS if brief else _NO_INPUT)))
        return found

    def delete(self, job_id: str) -> bool:
        """See :meth:`.Store.delete`."""
        with self._lock:
            if job_id not in self._finished:
                return False
            self._remove(job_id)
            return True

    def purge(self, now: float) -> int:
        """See :meth:`.Store.purge`."""
        with self._lock:
            expired = [job_id for job_id in self._finished if self._expired(job_id, now)][:BATCH]
            for job_id in expired:
                self._remove(job_id)
        return len(expired)

    def orphans(self) -> list[Record]:
        """None: the rows end with their process."""
        return []

    def processes(self, *, working: bool = False) -> list[str]:
        """This process alone, if at all."""
        if working and not self._takes_jobs():
            return []
        return [f"{socket.gethostname()}:{os.getpid()}"]

    def pause(self, queue: str, paused: bool) -> None:
        """See :meth:`.Store.pause`."""
        with self._lock:
            self._paused = self._paused | {queue} if paused else self._paused - {queue}

    def paused(self) -> frozenset[str]:
        """See :meth:`.Store.paused`."""
        return self._paused

    def schedules(self) -> list[ScheduleState]:
        """See :meth:`.Store.schedules`."""
        with self._lock:
            return list(self._schedules.values())

    def tick(self, schedule: ScheduleState, last_seen: float | None, record: Record | None) -> bool:
        """See :meth:`.Store.tick`."""
        with self._lock:
            known = self._schedules.get(schedule.id)
            if (known.last_tick if known is not None else None) != last_seen:
                return False
            if record is not None:
                self._insert(_copy(record))
            self._schedules[schedule.id] = schedule
            return True

    def close(self) -> None:
        """Nothing is open; the rows stay."""

    def after_fork(self) -> None:
        """The child starts empty: what it inherited is the parent's to run."""
        self._start_empty()

    # Everything below is called under the lock, save `_all`, which takes it.

    def _all(self) -> list[Record]:
        with self._lock:
            return list(self._rows.values())

    def _insert(self, row: Record) -> None:
        if row.id in self._rows:
            raise StoreError(f"there is a job {row.id!r} already")
        self._check_unique(row)
        self._seq += 1
        row.seq = self._seq
        self._rows[row.id] = row
        self._enter(row)

    def _replace(self, row: Record, columns: Mapping[str, Any]) -> Record:
        new = _copy(row)
        new.__dict__.update(columns)
        if _INDEXED.isdisjoint(columns):
            self._rows[row.id] = new
            return new
        self._check_unique(new)
        self._leave(row)
        self._rows[row.id] = new
        self._enter(new)
        return new

    def _check_unique(self, row: Record) -> None:
        if row.unique is not None and row.holds:
            holder = self._unique.get(row.unique)
            if holder is not None and holder != row.id:
                raise DuplicateJob(row.unique, holder)

    def _enter(self, row: Record) -> None:
        if row.unique is not None and row.holds:
            self._unique[row.unique] = row.id
        if row.serial is not None or row.state in WAITING:
            self._waiting.enter(row)
        if _disposable(row):
            self._finished[row.id] = None
            if len(self._finished) > KEPT:
                self._remove(next(iter(self._finished)))

    def _leave(self, row: Record) -> None:
        if row.unique is not None and row.holds:
            del self._unique[row.unique]
        if row.serial is not None or row.state in WAITING:
            self._waiting.leave(row)
        self._finished.pop(row.id, None)

    def _remove(self, job_id: str) -> None:
        self._leave(self._rows.pop(job_id))

    def _expired(self, job_id: str, now: float) -> bool:
        expires_at = self._rows[job_id].expires_at
        return expires_at is not None and expires_at <= now

    def _candidate(self, wanted: Wanted) -> Record | None:
        job_id = self._waiting.best(wanted) if wanted.job_id is None else wanted.job_id
        row = None if job_id is None else self._rows.get(job_id)
        if row is None or (wanted.job_id is not None and not self._waiting.can_take(row, wanted)):
            return None
        if wanted.better_than is None:
            return row
        priority, created_at = wanted.better_than
        better = (-row.priority, row.created_at) < (-priority, created_at)
        return row if better else None


def _copy(row: Record) -> Record:
    copy = Record.__new__(Record)
    copy.__dict__.update(row.__dict__)
    return copy


def _disposable(row: Record) -> bool:
    """Whether a row may go: it is finished, and no late thread keeps one of its keys."""
    if row.state not in FINISHED:
        return False
    return not row.holds or (row.unique is None and row.serial is None)
