"""From a call of ``submit`` to a row in the store and an id in the engine's hands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..calls import Call
from ..context import (
    OWNER,
    REQUEST,
    RunningJob,
    capture_builtin,
    copied_variables,
    freeze_request,
    note_unwritten,
    request_of,
    submitting_job,
)
from ..errors import ArgumentError, ConfigError, DuplicateJob, QueueFull
from ..handle import Handle
from ..ids import new_id
from ..job import JobState, Record
from ..naming import callable_name
from ..options import CARRIED, Options
from ..runtime import Runtime
from ..signals import job_submitted
from ..store import Store
from .deferring import defer
from .signature import sign

if TYPE_CHECKING:
    from .task import Task


def submit(
    runtime: Runtime,
    name: str | None,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
) -> Handle[Any]:
    """Accept a job.

    :param name: the task's name; ``None`` for a bare callable.
    :raises ArgumentError: something cannot travel to where the job runs.
    :raises QueueFull: too many jobs wait.
    :raises DuplicateJob: an unfinished job has the same ``unique`` key.
    :raises RuntimeError: the workers were shut down.
    """
    if runtime.closed:
        raise RuntimeError("cannot schedule new futures after shutdown")
    call = Call(Handle(new_id(), runtime))
    record = _row(runtime, call.id, options)
    call.options, call.handle.durable = options, options.durable
    call.carried = carried = capture(runtime, options)
    record.owner = carried.get(OWNER)
    if options.after_commit is not False:
        return _defer(runtime, record, call, name, fn, args, kwargs)
    if options.durable:
        _encode(runtime, record, name, fn, args, kwargs, carried)
    else:
        record.task = name or callable_name(fn)
        call.prepared = runtime.codec.prepare(fn, args, kwargs, keep=options.retries > 0)
        check_runs_here(runtime, record.queue)
    return _accept(runtime, record, call)


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


def _row(runtime: Runtime, job_id: str, options: Options) -> Record:
    """A new row, with what the options say."""
    now = time.time()
    row = Record(id=job_id, app=runtime.app.name, created_at=now, run_at=now, **options.columns)
    if options.waits:
        row.run_at = options.run_at(now)
        if row.run_at > now:
            row.state = JobState.SCHEDULED
    if options.given and options.durable:
        row.options = options.stored()
    return row


def capture(runtime: Runtime, options: Options) -> dict[str, Any]:
    """The data of the carriers; a task's own jobs inherit what it has."""
    carried = capture_builtin(runtime.app)
    parent = submitting_job()
    if parent is not None and runtime.running.get(parent.id) is not parent:
        parent = None  # a job of another app
    if parent is not None:
        carried = {**parent.carried, **carried}
        if carried.pop(REQUEST, None) is not None:
            # It works in a snapshot, which may lack what tells the user.
            carried[OWNER] = parent.carried.get(OWNER)
    for carrier in runtime.registry.carriers:
        data = carrier.capture()
        if data is not None:
            carried[carrier.name] = data
    if options.request:
        carried[REQUEST] = _request(runtime, parent, options)
    if options.owner is not CARRIED:
        carried[OWNER] = options.owner
    return carried


def _request(runtime: Runtime, parent: RunningJob | None, options: Options) -> dict[str, Any]:
    request = request_of(runtime.app)
    if request is not None:
        return freeze_request(request, credentials=not options.durable)
    if parent is not None and REQUEST in parent.carried:
        return dict(parent.carried[REQUEST])
    raise ArgumentError("request=True", "needs a request of this app, and there is none here")


def _encode(
    runtime: Runtime,
    record: Record,
    name: str | None,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    carried: dict[str, Any],
) -> None:
    """Put all that another process needs into the row."""
    codec = runtime.codec
    if name is not None:
        record.task = name
        record.arguments = codec.encode_arguments(args, kwargs)
    else:
        call = codec.encode_call(fn, args, kwargs)
        record.task, record.arguments = call.name, call.text
    _finish_encoding(runtime, record, name, carried)


def _finish_encoding(
    runtime: Runtime, record: Record, name: str | None, carried: dict[str, Any]
) -> None:
    if carried:
        record.carried = runtime.codec.encode(carried, "carried")
    if name is None:
        record.signature = sign(runtime.app, record)


def _defer(
    runtime: Runtime,
    record: Record,
    call: Call,
    name: str | None,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Handle[Any]:
    """Check and freeze everything now; only the identities of new rows are still to come."""
    codec, options = runtime.codec, call.options
    call.variables = copied_variables()
    record.task = name or callable_name(fn)
    if options.durable:
        draft = (
            codec.draft_call(fn, args, kwargs)
            if name is None
            else codec.draft_arguments(args, kwargs)
        )

        def accept() -> Handle[Any]:
            encoded = draft.settle()
            record.task, record.arguments = name or encoded.name, encoded.text
            _finish_encoding(runtime, record, name, call.carried)
            return _accept(runtime, record, call)
    else:
        prepared = codec.prepare(fn, args, kwargs, keep=True, after_commit=True)

        def accept() -> Handle[Any]:
            prepared.settle()
            call.prepared = prepared
            return _accept(runtime, record, call)

    return defer(runtime, call.handle, options.after_commit, accept)


def _accept(runtime: Runtime, record: Record, call: Call) -> Handle[Any]:
    """Add the row, as running here if a thread is free; then the engine has it."""
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


def deliver(runtime: Runtime, job: Record | Call) -> None:
    """Have a job that waits run in its time.

    :raises RuntimeError: the workers were shut down at this moment.
    """
    try:
        runtime.deliver(job)
    except RuntimeError:
        runtime.cancel_waiting(job.id)
        raise


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
        runtime.watch()


def _check_room(runtime: Runtime, record: Record) -> None:
    if record.state is JobState.SCHEDULED:
        return
    if not record.durable:
        check_waiting(runtime)
    elif runtime.room.taken():
        raise QueueFull(runtime.settings.max_queued)


def check_waiting(runtime: Runtime) -> None:
    """Refuse one job more that waits in this process alone.

    :raises QueueFull: there are too many.
    """
    most = runtime.settings.max_queued
    if runtime.engine.waiting() >= most:
        raise QueueFull(most)


def draft(
    runtime: Runtime,
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
) -> Record:
    """The row of a durable job that waits, for whoever adds it to the store by other means."""
    record = _row(runtime, new_id(), options)
    record.home = runtime.store.process
    carried = {} if options.owner is CARRIED else {OWNER: options.owner}
    record.owner = carried.get(OWNER)
    _encode(runtime, record, task.name, task.fn, args, kwargs, carried)
    return record
