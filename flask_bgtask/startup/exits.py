"""The end of the process."""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import thread as executors

from .placing import first
from .watched import finish


def place() -> None:
    """Finish at the interpreter's end, while daemon threads run.

    ``atexit`` comes late: by then executors refuse work, and tasks that use one (or
    ``asyncio.to_thread``) fail. ``threading``'s own list, which ``concurrent.futures`` uses, is
    private but comes before. Of that list the last is called first: ours after their import.
    """
    if not first("exit"):
        return
    atexit.register(finish)
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(_main_thread_ended)


def _main_thread_ended() -> None:
    """The process ends now, unless other threads keep it alive: then ``atexit`` tells.

    Threads of executors do not count, which the interpreter ends itself after this.
    """
    others = set(threading.enumerate()) - {threading.current_thread(), threading.main_thread()}
    ended_anyway = getattr(executors, "_threads_queues", {})
    if all(thread.daemon or thread in ended_anyway for thread in others):
        finish()
