"""The row of a new job, before the store has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..arguments import MAX_BYTES
from ..context import OWNER
from ..ids import new_id
from ..job import JobState, Record
from ..options import CARRIED, Options
from ..runtime import Runtime
from .signature import sign

if TYPE_CHECKING:
    from .task import Task


class Target(NamedTuple):
    """What a job calls."""

    name: str | None
    "The task's name; ``None`` for a bare callable."
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    max_bytes: int = MAX_BYTES
    "Bytes that its encoded arguments take at most."


def new_row(runtime: Runtime, job_id: str, options: Options) -> Record:
    """A new row, with what the options say."""
    now = time.time()
    row = Record(id=job_id, app=runtime.columns.app, created_at=now, run_at=now, **options.columns)
    if options.waits:
        row.run_at = options.run_at(now)
        if row.run_at > now:
            row.state = JobState.SCHEDULED
    if options.given and options.durable:
        row.options = options.stored()
    return row


def encode(runtime: Runtime, record: Record, target: Target, carried: dict[str, Any]) -> None:
    """Put all that another process needs into the row.

    :raises ArgumentError: something cannot leave this process.
    """
    codec = runtime.codec
    if target.name is not None:
        record.task = target.name
        record.arguments = codec.encode_arguments(
            target.args, target.kwargs, max_bytes=target.max_bytes
        )
    else:
        call = codec.encode_call(target.fn, target.args, target.kwargs)
        record.task, record.arguments = call.name, call.text
    finish_encoding(runtime, record, target, carried)


def finish_encoding(
    runtime: Runtime, record: Record, target: Target, carried: dict[str, Any]
) -> None:
    """Add the carriers' data to function and arguments, and the signature over all of it."""
    if carried:
        record.carried = runtime.codec.encode(carried, "carried")
    if target.name is None:
        record.signature = sign(runtime.app, record)


def draft(
    runtime: Runtime,
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
) -> Record:
    """The row of a durable job that waits, for whoever adds it to the store by other means."""
    record = new_row(runtime, new_id(), options)
    record.home = runtime.store.process
    carried = {} if options.owner is CARRIED else {OWNER: options.owner}
    record.owner = carried.get(OWNER)
    encode(runtime, record, Target(task.name, task.fn, args, kwargs), carried)
    return record
