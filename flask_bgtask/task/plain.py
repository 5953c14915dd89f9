"""The short way of a submission: a bare callable without options, while a thread is free.

What is not here costs the caller nothing. The thread that runs the job, or who looks into the
store before it, makes the row; see :class:`.Fresh`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from types import FunctionType
from typing import Any

from ..arguments import ATOMS
from ..calls import Call
from ..context import capture_builtin, note_unwritten, running_here
from ..handle import Handle
from ..ids import new_id
from ..options import VOLATILE
from ..runtime import Runtime
from ..signals import job_submitted
from .accepting import check_runs_here, check_waiting, deliver
from .capturing import capture
from .drafting import Target
from .submission import submit


def submit_plain(
    runtime: Runtime, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Handle[Any]:
    """As :func:`.submission.submit` with the options of a bare callable."""
    if runtime.closed or not runtime.fresh.welcome:
        return submit(runtime, Target(None, fn, args, kwargs), VOLATILE)
    # Looked at here, as a call of `prepare` would take as long as the look.
    if type(fn) is FunctionType and not kwargs and ATOMS.issuperset(map(type, args)):
        prepared = None
    else:
        prepared = runtime.codec.prepare(fn, args, kwargs)
    if running_here(None) is None and not runtime.registry.carriers:
        carried = capture_builtin(runtime.app)
    else:
        carried = capture(runtime, VOLATILE)
    call = Call(Handle(new_id(), runtime))
    call.fn, call.args, call.kwargs = fn, args, kwargs
    call.prepared, call.carried = prepared, carried
    call.copied = copy_context()
    call.created_at = time.time()
    start = runtime.engine.reserve(call)
    if start is None:
        _let_wait(runtime, call)
    else:
        call.has_place = True
        try:
            _note(runtime, call)
        finally:  # whatever happens, the thread is waiting
            start((call.id, call.queue, None))
    return call.handle


def _note(runtime: Runtime, call: Call) -> None:
    runtime.calls[call.id] = call
    runtime.fresh.append(call)
    if runtime.store_as_is.shared:
        note_unwritten()
    if job_submitted.receivers:  # before the job begins, so that they hear of it in this order
        _tell(runtime, call)


def _tell(runtime: Runtime, call: Call) -> None:
    """Send the signal, with the job's row; without one the store is in trouble."""
    runtime.fresh.write()
    if call.record is not None:
        runtime.send(job_submitted, call.record)


def _let_wait(runtime: Runtime, call: Call) -> None:
    """No thread is free. Meanwhile the job keeps nothing of the request alive."""
    check_runs_here(runtime, call.queue)
    check_waiting(runtime)
    call.complete()
    _note(runtime, call)
    runtime.write_soon()
    deliver(runtime, call)
