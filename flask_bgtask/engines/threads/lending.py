"""A worker that waits for other jobs lets another thread have its place meanwhile.

Running an awaited job on the waiter's own stack instead would break its timeout and its locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from .places import Places

if TYPE_CHECKING:
    from .engine import ThreadsEngine


class Lending:
    """Makes a lender for the job that a worker runs, when that waits for the first time."""

    def __init__(self, engine: ThreadsEngine) -> None:
        self._engine = engine
        self._queue = ""
        self._lender: Lender | None = None

    def begin(self, queue: str) -> None:
        """The worker begins a job of this queue."""
        self._queue = queue

    def end(self) -> None:
        """The job's attempt has ended: nothing waits for anything any more."""
        if self._lender is not None:
            self._engine.take_all_back(self._lender)
            self._lender = None

    def lend(self, job_id: str) -> AbstractContextManager[None]:
        """Lend the worker's place while it waits for a job."""
        if self._lender is None:
            self._lender = Lender(self._engine, self._queue)
        return self._lender.lend(job_id)


class Lender:
    """One worker while it runs one job. Its waits may overlap, and end on other threads.

    What an ``async def`` task asked to be told of, and never waited for, outlasts the attempt;
    the loan does not.
    """

    def __init__(self, engine: ThreadsEngine, queue: str) -> None:
        self._engine = engine
        self.queue = queue
        self.waits: Counter[str] = Counter()
        "Waits that go on, by the ids of jobs; guarded by the engine's lock."

    @contextmanager
    def lend(self, job_id: str) -> Iterator[None]:
        """Lend the place while the worker waits for a job."""
        self._engine.lend(self, job_id)
        try:
            yield
        finally:
            self._engine.take_back(self, job_id)


class Loans:
    """The places that are lent; not thread-safe, its owner has the lock."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.awaited: Counter[str] = Counter()
        "Jobs that workers here wait for, and how many do."

    def begin(self, lender: Lender, job_id: str) -> None:
        """A worker begins to wait for a job: from its first wait on, its place is free."""
        if not lender.waits:
            self._places.number += 1
            self._places.count(lender.queue, -1)
        lender.waits[job_id] += 1
        self.awaited[job_id] += 1

    def end(self, lender: Lender, job_id: str) -> None:
        """It waits no more: after its last wait it has its place back."""
        if job_id in lender.waits:  # else it ended with the attempt
            self._end(lender, Counter((job_id,)))

    def end_all(self, lender: Lender) -> None:
        """Its job has ended, and with it whatever it waited for."""
        if lender.waits:
            self._end(lender, lender.waits)

    def _end(self, lender: Lender, waits: Counter[str]) -> None:
        self.awaited -= waits
        lender.waits = lender.waits - waits
        if not lender.waits:
            self._places.clear_seats()
            self._places.number -= 1
            self._places.count(lender.queue, 1)
