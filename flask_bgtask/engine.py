"""The engine seam: what brings a job to a thread.

An engine knows ids, queues and threads, and nothing of tasks. It is given ``run`` and calls it
with a job's id (and the row, where it claimed it already); the row in the store is the truth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from .job import Record

Run = Callable[[str, Record | None], None]
"Executes a job: by its id, or as the row that this process claimed."

Errand = tuple[str, str, Record | None]
"A job for a thread: its id, its queue, and its row if this process has claimed it."


class WaitingJob(Protocol):
    """What an engine asks of a job that waits: see :class:`.Record`."""

    id: str
    queue: str
    priority: int
    created_at: float
    attempt: int
    durable: bool
    serial: str | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much work a process does, and which."""

    workers: int
    "Jobs at a time; 0: it only submits."
    limits: Mapping[str, int] = field(default_factory=dict)
    "Most jobs of a queue at a time; 0: they are left to other processes."
    queues: Collection[str] | None = None
    "It takes durable jobs of these queues alone; ``None`` for all."
    obstacle: str | None = None
    "Why it only submits, and what to write, where that is not the configuration's choice."

    def runs(self, queue: str) -> bool:
        """Whether jobs of the queue that only this process can run would ever begin."""
        return self.workers > 0 and self.limits.get(queue) != 0


class Engine(Protocol):
    """Brings ids of jobs to threads, here or in other processes."""

    def start(self, *, serve: bool) -> None:
        """Begin to work; with ``serve`` also on jobs that other processes left."""

    def reserve(self, job: WaitingJob) -> Callable[[Errand], None] | None:
        """Keep a free thread of this process for a new job, which then begins without a claim.

        :return: takes the job, without fail; ``None`` if no thread is free. Who does not call it
            calls :meth:`release`.
        :raises RuntimeError: after the shutdown.
        """

    def release(self, job: WaitingJob) -> None:
        """Give the reserved thread back: the insert failed."""

    def deliver(self, job: WaitingJob) -> None:
        """A job waits (again); see that it runs.

        :raises RuntimeError: a new one, that only this process could run, after the shutdown.
        """

    def look(self) -> None:
        """The store may hold jobs that can be taken now: another process changed it, a job's
        time has come, a key or a queue became free."""

    def withdraw(self, job_id: str) -> None:
        """A waiting job was cancelled; forget it."""

    def waiting(self) -> int:
        """Jobs waiting in this process that are not in a shared queue."""

    def pause_all(self, paused: frozenset[str]) -> None:
        """Take jobs of exactly these queues no more; the store has them noted."""

    def shutdown(self, *, cancel: bool) -> None:
        """Accept no new job; with ``cancel``, begin none that waits."""

    def wait(self, timeout: float) -> bool:
        """After a shutdown, wait at most ``timeout`` seconds; whether all came to an end."""

    def rests(self) -> bool:
        """After a shutdown: whether no job runs here, and none that waits could begin."""

    def drain(self, timeout: float) -> bool:
        """Take no new job, give what runs ``timeout`` seconds; whether all came to an end."""


class Place(threading.local):
    """The calling thread's place in an engine, if it is a worker's."""

    lend: Callable[[str], AbstractContextManager[None]] | None = None
    "Lends the place to a spare thread while the caller waits for the job of this id."


#: Set by an engine in each of its threads; read where a handle is waited for.
place = Place()


def waiting_for(job_id: str) -> AbstractContextManager[None]:
    """Let others work in the calling worker's place while it waits for a job."""
    return nullcontext() if place.lend is None else place.lend(job_id)
