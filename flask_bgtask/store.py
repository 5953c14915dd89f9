"""The store seam: what the rest of the library asks of the place where an app's jobs are.

A store serves one app (``Record.app``); several apps may share a database. Every change of a
row is a compare-and-set, so any number of threads and processes may work on the same rows.
Adapters raise :class:`.StoreError` for whatever their driver raises, ``from`` it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .job import JobState, Record

#: Rows that one call of ``orphans`` or ``purge`` handles at most, so that none blocks the queue.
BATCH = 500


def _everything(_: str) -> bool:
    return True


def always() -> bool:
    """What a process is told to answer that takes jobs, whatever comes."""
    return True


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which waiting job a worker would take."""

    queues: Collection[str] | None = None
    "Only these queues; ``None`` for all. What is not durable can run nowhere else: any queue."
    without: Collection[str] = ()
    "Not these: they are at their limit in this process, or paused."
    others: bool = True
    "Also durable jobs that other processes submitted."
    better_than: tuple[int, float] | None = None
    "Only a job that comes before one of this priority and time of creation."
    knows: Callable[[str], bool] = _everything
    "Whether this process can run the task of that name; others are left for who can."
    job_id: str | None = None
    "Only this job."


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a listing shows; ``None`` means any."""

    state: JobState | None = None
    task: str | None = None
    queue: str | None = None
    owner: str | None = None
    text: str | None = None
    "Part of the id, the task's name or the label, in any case."


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """What a store remembers of a periodic task."""

    id: str
    task: str
    spec: str
    "The rule, for people."
    last_tick: float | None
    "Time of the newest tick that was dealt with."
    next_tick: float | None


class Store(Protocol):
    """Keeps the jobs of one app. Thread-safe; opens its resources at the first call."""

    shared: bool
    "Other processes of the app see the same rows."

    process: str
    "Names this process among those that use the store; new after a fork."

    @property
    def file(self) -> Path | None:
        """The file that holds the rows, if one does: while it is not there, there are none."""

    def add(self, record: Record) -> None:
        """Insert a new row. The store may keep ``record`` itself: nobody changes it any more.

        A durable row, and one with a ``unique`` key, is there for every process when this
        returns. Another may be written up to 10 ms later (see :meth:`flush`); in this process
        it can be seen at once.

        :raises DuplicateJob: a row that ``holds`` the same ``unique`` key is there.
        """

    def flush(self) -> None:
        """Write what :meth:`add` and :meth:`change` still keep back."""

    def get(self, job_id: str) -> Record | None:
        """The row, or ``None``."""

    def get_many(self, job_ids: Collection[str]) -> list[Record]:
        """Those of the rows that are there, in any order, without :data:`.INPUT_COLUMNS`.

        Who watches many jobs asks often, and each may have a large mail in its arguments.
        """

    def change(
        self,
        job_id: str,
        columns: Mapping[str, Any],
        *,
        states: Collection[JobState] | None = None,
        token: str | None = None,
    ) -> Record | None:
        """Set columns of a row if it is in one of ``states`` and its attempt has this ``token``.

        :return: the row after the change, or ``None`` where it was not as expected.
        :raises DuplicateJob: ``holds`` became true while another row holds its ``unique`` key.
        """

    def end(self, attempt: Record, columns: Mapping[str, Any]) -> bool:
        """Set columns of a row that still runs in this attempt; whether it does.

        Every job ends so, and mostly nobody needs the row again: it is not read.
        """

    def claim(self, wanted: Wanted, columns: Mapping[str, Any]) -> Record | None:
        """Take the best waiting job for this process and begin an attempt.

        Candidates are queued rows that are durable or whose ``home`` is this process, highest
        priority first, then oldest. Of the rows with one ``serial`` key only the oldest that
        ``holds`` it can be taken, and not while another is running or late. Sets ``columns``
        (a fresh ``token``, ``started_at``, ``worker``), the state ``running``, ``process``, and
        adds one to ``attempt``.
        """

    def promote(self, now: float) -> float | None:
        """Queue scheduled rows (durable, or with this process as ``home``) whose time has come.

        :return: the time of the next scheduled one, or ``None``.
        """

    def version(self) -> object:
        """Something that differs from the last call's if another process may have changed rows."""

    def waiting(self) -> int:
        """How many durable jobs are queued (not scheduled)."""

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state (scheduled and queued as stored)."""

    def oldest_queued(self) -> float | None:
        """When the oldest queued job became due, or ``None``."""

    def tasks(self, *, waiting: bool = False) -> set[str]:
        """Names of the tasks that jobs are of; only those of queued and scheduled jobs."""

    def listing(
        self,
        wanted: Filter,
        *,
        limit: int,
        after: int | None = None,
        now: float,
        brief: bool = False,
    ) -> list[Record]:
        """Rows, newest first, with a ``seq`` below ``after``. States as shown at ``now``.

        They come without :data:`.INPUT_COLUMNS`.

        :param brief: without the columns of :data:`.LONG_COLUMNS`.
        """

    def delete(self, job_id: str) -> bool:
        """Remove a finished row; ``False`` if it is not there or not finished."""

    def purge(self, now: float) -> int:
        """Remove at most ``BATCH`` finished rows that expired; how many it removed."""

    def orphans(self) -> list[Record]:
        """At most ``BATCH`` rows bound to a process that is dead.

        These are rows that run (or are late) in one, and waiting rows that are not durable and
        whose ``home`` is one. A process that cannot be told to be dead counts as alive.
        """

    def processes(self, *, working: bool = False) -> list[str]:
        """``host:pid`` of the live processes that use the store.

        :param working: leave out those that only submit.
        """

    def pause(self, queue: str, paused: bool) -> None:
        """Let nobody take jobs of the queue, or let them again."""

    def paused(self) -> frozenset[str]:
        """The paused queues."""

    def schedules(self) -> list[ScheduleState]:
        """What is remembered of periodic tasks."""

    def tick(self, schedule: ScheduleState, last_seen: float | None, record: Record | None) -> bool:
        """Note that a tick was dealt with and add its job, both or neither.

        :param last_seen: ``last_tick`` as the caller knows it.
        :return: ``False``, with nothing done, if another process was first.
        """

    def close(self) -> None:
        """Write what is kept back and give resources up; the next call opens them again."""

    def after_fork(self) -> None:
        """In a forked child: use nothing that was inherited."""
