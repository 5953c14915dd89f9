"""``current_job``: what a task can say and ask of its own job."""

from __future__ import annotations

import json
import math
import operator
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from werkzeug.local import LocalProxy

from ..errors import JobCancelled, JobTimeout
from ..job import Record, parsed

T = TypeVar("T")

#: Seconds between two writes of one job's progress and log lines.
WRITE_EVERY = 0.05

#: The newest log lines that are kept of a job, and the length of one in characters.
LOG_LINES = 500
LOG_LENGTH = 2_000

#: Seconds between two pauses of one task in ``checkpoint``, and how long one takes. The pause has
#: to be longer than the way of a waiting thread to the interpreter lock: a release alone is
#: mostly taken back by the releasing thread before another one wakes.
BREATHE_EVERY = 0.001
BREATHE_FOR = 0.0002


class NullJob:
    """The job of a task that is called directly: it says nothing to anybody."""

    id: str | None = None
    attempt = 1
    cancel_requested = False

    caller: RunningJob | None = None
    "The job whose task made the direct call, if one did."

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Do nothing."""

    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Give the items of ``iterable``."""
        yield from iterable

    def log(self, message: str) -> None:
        """Do nothing."""

    def checkpoint(self) -> None:
        """Do nothing."""


class RunningJob(NullJob):
    """One attempt at a job, as its task sees it through :data:`.current_job`.

    Safe to use from several threads of one task.
    """

    timed_out = False
    _stop: type[BaseException] | None = None
    _next_write = 0.0
    _next_breath = 0.0

    def __init__(
        self,
        record: Record,
        *,
        write: Callable[[RunningJob, dict[str, Any]], bool],
        later: Callable[[RunningJob], None],
    ) -> None:
        self.id: str = record.id
        self.attempt = record.attempt
        self.max_attempts = record.max_attempts
        self.record = record
        self.carried: dict[str, Any] = {}
        "Data of the carriers; what the task submits inherits it."
        memo = parsed(record.memo) if record.memo else {}
        self.readable = isinstance(memo, dict)
        "Whether what an earlier attempt left in the store is as it was written."
        self.memo: dict[str, Any] = memo if isinstance(memo, dict) else {}
        "Private JSON data that this attempt leaves to the next."
        self._write = write
        self._later = later
        logs = parsed(record.logs)
        self._logs: list[list[Any]] = logs if isinstance(logs, list) else []
        self._unwritten: dict[str, Any] = {}
        self._lock = threading.Lock()  # guards the logs, what is unwritten and when to write it

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Show how far the task is.

        Any kind of number will do. Infinities and NaN say nothing: they count as no units done, and
        as a total that is not known.

        :param done: units done so far.
        :param total: units in all, if known; gives the bar its length.
        :param note: a few words on what is being done.
        :raises TypeError: ``done`` or ``total`` is no number.
        """
        units = _number("done", done) or 0
        whole = None if total is None else _number("total", total)
        self._keep(progress=json.dumps([units, whole, str(note)]))

    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Give the items of ``iterable``, showing how many the task is done with.

        Each step is a :meth:`checkpoint` too.

        :param total: number of items, where ``len(iterable)`` does not tell.
        """
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        self.progress(0, total)
        for done, item in enumerate(iterable, 1):
            self.checkpoint()
            yield item
            self.progress(done, total)

    def log(self, message: str) -> None:
        """Add a line to the job's log; the newest 500 lines of 2,000 characters are kept."""
        with self._lock:
            self._logs.append([self.attempt, time.time(), str(message)[:LOG_LENGTH]])
            del self._logs[:-LOG_LINES]
        self._keep(logs=None)

    def checkpoint(self) -> None:
        """Let other threads have the interpreter, and stop here if the job was asked to.

        :raises JobCancelled: somebody asked the running job to stop.
        :raises JobTimeout: the attempt took longer than the job's ``timeout``.
        """
        now = time.monotonic()
        if now >= self._next_breath:
            time.sleep(BREATHE_FOR)
            self._next_breath = now + BREATHE_FOR + BREATHE_EVERY
        if self._stop is not None:
            raise self._stop

    @property
    def cancel_requested(self) -> bool:  # type: ignore[override]
        """Whether somebody asked the job to stop."""
        return self._stop is JobCancelled

    def ask_to_stop(self, why: type[JobCancelled | JobTimeout]) -> None:
        """Let the next checkpoint raise ``why``."""
        self._stop = why

    def save_memo(self) -> None:
        """Write ``memo`` to the store now, so that it outlives this process."""
        self._write(self, {"memo": json.dumps(self.memo)})

    def unwritten(self) -> dict[str, Any]:
        """Take what the store does not have yet."""
        if not self._unwritten:
            return {}
        with self._lock:
            columns, self._unwritten = self._unwritten, {}
            if "logs" in columns:
                columns["logs"] = json.dumps(self._logs)
            return columns

    def flush(self) -> None:
        """Write what is unwritten; what the store cannot take now goes with the next write."""
        columns = self.unwritten()
        if columns and not self._write(self, columns):
            with self._lock:
                self._unwritten = {**columns, **self._unwritten}

    def _keep(self, **columns: Any) -> None:
        """Write columns now, or with those that follow within :data:`WRITE_EVERY`."""
        now = time.monotonic()
        with self._lock:
            first = not self._unwritten
            self._unwritten.update(columns)
            due = now >= self._next_write
            if due:
                self._next_write = now + WRITE_EVERY
        if due:
            self.flush()
        elif first:
            self._later(self)


def _number(name: str, value: Any) -> float | None:
    """A number of any library as one that JSON has; ``None`` for what is not finite.

    :raises TypeError: it is no number.
    """
    try:
        if isinstance(value, (str, bytes, bytearray)):  # float() would read a number from it
            raise TypeError
        number = float(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: a number is expected") from None
    except (OverflowError, ValueError):  # too large for a float; a NaN of decimal's that signals
        return None
    if not math.isfinite(number):
        return None
    return operator.index(value) if hasattr(value, "__index__") else number


_running: ContextVar[NullJob] = ContextVar("flask_bgtask.job")

current_job = cast(
    RunningJob,
    LocalProxy(
        _running,
        unbound_message=(
            "There is no current job here: current_job works in a function that bg.submit or a "
            "task's submit runs in the background, and in a task that is called directly."
        ),
    ),
)
"""The job that the calling task works on; a proxy, as :data:`flask.current_app` is.

``RuntimeError`` outside a job and outside a task that is called directly."""


#: The job that runs here, for whom a call is too much.
running_here = _running.get


def running_job() -> RunningJob | None:
    """The job that runs here; ``None`` outside, and in a task that is called directly."""
    job = _running.get(None)
    return job if isinstance(job, RunningJob) else None


def submitting_job() -> RunningJob | None:
    """The job on whose behalf something is submitted here: a task may call another directly."""
    job = _running.get(None)
    return job if job is None or isinstance(job, RunningJob) else job.caller


def null_job() -> NullJob:
    """The job of a task that is called directly, here."""
    job = NullJob()
    job.caller = submitting_job()
    return job


def run_as(job: NullJob) -> None:
    """Make ``job`` the current one for as long as the running context lasts."""
    _running.set(job)


@contextmanager
def running_as(job: NullJob) -> Iterator[None]:
    """Make ``job`` the current one."""
    token = _running.set(job)
    try:
        yield
    finally:
        _running.reset(token)
