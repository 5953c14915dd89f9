"""gunicorn's worker processes, with and without ``--preload``."""

from __future__ import annotations

import functools
import sys
from traceback import walk_stack
from typing import Any

from .watched import Once, begin_all, finish


def place() -> None:
    """In a worker that loads the app: begin when it runs.

    With ``--preload`` the app is loaded in the master, which never serves: :mod:`.forks`
    finds the workers.
    """
    for frame, _ in walk_stack(sys._getframe()):
        module = str(frame.f_globals.get("__name__"))
        if frame.f_code.co_name == "load_wsgi" and module.startswith("gunicorn.workers."):
            begin_with(frame.f_locals["self"])


_wrapped_worker = Once()


def begin_with(worker: Any) -> None:
    """Begin before the worker's loop and finish after it, before gunicorn's own clean-up.

    Not earlier: the import of the app may fail, and a gevent worker has its threads patched last.
    """
    run = worker.run
    if not _wrapped_worker.claim():
        return

    @functools.wraps(run)
    def serve(*args: Any, **kwargs: Any) -> Any:
        begin_all()
        try:
            return run(*args, **kwargs)
        finally:
            finish()

    worker.run = serve
