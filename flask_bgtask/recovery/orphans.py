"""What becomes of the jobs of processes that died, and of jobs that ended long ago."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from blinker import NamedSignal

from ..job import JobState, Record
from ..runtime import Runtime
from ..signals import job_cancelled, job_failed, job_lost, job_retrying
from ..store import BATCH

#: Seconds between two looks for dead processes.
RECOVER_EVERY = 0.25

#: Seconds between two rounds of deleting what is no longer to be kept.
PURGE_EVERY = 60.0

#: A job that took its process down as often as this is not tried again.
POISON = 3


class Recovery:
    """Duties of every process that takes jobs of others."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def recover(self) -> float | None:
        """Duty: give the jobs of dead processes a state that is true."""
        if self._runtime.closed:
            return None
        orphans = self._runtime.store.orphans()
        for record in orphans:
            self._recover(record)
        if orphans:
            self._runtime.engine.look()
        return 0.0 if len(orphans) == BATCH else RECOVER_EVERY

    def purge(self) -> float | None:
        """Duty: delete finished jobs whose time to be kept is over."""
        if self._runtime.closed:
            return None
        deleted = self._runtime.store.purge(time.time())
        return 0.0 if deleted == BATCH else PURGE_EVERY

    def _recover(self, record: Record) -> None:
        runtime = self._runtime
        columns, signal = self._verdict(record)
        changed = runtime.store.change(
            record.id, columns, states=(record.state,), token=record.token
        )
        if changed is None or signal is None:
            return  # another process was first, or only its keys were freed
        queued = changed.state is JobState.QUEUED
        runtime.log(
            logging.WARNING if queued else logging.ERROR,
            "process %s of job %s (%s) %s in attempt %d; the job is now %s",
            record.worker or record.home,
            record.id,
            record.task,
            "was told to stop" if record.drained else "died",
            record.attempt,
            changed.state,
        )
        if changed.state.finished:
            runtime.tell_handle(changed)
        runtime.send(signal, changed)

    def _verdict(self, record: Record) -> tuple[dict[str, Any], NamedSignal | None]:
        """The columns that tell what became of an orphan, and the signal that says so."""
        if record.state.finished:
            return {"holds": False}, None
        if record.cancel_requested:
            return self._runtime.columns.ending(record, JobState.CANCELLED), job_cancelled
        if not record.durable or (record.on_crash == "fail" and not record.drained):
            ending = self._runtime.columns.ending(record, JobState.LOST)
            return {**ending, "error": _error("JobLost", _LOST)}, job_lost
        if record.drained:
            # Its process was told to stop: neither a crash nor one of its attempts.
            attempt = max(0, record.attempt - 1)
            return {**_AGAIN, "attempt": attempt, "drained": False}, job_retrying
        crashes = min(record.crashes, POISON) + 1
        if crashes >= POISON:
            ending = self._runtime.columns.ending(record, JobState.FAILED)
            return {**ending, "crashes": crashes, "error": _error("Poison", _POISON)}, job_failed
        return {**_AGAIN, "crashes": crashes}, job_retrying


_AGAIN = {"state": JobState.QUEUED, "token": None, "process": None}
_LOST = "the process that ran this job died"
_POISON = f"the job was running {POISON} times when its process died; it is not tried again"


def _error(kind: str, message: str) -> str:
    return json.dumps([kind, message, ""])
