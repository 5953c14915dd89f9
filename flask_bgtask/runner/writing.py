"""Writes what attempts do to the store, however long it takes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..context import RunningJob
from ..errors import StoreError
from ..job import JobState, Record
from ..runtime import Runtime
from ..signals import job_progressed

T = TypeVar("T")

#: Seconds between two tries to write the end of a job, at first and at most.
WRITE_AGAIN = (0.05, 2.0)

#: Seconds within which progress and log lines are written.
WRITE_WITHIN = 0.05

RUNNING = (JobState.RUNNING,)
"The state in which an attempt's row may be written by it."


class Writer:
    """Writes progress now and then, and the outcome of an attempt for sure."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Attempts with something unwritten; single dictionary operations only.
        self._unwritten: dict[str, RunningJob] = {}
        self.giving_up = threading.Event()
        "Set when the process ends: what cannot be written now never will be."

    def persist(self, write: Callable[[], T]) -> T | None:
        """Write until it works: an outcome is not lost because the disk is full for a while."""
        wait, longest = WRITE_AGAIN
        while True:
            try:
                return write()
            except StoreError as error:
                self._runtime.troubles.tell(error)
                if self.giving_up.wait(wait):
                    return None
                wait = min(wait * 2, longest)

    def report(self, job: RunningJob, columns: dict[str, Any]) -> bool:
        """Write progress, log lines or the memo of a running attempt; whether the row has them."""
        runtime = self._runtime
        try:
            # Not `store_as_is`: the row of a plain job may not be there yet.
            record = runtime.store.change(
                job.record.id, columns, states=RUNNING, token=job.record.token
            )
        except StoreError as error:
            runtime.troubles.tell(error)
            return False
        if record is not None and "progress" in columns:
            runtime.tell(functools.partial(self._show_progress, job, record))
        return record is not None

    def _show_progress(self, job: RunningJob, record: Record) -> None:
        if self._runtime.running.get(job.id) is job:  # else more is known by now
            self._runtime.send(job_progressed, record)

    def report_later(self, job: RunningJob) -> None:
        """Have a running attempt write what it said, together with what it says soon after."""
        self._unwritten[job.id] = job
        self._runtime.keeper.poke(self._write_all, WRITE_WITHIN)

    def forget(self, job: RunningJob) -> None:
        """The attempt has ended, and what was unwritten went with its end."""
        self._unwritten.pop(job.id, None)

    def _write_all(self) -> float | None:
        """Duty: write what running jobs said since their last write."""
        for job_id in list(self._unwritten):
            job = self._unwritten.pop(job_id, None)
            if job is not None:
                job.flush()
        return None
