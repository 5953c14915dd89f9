"""uWSGI's worker processes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from .placing import first, logger
from .watched import begin_all, finish

#: Seconds between looks whether uWSGI has loaded the app, and how many looks there are.
LAZY_APPS_INTERVAL = 0.02
LAZY_APPS_LOOKS = 3000


def place() -> None:
    """Begin in the worker processes; uWSGI forks without Python's hooks.

    An app that imports ``uwsgidecorators`` later than this replaces our hook: then its first
    request tells.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None or not hasattr(uwsgi, "worker_id") or not first("uwsgi"):
        return
    why = obstacle()
    if why is not None:
        logger.warning("No background job runs in this process: %s", why)
    if uwsgi.worker_id() > 0:
        threading.Thread(target=_await_lazy_app, args=(uwsgi,), daemon=True).start()
    else:
        _chain(uwsgi, "post_fork_hook", _begin_uwsgi)


def obstacle() -> str | None:
    """Why no job can run in this process, and what to write; ``None`` if one can.

    Without its option, and before 2.0.27 by default, uWSGI keeps the interpreter's lock between
    requests: a thread of the application would get no further, but while one is answered.
    """
    uwsgi = sys.modules.get("uwsgi")
    return None if getattr(uwsgi, "has_threads", True) else _NO_THREADS


_NO_THREADS = (
    "uWSGI lets no thread of the application run; write enable-threads = true into its "
    "configuration"
)


def _begin_uwsgi() -> None:
    """Begin if this is a worker; mules and spoolers are forked too, and serve no request."""
    uwsgi = sys.modules["uwsgi"]
    if uwsgi.worker_id() > 0 and _has_app(uwsgi):
        _chain(uwsgi, "atexit", finish)
        begin_all()


def _has_app(uwsgi: Any) -> bool:
    """Whether this worker loaded an app; without one it answers requests all the same."""
    return bool(uwsgi.workers()[uwsgi.worker_id() - 1]["apps"])


def _await_lazy_app(uwsgi: Any) -> None:
    """With ``lazy-apps`` the worker itself loads the app, which may yet fail, and tells nobody."""
    tick = threading.Event()
    for _ in range(LAZY_APPS_LOOKS):
        if _has_app(uwsgi):
            _begin_uwsgi()
            return
        tick.wait(LAZY_APPS_INTERVAL)


def _chain(module: Any, name: str, function: Callable[[], None]) -> None:
    """Add a hook to what the app may have set already."""
    earlier = getattr(module, name, None)

    def hook() -> None:
        if earlier is not None:
            earlier()
        function()

    setattr(module, name, hook)
