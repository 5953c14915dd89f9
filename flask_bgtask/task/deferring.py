"""What becomes of a submission that waits for a commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from flask import Flask, appcontext_tearing_down

from ..calls import Call
from ..context import copied_variables, current_app_context
from ..handle import Handle
from ..job import Record
from ..naming import callable_name
from ..runtime import Runtime
from .accepting import accept
from .after_commit import Step, session_of, wait_for_commit
from .drafting import Target, finish_encoding

#: Where an app context keeps what is to be called at its end.
_KEY = "_bgtask_deferred"


def defer(runtime: Runtime, record: Record, call: Call, target: Target) -> Handle[Any]:
    """Have the job accepted if the session commits: cancel its handle if it does not.

    A session that has begun no transaction by the end of the app context does not. All is checked
    and frozen now; only the identities of new rows are still to come.

    :raises ArgumentError: something cannot travel, or there is no such session.
    """
    call.variables = copied_variables()
    record.task = target.name or callable_name(target.fn)
    draw_up = _durable if call.options.durable else _volatile
    settle = draw_up(runtime, record, call, target)

    def settled() -> Handle[Any]:
        settle()
        return accept(runtime, record, call)

    return _when_committed(runtime, call.handle, call.options.after_commit, settled)


def _durable(runtime: Runtime, record: Record, call: Call, target: Target) -> Step:
    """What completes the row of a durable job after the commit."""
    name, fn, args, kwargs, most = target
    codec = runtime.codec
    draft = (
        codec.draft_call(fn, args, kwargs)
        if name is None
        else codec.draft_arguments(args, kwargs, max_bytes=most)
    )

    def settle() -> None:
        encoded = draft.settle()
        record.task, record.arguments = name or encoded.name, encoded.text
        finish_encoding(runtime, record, target, call.carried)

    return settle


def _volatile(runtime: Runtime, record: Record, call: Call, target: Target) -> Step:
    """What completes the call of any other job after the commit."""
    prepared = runtime.codec.prepare(
        target.fn, target.args, target.kwargs, keep=True, after_commit=True
    )

    def settle() -> None:
        prepared.settle()
        call.prepared = prepared

    return settle


def _when_committed(
    runtime: Runtime, handle: Handle[Any], option: Any, accept: Callable[[], Handle[Any]]
) -> Handle[Any]:
    """Accept the job once the session has committed, or else cancel its handle.

    What goes wrong after the commit ends the handle and is logged: nothing may come out of
    ``commit()``, whose work is done by then.

    :param option: the session, or ``True`` for that of Flask-SQLAlchemy.
    """
    session = session_of(runtime.app, option)
    # A handle that was cancelled meanwhile is not in here any more.
    runtime.deferred[handle.id] = handle

    def committed() -> None:
        if runtime.deferred.pop(handle.id, None) is None:
            return
        try:
            _follow(handle, accept())
        except Exception as error:
            text = "job %s was not accepted after the commit"
            runtime.log(logging.ERROR, text, handle.id, exc_info=True)
            handle.resolve(error=error)

    def rolled_back() -> None:
        if runtime.deferred.pop(handle.id, None) is not None:
            handle.resolve_cancelled()

    give_up = wait_for_commit(session, committed, rolled_back)
    if give_up is not None:
        _at_end_of_context(give_up)
    return handle


def _at_end_of_context(step: Step) -> None:
    """Call the step when all teardown functions have been called: one of them may commit."""
    context = current_app_context()
    if context is not None:
        vars(context.g).setdefault(_KEY, []).append(step)
        # Only now, as each context of an app that listens pays for it; a second time is nothing.
        appcontext_tearing_down.connect(_context_ends, context.app)


def _context_ends(_: Flask, **__: object) -> None:
    context = current_app_context()
    for step in () if context is None else vars(context.g).pop(_KEY, ()):
        step()


def _follow(handle: Handle[Any], accepted: Handle[Any]) -> None:
    """With ``on_duplicate="return"`` another job may stand for this one: end as it ends."""
    if accepted is handle:
        return

    def copy(ended: Future[Any]) -> None:
        if ended.cancelled():
            handle.resolve_cancelled()
        elif (error := ended.exception()) is not None:
            handle.resolve(error=error)
        else:
            handle.resolve(result=ended.result())

    accepted.add_done_callback(copy)
