"""What is known of a job: plain data, the same in every process.

:class:`Record` is the row as a store keeps it; :class:`Job` is what users get.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

from .errors import BgTaskError, JobFailed, JobLost, JobTimeout

T = TypeVar("T")


class JobState(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    "Its time (delay, eta, or the wait before a retry) has not come."
    QUEUED = "queued"
    "Waits for a free worker."
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    "Its process died and it may not run again."

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self in FINISHED


#: What did not end well: from these a job can be queued again.
RETRIABLE = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.LOST})
FINISHED = RETRIABLE | {JobState.SUCCEEDED}
WAITING = frozenset({JobState.SCHEDULED, JobState.QUEUED})


class Record:
    """One row of the store.

    Columns that were not given read as their class default. Times are seconds since the epoch.
    A record that a store returned is a copy: changing it changes nothing.
    """

    seq: int = 0
    "Order of submission within a store; given by the store."
    id: str
    app: str = ""
    task: str = ""
    "Name of the task, or ``module:qualname`` of a bare function."
    queue: str = "default"
    priority: int = 0
    state: JobState = JobState.QUEUED
    attempt: int = 0
    "Attempts begun so far."
    max_attempts: int = 1
    crashes: int = 0
    "Attempts that ended with the death of their process; they do not count as retries."
    created_at: float = 0.0
    run_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    "When a finished job may be deleted."
    result_ttl: float | None = None
    owner: str | None = None
    label: str | None = None
    unique: str | None = None
    serial: str | None = None
    durable: bool = False
    on_crash: str = "rerun"
    options: str | None = None
    "JSON: what the runner needs of the job's own options (timeout, backoff), if it is no default."
    arguments: str | None = None
    "Encoded arguments of a durable job; those of others are in no row."
    carried: str | None = None
    "Encoded data of the carriers."
    signature: str | None = None
    "Signature over a bare function's name and arguments."
    home: str | None = None
    "Process that submitted the job."
    process: str | None = None
    "Process that runs (or ran) it."
    worker: str | None = None
    "The same for people: ``host:pid``."
    token: str | None = None
    "Drawn anew for each attempt; only who has it may end the attempt."
    holds: bool = True
    "Whether the job still holds its ``unique`` and ``serial`` keys."
    cancel_requested: bool = False
    drained: bool = False
    "Whether its process was told to stop while the job ran: its end is no crash."
    progress: str | None = None
    "JSON: ``[done, total, note]``."
    error: str | None = None
    "JSON: ``[type, message, traceback]``."
    result: str | None = None
    "Encoded result."
    logs: str | None = None
    "JSON: ``[[attempt, time, text], …]``."
    memo: str | None = None
    "Private JSON that one attempt leaves to the next."

    def __init__(self, **columns: Any) -> None:
        self.__dict__ = columns

    def copy(self, **changes: Any) -> Record:
        """The same row with some columns changed."""
        same = Record.__new__(Record)
        same.__dict__ = self.__dict__ | changes
        return same

    def shown_state(self, now: float) -> JobState:
        """A scheduled job whose time has come waits like any queued one."""
        if self.state is JobState.SCHEDULED and self.run_at <= now:
            return JobState.QUEUED
        return self.state

    def __repr__(self) -> str:
        return f"<Record {self.id} {self.task} {self.state}>"


#: Names of all columns, in the order of the class body.
COLUMNS: tuple[str, ...] = tuple(Record.__annotations__)

#: What only who runs the job needs; of a mail it has up to hundreds of megabytes.
INPUT_COLUMNS = frozenset({"arguments", "carried"})

#: Those that may hold a megabyte each: what nobody asks for in a list of hundreds.
LONG_COLUMNS = INPUT_COLUMNS | {"result", "logs", "memo"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is."""

    done: float = 0
    total: float | None = None
    note: str = ""

    @property
    def percent(self) -> float | None:
        """0 to 100, or ``None`` while the total is not known."""
        if not self.total:
            return None
        try:
            return max(0.0, min(100.0, 100.0 * self.done / self.total))
        except OverflowError:  # integers beyond what a float can be
            return None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, or why its last attempt did."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a task wrote with ``current_job.log``."""

    attempt: int
    at: datetime
    message: str


# A row may hold nonsense that somebody else wrote into the store. It is read as far as that goes:
# one row must not keep all others from being shown.


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)


def parsed(text: str | None) -> Any:
    """The data of a column with JSON; ``None`` if there is nothing, or nothing readable."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _progress(text: str | None) -> Progress | None:
    match parsed(text):
        case [int() | float() as done, None | int() | float() as total, str() as note]:
            return Progress(done, total, note)
    return None


def _error(text: str | None) -> JobError | None:
    match parsed(text):
        case [str() as kind, str() as message, str() as traceback]:
            return JobError(kind, message, traceback)
    return JobError("Unreadable", f"the store has {text[:200]!r}", "") if text else None


def _log_lines(text: str | None) -> Iterator[LogLine]:
    lines = parsed(text)
    for line in lines if isinstance(lines, list) else ():
        match line:
            case [int() as attempt, int() | float() as at, str() as message]:
                yield LogLine(attempt, _moment(at), message)


@dataclass(frozen=True)
class Job:
    """A job as it was when asked for; it does not change. Times are aware, in UTC."""

    id: str
    task: str
    queue: str
    priority: int
    state: JobState
    attempt: int
    max_attempts: int
    progress: Progress | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    owner: str | None
    label: str | None
    unique: str | None
    serial: str | None
    durable: bool
    worker: str | None
    cancel_requested: bool
    logs: tuple[LogLine, ...]
    record: Record = field(repr=False, compare=False)
    _decode: Callable[[str], Any] = field(repr=False, compare=False)

    @cached_property
    def result(self) -> Any:
        """The decoded result; ``None`` unless the job succeeded."""
        text = self.record.result
        return None if text is None else self._decode(text)


def snapshot(record: Record, now: float, decode: Callable[[str], Any]) -> Job:
    """The :class:`Job` that users see of a row."""
    return Job(
        id=record.id,
        task=record.task,
        queue=record.queue,
        priority=record.priority,
        state=record.shown_state(now),
        attempt=record.attempt,
        max_attempts=record.max_attempts,
        progress=_progress(record.progress),
        created_at=_moment(record.created_at),
        run_at=_moment(record.run_at),
        started_at=_time(record.started_at),
        finished_at=_time(record.finished_at),
        error=_error(record.error),
        owner=record.owner,
        label=record.label,
        unique=record.unique,
        serial=record.serial,
        durable=record.durable,
        worker=record.worker,
        cancel_requested=record.cancel_requested,
        logs=tuple(_log_lines(record.logs)),
        record=record,
        _decode=decode,
    )


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing, newest first; iterates over its items."""

    items: list[T]
    next: str | None
    "Give it as ``after`` to get the following page; ``None`` on the last one."

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def failure_of(record: Record) -> BgTaskError:
    """The exception that stands for a job that did not end well in another process."""
    error = _error(record.error) or JobError("", "", "")
    if record.state is JobState.LOST:
        return JobLost(error.message) if error.message else JobLost()
    if error.type == "JobTimeout":
        return JobTimeout(error.message)
    return JobFailed(error.type, error.message, error.traceback)
