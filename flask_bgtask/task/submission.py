"""From a call of ``submit`` to an accepted job."""

from __future__ import annotations

from typing import Any

from ..calls import Call
from ..context import OWNER
from ..handle import Handle
from ..ids import new_id
from ..naming import callable_name
from ..options import Options
from ..runtime import Runtime
from .accepting import accept, check_runs_here
from .capturing import capture
from .deferring import defer
from .drafting import Target, encode, new_row


def submit(runtime: Runtime, target: Target, options: Options) -> Handle[Any]:
    """Accept a job.

    :raises ArgumentError: something cannot travel to where the job runs.
    :raises ConfigError: it could run in this process alone, which never would.
    :raises QueueFull: too many jobs wait.
    :raises DuplicateJob: an unfinished job has the same ``unique`` key.
    :raises RuntimeError: the workers were shut down.
    """
    if runtime.closed:
        raise RuntimeError("cannot schedule new futures after shutdown")
    call = Call(Handle(new_id(), runtime))
    record = new_row(runtime, call.id, options)
    call.options, call.handle.durable = options, options.durable
    call.carried = carried = capture(runtime, options)
    record.owner = carried.get(OWNER)
    if not options.durable:
        check_runs_here(runtime, record.queue)
    if options.after_commit is not False:
        return defer(runtime, record, call, target)
    if options.durable:
        encode(runtime, record, target, carried)
    else:
        record.task = target.name or callable_name(target.fn)
        call.prepared = runtime.codec.prepare(
            target.fn, target.args, target.kwargs, keep=options.retries > 0
        )
    return accept(runtime, record, call)
