"""The threads themselves, and what each of them does."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from typing import TYPE_CHECKING

from ...engine import Errand, place
from ...errors import StoreError
from .lending import Lending

if TYPE_CHECKING:
    from .engine import ThreadsEngine

logger = logging.getLogger("flask_bgtask")

#: Ends the thread that takes it from the inbox.
STOP = "stop"

#: A job, ``None`` for a look at what waits (either comes with a place), or :data:`STOP`.
Inbox = queue.SimpleQueue[Errand | str | None]


class Crew:
    """The threads of an engine; not thread-safe but for :meth:`give`, its owner has the lock.

    They are daemons, since the standard pool's are waited for without limit when the interpreter
    ends. They hold the engine only while they work, so that an app that was dropped without a
    shutdown can be collected.
    """

    def __init__(self, name: str, engine: ThreadsEngine) -> None:
        self._name = name
        self._engine = weakref.ref(engine)
        self._inbox: Inbox = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self.give = self._inbox.put
        "Gives a job, or ``None``, to a thread that has nothing to do."
        weakref.finalize(engine, _dismiss_all, self._inbox, self._threads).atexit = False

    def start_thread(self) -> None:
        """Start one more.

        :raises RuntimeError: the system has none.
        """
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(
            target=_work, args=(self._engine, self._inbox), name=name, daemon=True
        )
        thread.start()
        self._threads.add(thread)

    def dismiss(self, count: int) -> None:
        """Let that many threads end that have nothing to do."""
        for _ in range(count):
            self._inbox.put(STOP)

    def leave(self) -> None:
        """The calling thread ends."""
        self._threads.discard(threading.current_thread())

    def gone(self) -> bool:
        """Whether all threads have ended, but for the calling one."""
        return self._threads <= {threading.current_thread()}


def _dismiss_all(inbox: Inbox, threads: set[threading.Thread]) -> None:
    for _ in threads:
        inbox.put(STOP)


def _work(ref: weakref.ref[ThreadsEngine], inbox: Inbox) -> None:
    """The thread: does what comes to the inbox."""
    while not isinstance(errand := inbox.get(), str):
        engine = ref()
        if engine is None:
            return
        stay = _do(engine, errand)
        del engine, errand
        if not stay:
            return
    engine = ref()
    if engine is not None:
        engine.forget_me()


def _do(engine: ThreadsEngine, errand: Errand | None) -> bool:
    """Do an errand and whatever waits; whether the thread is to stay."""
    lending = Lending(engine)
    place.lend = lending.lend
    found = engine.next() if errand is None else errand
    del errand
    while isinstance(found, tuple):
        queue = found[1]
        lending.begin(queue)
        _execute(engine, found)
        del found  # and with it all that it keeps alive
        lending.end()
        found = engine.next(queue)
    place.lend = None
    return found


def _execute(engine: ThreadsEngine, errand: Errand) -> None:
    job_id, _, claimed = errand
    try:
        engine.run(job_id, claimed)
    except StoreError as error:  # it was not begun, and is claimed from the store later
        engine.look_later(error)
    except BaseException:
        logger.exception("job %s could not be executed", job_id)
