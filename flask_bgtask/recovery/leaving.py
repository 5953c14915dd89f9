"""What becomes of jobs that this process does not end."""

from __future__ import annotations

import json
import logging
import sys
import time

from ..errors import JobLost, StoreError
from ..job import WAITING, JobState, Record
from ..runtime import Runtime
from ..signals import job_lost
from ..store import BATCH, Filter

#: Why a job is lost, as its error and the log say it.
PROCESS_ENDS = "its process ends"
SHUT_DOWN = "the workers of its process were shut down"


def mark_rest(runtime: Runtime) -> None:
    """Give what this process will not end a state that is true.

    A durable job that runs is taken over once this process is gone, as its thread may run till
    then. What no other process can run is lost.
    """
    try:
        for record in _own(runtime):
            _lose(runtime, record, PROCESS_ENDS)
        for job in list(runtime.running.values()):
            if job.record.durable and runtime.store.shared:
                # What it did so far is known to the attempt that takes over.
                memo = json.dumps(job.memo) if job.memo else None
                columns = {"drained": True, "memo": memo}
                runtime.store.change(job.record.id, columns, token=job.record.token)
        runtime.store.flush()
    except StoreError as error:
        text = "the jobs that were cut short cannot be noted as such: %s"
        runtime.log(logging.ERROR, text, error)


def leave_waiting(runtime: Runtime, until: float | None, *, durable: bool) -> None:
    """Wait no longer for jobs that would not begin here soon.

    What other processes can run stays in the store for them; all else is lost.

    :param until: a job that is scheduled for a time after this one is not waited for; ``None``:
        nor is any other.
    :param durable: whether durable jobs in memory are lost, or stay where they are.
    """
    try:
        paused = runtime.store.paused()
        waiting = [
            record
            for record in _own(runtime)
            if record.state in WAITING
            and record.id not in runtime.running
            and (durable or not record.durable)
        ]
        late = [record for record in waiting if _is_late(runtime, record, until, paused)]
        for record in late or _blocked(runtime, waiting, until):
            _lose(runtime, record, SHUT_DOWN)
        if late:
            runtime.engine.look()  # one of them may have been before others with its serial key
        if runtime.store.shared:
            _leave_to_others(runtime, paused)
    except StoreError as error:
        runtime.troubles.tell(error)


def _own(runtime: Runtime) -> list[Record]:
    """Unfinished jobs that no other process can run, in the order of their submission."""
    store = runtime.store
    found: list[Record] = []
    if store.shared:
        found += (record for record in _called(runtime) if not record.durable)
    else:
        for state in (JobState.RUNNING, *WAITING):
            found += store.listing(Filter(state), limit=sys.maxsize, now=time.time())
    return sorted(found, key=lambda record: record.seq or 0)


def _called(runtime: Runtime) -> list[Record]:
    """Unfinished jobs of a shared store that this process has more of than their rows."""
    ids = list(runtime.calls)
    found = []
    for first in range(0, len(ids), BATCH):
        found += runtime.store.get_many(ids[first : first + BATCH])
    return [record for record in found if not record.state.finished]


def _is_late(runtime: Runtime, record: Record, until: float | None, paused: frozenset[str]) -> bool:
    """Whether a job that waits would begin too late, or never."""
    if until is None or record.queue in paused or not runtime.capacity.runs(record.queue):
        return True
    return record.state is JobState.SCHEDULED and record.run_at > until


def _blocked(runtime: Runtime, waiting: list[Record], until: float | None) -> list[Record]:
    """Jobs that still wait for their serial key when nothing can run here: others have it."""
    if until is None or time.time() <= until or not runtime.engine.rests():
        return []
    return [record for record in waiting if record.serial is not None]


def _leave_to_others(runtime: Runtime, paused: frozenset[str]) -> None:
    """Durable jobs that began here and wait for another attempt, or have it elsewhere."""
    for record in _called(runtime):
        if not record.durable or record.id in runtime.running:
            continue
        here = runtime.capacity.runs(record.queue) and record.queue not in paused
        if record.state is not JobState.QUEUED or record.serial is not None or not here:
            call = runtime.calls.pop(record.id, None)
            if call is not None:
                runtime.handles.add(call.handle)
                runtime.engine.withdraw(record.id)


def _lose(runtime: Runtime, record: Record, why: str) -> None:
    ending = runtime.columns.ending(record, JobState.LOST)
    lost = runtime.store.change(record.id, ending, states=(record.state,), token=record.token)
    if lost is None:
        return
    runtime.log(logging.ERROR, "job %s (%s) is lost: %s", record.id, record.task, why)
    handle = runtime.handles.settle(record.id)
    if runtime.has_engine:
        runtime.engine.withdraw(record.id)
    if handle is not None:
        handle.resolve(error=JobLost(f"the job did not come to its end: {why}"))
    runtime.send(job_lost, lost)
