"""One housekeeping thread for each app and process: does small duties when their time comes."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

#: What a duty gives back: seconds until it wants to be called again; ``None``: when poked.
Duty = Callable[[], "float | None"]

#: Seconds that a duty rests after it failed.
REST_AFTER_ERROR = 1.0

#: Longest sleep in seconds.
LONGEST = 60.0

#: Seconds by which a duty may be early if the thread is awake for another: each waking costs a
#: process that does nothing else more than the duties do.
EARLY = 0.05


class Keeper:
    """Calls duties at their times, on a thread that is started when first needed.

    The thread wakes many times a second for years, mostly for nothing: its way from waking to
    sleeping is kept short.

    :param failed: told of the error of a duty, which is called again in a second; and of a thread
        that could not be started, which the next poke tries again.
    """

    def __init__(self, name: str, failed: Callable[[Exception], None]) -> None:
        self._name = name
        self._failed = failed
        # Guards all below. Reentrant, as the collector may run code that pokes while it is held.
        self._lock = threading.RLock()
        # Always taken: the thread sleeps by trying to take it, and who wakes it gives it up. A
        # condition would cost the thread twice as much at each waking.
        self._alarm = threading.Lock()
        self._alarm.acquire()
        self._due: dict[Duty, float] = {}
        self._until = 0.0  # the thread sleeps until then, if nobody wakes it
        self._thread: threading.Thread | None = None
        self._working: threading.Thread | None = None  # the same, as it sees itself
        self._stopped = False

    def poke(self, duty: Duty, after: float = 0.0) -> None:
        """Call the duty in ``after`` seconds or earlier. Does nothing once stopped."""
        when = time.monotonic() + after
        due = self._due.get(duty)
        if due is not None and due <= when and self._thread is not None:
            return  # the common case, without the lock: it is due earlier anyway
        try:
            with self._lock:
                if not self._stopped:
                    self._note(duty, when)
                    self._wake(when)
        except RuntimeError as error:  # who pokes has no part in this
            self._failed(error)

    def _wake(self, when: float) -> None:
        """See that the thread is awake at that moment.

        :raises RuntimeError: there is none, and none can be started.
        """
        if self._thread is None:
            self._start()
        if when < self._until:
            _ring(self._alarm)

    def stop(self, timeout: float | None = None) -> None:
        """End the thread and wait for it, unless called on it."""
        with self._lock:
            self._stopped = True
            _ring(self._alarm)
        if self._thread is not None and not self.is_here():
            self._thread.join(timeout)

    def is_here(self) -> bool:
        """Whether the caller runs on the thread."""
        return threading.current_thread() is self._working

    def _start(self) -> None:
        # The thread must not keep an app alive that was dropped without a shutdown.
        mine = weakref.ref(self)
        thread = threading.Thread(
            target=_keep, args=(mine, self._alarm), name=f"{self._name}-keeper", daemon=True
        )
        thread.start()
        self._thread = thread
        weakref.finalize(self, _ring, self._alarm).atexit = False

    def work(self, early: float = 0.0) -> float | None:
        """Call the duties that are due; seconds until the next one, ``None`` when stopped.

        :param early: call those too that are due in so many seconds.
        """
        self._working = threading.current_thread()
        until = time.monotonic() + early
        for duty, when in list(self._due.items()):
            if when <= until and not self._stopped:
                del self._due[duty]  # before the call, so that a poke meanwhile counts
                self._call(duty)
        with self._lock:
            if self._stopped:
                return None
            now = time.monotonic()
            self._until = min(self._due.values(), default=now + LONGEST)
            return min(LONGEST, self._until - now)

    def _call(self, duty: Duty) -> None:
        """Call one duty and note when it wants to be called again."""
        try:
            again = duty()
        except Exception as error:
            self._failed(error)
            again = REST_AFTER_ERROR
        if again is not None:
            with self._lock:
                self._note(duty, time.monotonic() + again)

    def _note(self, duty: Duty, when: float) -> None:
        due = self._due.get(duty)
        if due is None or due > when:
            self._due[duty] = when


def _ring(alarm: threading.Lock) -> None:
    """Wake the thread, now or as soon as it sleeps."""
    with suppress(RuntimeError):  # somebody else has just done it
        if alarm.locked():
            alarm.release()


def _keep(mine: weakref.ref[Keeper], alarm: threading.Lock) -> None:
    """The thread: holds its keeper only while it works."""
    early = 0.0
    while True:
        keeper = mine()
        if keeper is None:
            return
        seconds = keeper.work(early)
        del keeper
        if seconds is None:
            return
        rung = seconds <= 0 or alarm.acquire(timeout=seconds)
        early = 0.0 if rung else EARLY  # who rings wants one duty, mostly in a while
