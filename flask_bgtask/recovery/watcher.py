"""Duties that keep this process in step with the others of its app."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from ..errors import JobCancelled
from ..job import Record
from ..runtime import Runtime

#: Seconds between two looks at a shared store while something here depends on other processes.
POLL = 0.07

#: Rows that one look asks for at most; further ones have their turn at the next.
ROWS = 200

#: Seconds between two rounds of chores.
CHORES = 1.0


class Watcher:
    """Sees what other processes did: ended jobs, requests to stop, new work, paused queues."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._version: object = None
        self._behind = False  # there were more rows than one look asks for
        self.serving = False
        "Whether this process also takes what others left."

    def poll(self) -> float | None:
        """Duty: look at the store, as long as somebody here waits for what others do."""
        runtime = self._runtime
        if not (runtime.has_store and runtime.store.shared):
            return None
        awake = self.serving or bool(runtime.running) or bool(runtime.handles.watched())
        version = runtime.store.version()
        if version != self._version or self._behind:
            self._version = version
            self._look()
        return POLL if awake else None

    def _look(self) -> None:
        runtime = self._runtime
        watched = [job_id for job_id in runtime.handles.watched() if job_id not in runtime.running]
        self._behind = len(watched) > ROWS
        for record in self._rows(watched):
            if record.state.finished:
                self._ended(record)
        for record in self._rows(list(runtime.running)):
            job = runtime.running.get(record.id)
            if record.cancel_requested and job is not None:
                job.ask_to_stop(JobCancelled)
        if runtime.has_engine:
            runtime.engine.pause_all(runtime.store.paused())
            runtime.keeper.poke(runtime.promote)

    def _rows(self, job_ids: Collection[str]) -> list[Record]:
        return self._runtime.store.get_many(list(islice(job_ids, ROWS))) if job_ids else []

    def _ended(self, record: Record) -> None:
        runtime = self._runtime
        if record.id in runtime.running:
            return  # it runs here by now, and its runner will tell more
        runtime.tell_handle(record)

    def flush(self) -> float | None:
        """Duty: write what the store keeps back."""
        self._runtime.store.flush()
        return None

    def chores(self) -> float | None:
        """Duty: let idle things be closed."""
        again = [chore() for chore in self._runtime.chores]
        return CHORES if any(again) else None

    def wait_for_chores(self) -> None:
        """A job ended: something may have become idle."""
        if self._runtime.chores:
            self._runtime.keeper.poke(self.chores, CHORES)
