"""What ``submit`` returns: a standard future of a job, whichever process runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol, TypeVar

from .coroutines import in_event_loop
from .engine import place, waiting_for
from .job import Job
from .jobs import Jobs

T = TypeVar("T")


class Home(Protocol):
    """What a handle asks of the app's run-time state."""

    jobs: Jobs

    def cancel_waiting(self, job_id: str) -> bool:
        """Cancel a job that has not begun; whether that was in time."""

    def keep(self, handle: Handle[Any]) -> Callable[[Any], object]:
        """Do not forget a handle whose callbacks are still to be called; gives what ends that."""


class _Waiters(list[Any]):
    """The waiters of a handle's future.

    ``concurrent.futures.wait`` and ``as_completed`` do not call the future: they put a waiter
    into its ``_waiters``, take it out when they are done, and sleep in between. That is where a
    worker lends its place. They hold the futures' conditions meanwhile.
    """

    # Set by the handle, as one is made for every submit and calls are what costs. No reference
    # to the handle, which would make a cycle of each.
    __slots__ = ("job_id", "lent")

    job_id: str
    lent: dict[int, AbstractContextManager[None]] | None

    def append(self, waiter: Any) -> None:
        super().append(waiter)
        if place.lend is not None:
            lent = waiting_for(self.job_id)
            lent.__enter__()
            self.lent = {**(self.lent or {}), id(waiter): lent}

    def remove(self, waiter: Any) -> None:
        super().remove(waiter)
        lent = self.lent.pop(id(waiter), None) if self.lent else None
        if lent is not None:
            lent.__exit__(None, None, None)


class _Condition:
    """The condition of a handle's future, from its first use on."""

    def __get__(self, handle: Handle[Any], owner: type) -> threading.Condition:
        # A single operation of the dictionary: of two threads, both get the same one.
        made: threading.Condition = vars(handle).setdefault("_condition", threading.Condition())
        asked = handle._asked
        if asked is not None:
            handle._asked = None
            asked(handle)
        return made


class Handle(Future[T]):
    """A :class:`concurrent.futures.Future` of a job.

    It stays pending while retries remain. It works with :func:`concurrent.futures.wait`,
    :func:`~concurrent.futures.as_completed` and :func:`asyncio.wrap_future`, whichever process
    runs the job. It carries the task's own exception if that ran in this process, else a
    :exc:`.JobFailed`.
    """

    # What the base class would set: one handle is made for each submit, and its condition alone
    # would take half of that time. So it is made when it is needed, by whoever ends the job, say.
    _condition = _Condition()
    _state = "PENDING"
    _result = None
    _exception = None
    _asked: Callable[[Handle[Any]], object] | None = None  # called at the first use of the future

    def __init__(self, job_id: str, home: Home, *, durable: bool = False) -> None:
        self._done_callbacks: list[Callable[[Future[T]], object]] = []
        self.id = job_id
        "The job's id: 32 hexadecimal digits."
        self.durable = durable
        "Whether the job outlives this process."
        self._home = home
        waiters = self._waiters = _Waiters()
        waiters.job_id, waiters.lent = job_id, None

    @property
    def job(self) -> Job:
        """The job as it is now.

        :raises JobNotFound: its time to be kept is over.
        """
        return self._home.jobs.get(self.id)

    @property
    def status_url(self) -> str | None:
        """Path of the job's status, below the request's script root where there is one.

        ``None`` if the app has no status pages.
        """
        return self._home.jobs.status_url(self.id)

    def running(self) -> bool:
        """Whether the job runs now, in any process."""
        return not self.done() and self._home.jobs.is_running(self.id)

    def cancel(self) -> bool:
        """Cancel the job if it has not begun; whether it is cancelled now."""
        if self.done():
            return self.cancelled()
        return self._home.cancel_waiting(self.id)

    def result(self, timeout: float | None = None) -> T:
        """The task's result, once it is there.

        :param timeout: seconds to wait; ``None`` waits as long as it takes.
        :raises TimeoutError: it took longer.
        :raises concurrent.futures.CancelledError: the job was cancelled.
        """
        if place.lend is None or self.done():
            return super().result(timeout)
        with waiting_for(self.id):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's exception, once it ended; ``None`` if it ended well."""
        if place.lend is None or self.done():
            return super().exception(timeout)
        with waiting_for(self.id):
            return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call ``fn(handle)`` when the job ended; at once if it has."""
        if not self.done():
            super().add_done_callback(self._home.keep(self))
            if place.lend is not None and in_event_loop():
                self._lend_until_done()
        super().add_done_callback(fn)

    def _lend_until_done(self) -> None:
        """An ``async def`` task waits through :func:`asyncio.wrap_future`: a done callback."""
        lent = waiting_for(self.id)
        lent.__enter__()
        super().add_done_callback(lambda _: lent.__exit__(None, None, None) and None)

    def renew(self, asked: Callable[[Handle[Any]], object] | None) -> None:
        """In a forked child: give up what threads of the parent hold and wait for.

        Callbacks are the parent's to call.

        :param asked: called when somebody asks whether the job has ended, or waits for that; any
            way to do so begins with the condition.
        """
        vars(self).pop("_condition", None)
        self._done_callbacks = []
        waiters = self._waiters = _Waiters()
        waiters.job_id, waiters.lent = self.id, None
        self._asked = asked

    def resolve(self, *, result: Any = None, error: BaseException | None = None) -> None:
        """End with a result or an error; does nothing if it has ended."""
        try:
            if error is None:
                self.set_result(result)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass  # its timeout, or a watcher, was first
        finally:
            error = None  # a local variable of this frame would keep its traceback in a cycle

    def resolve_cancelled(self) -> None:
        """End as cancelled; does nothing if it has ended."""
        if super().cancel():
            # Another thread may do it at the same time.
            with suppress(InvalidStateError, RuntimeError):
                self.set_running_or_notify_cancel()
