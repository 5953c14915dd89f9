"""Engines for tests: jobs run inside ``submit``, or only when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..coroutines import in_event_loop
from ..engine import Errand, Run, WaitingJob


class InlineEngine:
    """Runs each job on the submitting thread before ``submit`` returns.

    :param run: executes a job.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def start(self, *, serve: bool) -> None:
        """There is nothing to start."""

    def reserve(self, job: WaitingJob) -> Callable[[Errand], None] | None:
        """There is always a place: the caller's own."""
        return self._run_now

    def release(self, job: WaitingJob) -> None:
        """Nothing is kept."""

    def deliver(self, job: WaitingJob) -> None:
        """Run the job now; one that is to be tried again, again."""
        self._run_now((job.id, job.queue, None))

    def _run_now(self, errand: Errand) -> None:
        job_id, _, claimed = errand
        if not in_event_loop():
            self._run(job_id, claimed)
            return
        # A thread that runs an event loop can run no other for an ``async def`` task.
        thread = threading.Thread(target=self._run, args=(job_id, claimed))
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

    def shutdown(self, *, cancel: bool) -> None:
        """Nothing runs."""

    def wait(self, timeout: float) -> bool:
        """Nothing runs."""
        return True

    def rests(self) -> bool:
        """Nothing runs."""
        return True

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

    def reserve(self, job: WaitingJob) -> None:
        """No job starts by itself."""

    def deliver(self, job: WaitingJob) -> None:
        """Keep the job."""
        with self._lock:
            if job.id not in self._held:
                self._held.append(job.id)

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
