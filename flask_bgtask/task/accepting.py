"""From a complete row to a job that runs, or waits: limits, the store, the engine."""

from __future__ import annotations

from typing import Any

from ..calls import Call
from ..context import copied_variables, note_unwritten
from ..errors import ConfigError, DuplicateJob, QueueFull
from ..handle import Handle
from ..job import JobState, Record
from ..runtime import Runtime
from ..signals import job_submitted
from ..store import Store


def accept(runtime: Runtime, record: Record, call: Call) -> Handle[Any]:
    """Add the row, as running here if a thread is free; then the engine has it.

    :raises QueueFull: too many jobs wait.
    :raises DuplicateJob: an unfinished job has the same ``unique`` key.
    :raises RuntimeError: the workers were shut down.
    """
    engine, store = runtime.engine, runtime.store
    start = engine.reserve(record) if record.state is JobState.QUEUED else None
    try:
        if start is not None:
            runtime.columns.begin(record)
            call.has_place = True
        else:
            record.home = store.process
            _check_room(runtime, record)
        _add(runtime, store, record, call)
    except BaseException as error:
        runtime.handles.settle(record.id)
        if start is not None:
            engine.release(record)
        if isinstance(error, DuplicateJob) and call.options.on_duplicate == "return":
            return runtime.handles.open(error.job_id)
        raise
    try:
        if job_submitted.receivers:  # before the job begins, so that they hear of it in this order
            runtime.send(job_submitted, record)
    finally:  # whatever happens, a thread may be waiting
        if start is not None:
            start((record.id, record.queue, None))
        else:
            deliver(runtime, record)
    return call.handle


def _add(runtime: Runtime, store: Store, record: Record, call: Call) -> None:
    call.record, call.written = record, True
    _remember(runtime, record, call, shared=store.shared)
    store.add(record)
    runtime.fresh.welcome = True
    if store.shared and not record.durable:
        note_unwritten()


def _remember(runtime: Runtime, record: Record, call: Call, *, shared: bool) -> None:
    """Keep what does not go into the row, while the job can only run here.

    A durable job in a shared store may run anywhere: it has its carriers alone, unless it starts
    here at once.
    """
    if call.has_place or not record.durable or not shared:
        if call.variables is None:
            call.variables = copied_variables()
        runtime.calls[record.id] = call
    else:
        runtime.handles.add(call.handle)
    if shared and not call.has_place:
        runtime.watch()


def deliver(runtime: Runtime, job: Record | Call) -> None:
    """Have a job that waits run in its time.

    :raises RuntimeError: the workers were shut down at this moment.
    """
    try:
        runtime.deliver(job)
    except RuntimeError:
        runtime.cancel_waiting(job.id)
        raise


# What is refused.


def check_runs_here(runtime: Runtime, queue: str) -> None:
    """Refuse a job that is not durable in a process that would never run it.

    :raises ConfigError: it is one.
    """
    if runtime.immediate or runtime.capacity.runs(queue):
        return
    key, value, which = _limit(runtime, queue)
    raise ConfigError(
        key,
        value,
        f"this process {which}, and a job that is not durable can run nowhere else; make the "
        "function a task with @bg.task, or submit it with using(durable=True)",
    )


def _limit(runtime: Runtime, queue: str) -> tuple[str, object, str]:
    """The setting by which no job of the queue runs here, its value, and what follows from it."""
    capacity = runtime.capacity
    if capacity.workers:
        return "BGTASK_QUEUES", {queue: 0}, f"leaves the queue {queue!r} to others"
    which = "runs no jobs"
    if capacity.obstacle is not None:
        which += f" ({capacity.obstacle})"
    return "BGTASK_RUN_WORKERS", runtime.settings.run_workers, which


def check_waiting(runtime: Runtime) -> None:
    """Refuse one job more that waits in this process alone.

    :raises QueueFull: there are too many.
    """
    most = runtime.settings.max_queued
    if runtime.engine.waiting() >= most:
        raise QueueFull(most)


def _check_room(runtime: Runtime, record: Record) -> None:
    if record.state is JobState.SCHEDULED:
        return
    if not record.durable:
        check_waiting(runtime)
    elif runtime.room.taken():
        raise QueueFull(runtime.settings.max_queued)
