"""Threads beside the housekeeping one, for code of users' that hears of what it found out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .keeper import Keeper

#: Seconds that one call may take before those that wait behind it go on without it.
LONG = 0.1


class Dispatcher:
    """Calls what is posted, one after the other, beside the thread that posts.

    What is called are callbacks of handles, receivers of signals and functions that load
    references. They may be slow, or wait for a handle that only a later call here ends: one
    thread alone would stand still for ever, and so would one thread for each batch. So another
    thread goes on with the rest as soon as a call takes :data:`LONG`; the first one ends after
    that call. Most of the time there is no thread at all: one is started for what is posted and
    ends with the last of it, and so keeps no app alive.

    :param failed: told of the error of a call, and that the system refused a thread.
    """

    def __init__(self, name: str, keeper: Keeper, failed: Callable[[BaseException], None]) -> None:
        self._name = name
        self._keeper = keeper
        self._failed = failed
        # Guards all below; notified when a thread ends. Reentrant, as the collector may run code
        # that posts while it is held.
        self._changed = threading.Condition()
        self._calls: deque[Callable[[], object]] = deque()
        self._threads: set[threading.Thread] = set()
        self._leader: threading.Thread | None = None
        "The one that takes the next call; others end after the call they are at."
        self._since = 0.0  # when the leader took its last call

    def post(self, call: Callable[[], object]) -> None:
        """Have something called soon; called on the housekeeping thread."""
        with self._changed:
            self._calls.append(call)
            if self._leader is None:
                self._lead()
        self._keeper.poke(self._relieve, LONG)

    def stop(self, timeout: float | None = None) -> None:
        """Wait until all that was posted has been called, but for the caller's own call.

        :param timeout: seconds to wait at most.
        """
        end = float("inf") if timeout is None else time.monotonic() + timeout
        mine = {threading.current_thread()}
        with self._changed:
            while (self._calls or self._threads - mine) and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(LONG, left))
                self._relieve()  # the keeper, which would, has ended by now

    def _relieve(self) -> float | None:
        """Duty: see that what waits does not wait long for the call that is under way."""
        with self._changed:
            if not self._calls:
                return None
            busy = time.monotonic() - self._since
            if self._leader is not None and busy < LONG:
                return LONG - busy
            self._lead()
            return LONG

    def _lead(self) -> None:
        """Start a thread that goes on with the calls, if there is one to be had."""
        thread = threading.Thread(target=self._work, name=f"{self._name}-callbacks", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the next look tries again
            self._failed(error)
            return
        self._leader, self._since = thread, time.monotonic()
        self._threads.add(thread)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except BaseException as error:  # SystemExit too: the calls behind it must go on
                self._failed(error)
            del call  # and with it all that it keeps alive

    def _next(self) -> Callable[[], object] | None:
        """The next call for the calling thread; ``None`` if it is to end."""
        me = threading.current_thread()
        with self._changed:
            if self._leader is me and self._calls:
                self._since = time.monotonic()
                return self._calls.popleft()
            if self._leader is me:
                self._leader = None
            self._threads.discard(me)
            self._changed.notify_all()
            return None
