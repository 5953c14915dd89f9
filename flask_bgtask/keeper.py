"""One housekeeping thread for each app and process: does small duties when their time comes."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

#: What a duty gives back: seconds until it wants to be called again; ``None``: when poked.
Duty = Callable[[], "float | None"]

#: Seconds that a duty rests after it failed.
REST_AFTER_ERROR = 1.0

#: Longest sleep in seconds.
LONGEST = 60.0


class Keeper:
    """Calls duties at their times, on a thread that is started when first needed.

    :param failed: told of the error of a duty, which is called again in a second.
    """

    def __init__(self, name: str, failed: Callable[[Exception], None]) -> None:
        self._name = name
        self._failed = failed
        # Guards everything below; also wakes the thread when something is due earlier.
        self._changed = threading.Condition()
        self._due: dict[Duty, float] = {}
        self._until = 0.0
        self._thread: threading.Thread | None = None
        self._stopped = False

    def poke(self, duty: Duty, after: float = 0.0) -> None:
        """Call the duty in ``after`` seconds or earlier. Does nothing once stopped."""
        when = time.monotonic() + after
        due = self._due.get(duty)
        if due is not None and due <= when:
            return  # the common case, without the lock: it is due earlier anyway
        with self._changed:
            if self._stopped:
                return
            if (due := self._due.get(duty)) is None or due > when:
                self._due[duty] = when
            if self._thread is None:
                self._start()
            elif when < self._until:
                self._changed.notify()

    def stop(self, timeout: float | None = None) -> None:
        """End the thread and wait for it, unless called on it."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _start(self) -> None:
        # The thread must not keep an app alive that was dropped without a shutdown.
        mine = weakref.ref(self)
        weakref.finalize(self, _wake, self._changed).atexit = False
        self._thread = threading.Thread(
            target=_keep, args=(mine, self._changed), name=f"{self._name}-keeper", daemon=True
        )
        self._thread.start()

    def take_due(self) -> tuple[list[Duty], float] | None:
        """The duties that are due now and the seconds until the next; ``None`` when stopped."""
        if self._stopped:
            return None
        now = time.monotonic()
        due = [duty for duty, when in self._due.items() if when <= now]
        for duty in due:
            del self._due[duty]
        wait = min((when - now for when in self._due.values()), default=LONGEST)
        self._until = now + (0.0 if due else wait)
        return due, wait

    def call(self, duty: Duty) -> None:
        """Call one duty and note when it wants to be called again."""
        try:
            again = duty()
        except Exception as error:
            self._failed(error)
            again = REST_AFTER_ERROR
        if again is not None:
            self.poke(duty, again)


def _wake(changed: threading.Condition) -> None:
    with changed:
        changed.notify()


def _keep(mine: weakref.ref[Keeper], changed: threading.Condition) -> None:
    """The thread: holds its keeper only while it works."""
    while True:
        keeper = mine()
        if keeper is None:
            return
        with changed:
            found = keeper.take_due()
            if found is None:
                return
            due, wait = found
            if not due:
                del keeper
                changed.wait(min(wait, LONGEST))
                continue
        for duty in due:
            keeper.call(duty)
        del keeper, due, found, duty
