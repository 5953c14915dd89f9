"""What becomes of a submission that waits for a commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..handle import Handle
from ..runtime import Runtime
from .after_commit import session_of, wait_for_commit


def defer(
    runtime: Runtime, handle: Handle[Any], option: Any, accept: Callable[[], Handle[Any]]
) -> Handle[Any]:
    """Accept the job once the session has committed; cancel its handle if it does not.

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
            runtime.app.logger.exception("job %s was not accepted after the commit", handle.id)
            handle.resolve(error=error)

    def rolled_back() -> None:
        if runtime.deferred.pop(handle.id, None) is not None:
            handle.resolve_cancelled()

    wait_for_commit(session, committed, rolled_back)
    return handle


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
