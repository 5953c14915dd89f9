"""Engines for tests: jobs run inside ``submit``, or only when told to."""

from __future__ import annotations

import threading

from ..coroutines import in_event_loop
from ..engine import Run
from ..job import JobState, Record


class InlineEngine:
    """Runs each job on the submitting thread before ``submit`` returns.

    :param run: executes a job.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def start(self, *, serve: bool) -> None:
        """There is nothing to start."""

    def reserve(self, record: Record) -> bool:
        """There is always a place: the caller's own."""
        return True

    def release(self, record: Record) -> None:
        """Nothing is kept."""

    def deliver(self, record: Record) -> None:
        """Run the job now; one that is to be tried again, again."""
        claimed = record if record.state is JobState.RUNNING else None
        if not in_event_loop():
            self._run(record.id, claimed)
            return
        # A thread that runs an event loop can run no other for an ``async def`` task.
        thread = threading.Thread(target=self._run, args=(record.id, claimed))
        thread.start()
        thread.join()

    def look(self) -> None:
        """Jobs of others are theirs."""

    def withdraw(self, job_id: str) -> None:
        """Nothing waits."""

    def waiting(self) -> int:
        """Nothing waits."""
        return 0

    def pause_all(self, paused: frozenset[str]) -> None:
        """What is submitted runs."""

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """Nothing runs."""

    def drain(self, timeout: float) -> bool:
        """Nothing runs."""
        return True


class HoldingEngine(InlineEngine):
    """Keeps the ids of jobs, in the order of their submission, until they are run by hand."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._held: list[str] = []
        # Guards the list: jobs may be submitted from several threads.
        self._lock = threading.Lock()

    def reserve(self, record: Record) -> bool:
        """No job starts by itself."""
        return False

    def deliver(self, record: Record) -> None:
        """Keep the job."""
        with self._lock:
            if record.id not in self._held:
                self._held.append(record.id)

    def withdraw(self, job_id: str) -> None:
        """The job was cancelled."""
        with self._lock:
            if job_id in self._held:
                self._held.remove(job_id)

    def waiting(self) -> int:
        """How many jobs are kept."""
        return len(self._held)

    def take(self) -> str | None:
        """The job that came first."""
        with self._lock:
            return self._held.pop(0) if self._held else None
