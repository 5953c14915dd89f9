"""Duties that keep this process in step with the others of its app."""

from __future__ import annotations

from ..errors import JobCancelled
from ..job import Record
from ..runtime import Runtime

#: Seconds between two looks at a shared store while something here depends on other processes.
POLL = 0.07

#: Rows that are asked for at a time, and seconds between two such questions of one round: it is not
#: to keep a thread busy, however many handles there are.
ROWS = 500
PAUSE = 0.05


class Watcher:
    """Sees what other processes did: ended jobs, requests to stop, new work, paused queues."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._version: object = None
        self._left: list[str] = []  # jobs that this round has still to ask for
        self.serving = False
        "Whether this process also takes what others left."

    def poll(self) -> float | None:
        """Duty: look at the store, as long as somebody here waits for what others do."""
        runtime = self._runtime
        if not self._shares:
            return None
        if not self._left:  # else what changed meanwhile is for the next round
            version = runtime.store.version()
            if version != self._version:
                watched = self._watched()
                self._look()
                self._version, self._left = version, watched
        if self._left:
            self._look_for_ended(self._left[:ROWS])
            del self._left[:ROWS]
        if self._left:
            return PAUSE
        # Mostly this process serves, and no more than the version had to be asked for.
        return POLL if self.serving or runtime.running or self._watched() else None

    def job_began(self) -> None:
        """A job runs here: other processes may ask it to stop."""
        if not self.serving and self._shares:
            self._runtime.keeper.poke(self.poll, POLL)

    @property
    def is_needed(self) -> bool:
        """Whether somebody here waits for what other processes do."""
        return self._shares and bool(self._watched())

    @property
    def _shares(self) -> bool:
        """Whether other processes may work on the same jobs."""
        return self._runtime.has_store and self._runtime.store_as_is.shared

    def _watched(self) -> list[str]:
        """Jobs that may end, or run again, elsewhere.

        Among them are those that wait here: anybody may cancel them, and a durable one that began
        here at once may be tried again by another process.
        """
        runtime = self._runtime
        waiting = [job_id for job_id in list(runtime.calls) if job_id not in runtime.running]
        return runtime.handles.watched() + waiting

    def _look_for_ended(self, job_ids: list[str]) -> None:
        for record in self._rows(job_ids):
            if record.state.finished:
                self._ended(record)

    def _look(self) -> None:
        """See what does not depend on how many handles there are."""
        runtime = self._runtime
        for record in self._rows(list(runtime.running)):
            job = runtime.running.get(record.id)
            if record.cancel_requested and job is not None:
                job.ask_to_stop(JobCancelled)
        if runtime.has_engine:
            runtime.engine.pause_all(runtime.store.paused())
            runtime.keeper.poke(runtime.promote)

    def _rows(self, job_ids: list[str]) -> list[Record]:
        return self._runtime.store.get_many(job_ids) if job_ids else []

    def _ended(self, record: Record) -> None:
        runtime = self._runtime
        if record.id in runtime.running:
            return  # it runs here by now, and its runner will tell more
        was_ours = record.id in runtime.calls
        runtime.tell_handle(record)
        if was_ours and runtime.has_engine:
            runtime.engine.withdraw(record.id)

    def flush(self) -> float | None:
        """Duty: write what the store keeps back."""
        self._runtime.store.flush()
        return None
