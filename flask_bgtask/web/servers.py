"""What can be known of the server that runs the application, for answers that take long."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from traceback import walk_stack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Server:
    """The server of the present request."""

    threads: int | None = None
    "Requests that this process can answer at one time; ``None`` if that is not known or many."

    stopping: Callable[[], bool] = _never
    "Whether the process was told to stop and waits for its open requests."


def server_of(environ: WSGIEnvironment) -> Server:
    """What the environment (PEP 3333) and the server's own objects tell.

    Call it while the server's frames are on the stack: in the request, not in its iterable.
    """
    if "gunicorn.socket" in environ:
        return _gunicorn(environ)
    if "waitress.client_disconnected" in environ:
        return _waitress(environ)
    if "uwsgi.version" in environ:
        return Server(threads=_uwsgi_threads())
    # A test client calls the application without a server, and says "not multithreaded" as well.
    alone = not environ.get("wsgi.multithread") and "SERVER_SOFTWARE" in environ
    return Server(threads=1 if alone else None)


def _gunicorn(environ: WSGIEnvironment) -> Server:
    """A worker has its configuration and says when it stops; only the stack leads to it."""
    if not environ.get("wsgi.multithread"):
        return Server(threads=1)
    for frame, _ in walk_stack(sys._getframe()):
        if frame.f_globals.get("__name__", "").startswith("gunicorn.workers."):
            worker = frame.f_locals.get("self")
            if hasattr(worker, "alive") and hasattr(worker, "cfg"):
                return _of_worker(worker)
    return Server()


def _of_worker(worker: Any) -> Server:
    threads = worker.cfg.threads if hasattr(worker, "tpool") else None
    return Server(threads, lambda: not worker.alive)


def _waitress(environ: WSGIEnvironment) -> Server:
    channel: Any = getattr(environ["waitress.client_disconnected"], "__self__", None)
    adjustments = getattr(getattr(channel, "server", None), "adj", None)
    return Server(threads=getattr(adjustments, "threads", None))


def _uwsgi_threads() -> int:
    """Threads, or cores of an asynchronous mode, of a worker: options come as text in bytes."""
    options = getattr(sys.modules.get("uwsgi"), "opt", {})
    for name in ("threads", "gevent", "async"):
        value = options.get(name, options.get(name.encode()))
        if isinstance(value, (bytes, str)) and value.isdigit():
            return int(value)
    return 1
