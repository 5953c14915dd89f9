"""The threads themselves."""

from __future__ import annotations

import queue
import threading
import weakref
from typing import TYPE_CHECKING

from ...engine import Errand

if TYPE_CHECKING:
    from .engine import ThreadsEngine

#: Ends the thread that takes it from the inbox.
STOP = "stop"

#: A job, ``None`` for a look at what waits (either comes with a place), or :data:`STOP`.
Inbox = queue.SimpleQueue[Errand | str | None]


def start_worker(engine: ThreadsEngine, inbox: Inbox, name: str) -> threading.Thread:
    """Start a thread that does what comes to the inbox.

    It holds its engine only while it works, so that an app that was dropped without a shutdown
    can be collected.
    """
    thread = threading.Thread(
        target=_work, args=(weakref.ref(engine), inbox), name=name, daemon=True
    )
    thread.start()
    return thread


def _work(ref: weakref.ref[ThreadsEngine], inbox: Inbox) -> None:
    while not isinstance(errand := inbox.get(), str):
        engine = ref()
        if engine is None:
            return
        stay = engine.work(errand)
        del engine, errand
        if not stay:
            return
    engine = ref()
    if engine is not None:
        engine.forget_me()


def dismiss(inbox: Inbox, count: int) -> None:
    """Let that many threads end when they look into the inbox."""
    for _ in range(count):
        inbox.put(STOP)
