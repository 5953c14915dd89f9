"""Which job next: the places of this process, and who gets them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...engine import Capacity, Errand, Run, WaitingJob
from ...errors import BgTaskError
from ...job import Record
from ...keeper import Keeper
from ...store import Store
from .asking import Asker
from .backlog import Backlog
from .lending import Lender, Loans
from .places import Give, Places
from .workers import Crew

#: Seconds until it is tried again where the store could not be read, or no thread be started.
LOOK_AGAIN = 1.0

_SHUT = "cannot schedule new futures after shutdown"


class ThreadsEngine:
    """A pool of threads, each of which needs a place to work.

    What waits and only this process can run is in a :class:`.Backlog`; all other jobs wait in the
    store, from which a worker with a place claims the best one (:class:`.Asker`). Who may work is
    decided here, under one lock.

    :param run: executes a job.
    :param store: gives the app's store.
    :param claiming: gives the columns that begin an attempt.
    :param pending: whether this process still has jobs that only it can run.
    :param capacity: how many places there are, beside those lent by workers that wait.
    :param knows: whether jobs of a task can run here.
    :param failed: told why the store could not be asked for a job, or why no thread could be
        started. It may call the application's code, and is called without the lock.
    """

    def __init__(
        self,
        name: str,
        *,
        run: Run,
        store: Callable[[], Store],
        claiming: Callable[[], dict[str, Any]],
        pending: Callable[[], bool],
        keeper: Keeper,
        capacity: Capacity,
        knows: Callable[[str], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        self.run = run
        "Executes a job; for the threads."
        self._store = store
        self._pending = pending
        self._keeper = keeper
        self._failed = failed
        self._asker = Asker(store, claiming, knows, capacity.queues)
        # Guards all that follows. The condition on it is notified, once this is closed, when a
        # place or a thread is given up, or a waiting job is withdrawn.
        self._lock = threading.Lock()
        self._less = threading.Condition(self._lock)
        self._crew = Crew(name, self)
        self._places = Places(capacity, self._crew.give, self._crew.start_thread)
        self._seats = self._places.seats
        self._loans = Loans(self._places)
        self._backlog = Backlog()
        self._serving = False  # other processes' jobs too
        self._closed = False  # no new job is accepted
        self._claims = True  # the store is asked for jobs
        self._looking = False  # a worker is on its way to the store
        self._no_thread: RuntimeError | None = None  # why none could be started; still to be told
        # Whether the store may have a job for us: set before a worker is woken and cleared before
        # it claims, so that nothing that comes in between is overlooked.
        self._unseen = False

    # What others ask of it.

    def start(self, *, serve: bool) -> None:
        """See :meth:`.Engine.start`."""
        with self._lock:
            self._serving = self._serving or serve
        if serve:
            self.pause_all(self._store().paused())
        self.look()

    def reserve(self, job: WaitingJob) -> Give | None:
        """See :meth:`.Engine.reserve`."""
        try:
            if self._seats and job.serial is None:
                return self._seats.pop()
        except IndexError:
            pass  # another thread was faster
        return self._reserve(job)

    def _reserve(self, job: WaitingJob) -> Give | None:
        places = self._places
        if places.taken >= places.number and not self._closed:
            return None  # seen without the lock: what changes meanwhile finds the job waiting
        with self._lock:
            if self._closed:
                raise RuntimeError(_SHUT)
            # Who waits already comes first; and of those with a serial key the store says who.
            first = not (self._unseen or self._backlog.jobs) and job.serial is None
            free = places.taken < places.number and places.allows(job.queue)
            if not (first and free and places.takes(job)):
                return None
            try:
                give = places.take()
            except RuntimeError:  # no thread can be started; it waits, and `_fill` tells why
                return None
            places.count(job.queue, 1)
            return give

    def release(self, job: WaitingJob) -> None:
        """See :meth:`.Engine.release`."""
        with self._lock:
            self._places.give_back()
            self._places.count(job.queue, -1)
            self._fill()
            self._end_if_done()
        self._tell()

    def deliver(self, job: WaitingJob) -> None:
        """See :meth:`.Engine.deliver`."""
        with self._lock:
            if self._closed and not job.attempt and not job.durable:
                raise RuntimeError(_SHUT)
            if job.durable or job.serial is not None or job.attempt:
                self._unseen = True
            else:
                self._backlog.push(job)
            self._fill()
        self._tell()

    def look(self) -> None:
        """See :meth:`.Engine.look`."""
        with self._lock:
            self._unseen = True
            self._fill()
        self._tell()

    def withdraw(self, job_id: str) -> None:
        """See :meth:`.Engine.withdraw`."""
        with self._lock:
            self._backlog.remove(job_id)
            self._less.notify_all()

    def waiting(self) -> int:
        """See :meth:`.Engine.waiting`."""
        return len(self._backlog.jobs)

    def pause_all(self, paused: frozenset[str]) -> None:
        """Exactly these queues are paused."""
        with self._lock:
            resumed = self._places.paused - paused
            self._places.paused = paused
            self._places.clear_seats()
        if resumed:
            self.look()

    def shutdown(self, *, cancel: bool) -> None:
        """See :meth:`.Engine.shutdown`."""
        with self._lock:
            self._closed = True
            self._serving = False
            self._claims = self._claims and not cancel
            self._unseen = True
            self._fill()
            self._end_if_done()
        self._tell()

    def rests(self) -> bool:
        """See :meth:`.Engine.rests`."""
        with self._lock:
            return self._crew.gone() and not self._unseen

    def drain(self, timeout: float) -> bool:
        """See :meth:`.Engine.drain`."""
        with self._lock:
            self._closed = True
            self._serving = self._claims = False
            self._fill()
            self._end_if_done()
        self._tell()
        return self.wait(timeout)

    def wait(self, timeout: float) -> bool:
        """See :meth:`.Engine.wait`; the calling thread, if it is a worker, need not have ended."""

        def done() -> bool:
            return self._crew.gone() and not (self._claims and self._pending())

        with self._lock:
            return self._less.wait_for(done, timeout)

    # Workers, each with a place.

    def forget_me(self) -> None:
        """The calling thread ends."""
        with self._lock:
            self._crew.leave()
            self._less.notify_all()

    def look_later(self, error: Exception) -> None:
        """Tell of what kept a job from beginning, and look for it again."""
        self._failed(error)
        self._keeper.poke(self.look, LOOK_AGAIN)

    def next(self, left: str | None = None) -> Errand | bool:
        """The best job for a worker's place; or the place is given up: whether to stay idle.

        :param left: the queue of the job that the worker has just ended.
        """
        found = self._next(left)
        if self._no_thread is not None:
            self._tell()
        return found

    def _next(self, left: str | None) -> Errand | bool:
        while True:
            with self._lock:
                if left is not None:
                    self._leave(left)
                    left = None
                allowed = self._places.taken <= self._places.number  # else one was taken back
                best = self._best() if allowed else None
                if not (allowed and self._unseen and self._claims):
                    return self._rest() if best is None else self._take(best)
            found = self._claim(best)
            if found is not None:
                return found

    def _leave(self, queue: str) -> None:
        self._places.count(queue, -1)
        if self._places.limited(queue):
            self._unseen = True  # there may be some that wait for a place in this queue

    def _best(self) -> WaitingJob | None:
        """The best job of the backlog: one that a worker here waits for, or the first."""
        if not self._backlog.jobs:
            return None
        return self._backlog.best(self._places.allows, self._loans.awaited)

    def _take(self, job: WaitingJob, claimed: Record | None = None) -> Errand:
        self._backlog.remove(job.id)
        self._places.count(job.queue, 1)
        self._looking = False
        self._fill()
        return job.id, job.queue, claimed

    def _rest(self) -> bool:
        """The calling worker found nothing to do; whether it is to wait for another errand."""
        self._looking = False
        stay = self._places.rest(stay=not self._closed)
        if not stay:
            self._crew.leave()
        self._end_if_done()
        return stay

    def _claim(self, best: WaitingJob | None) -> Errand | None:
        """A job of the store that is better than our own best one, or that one."""
        with self._asker.turn:
            with self._lock:
                self._unseen, self._places.asked = False, True
                without, others = self._places.shut(), self._serving
                awaited = [each for each in self._loans.awaited if each not in self._backlog.jobs]
            try:
                record = self._asker.ask(
                    without=without,
                    others=others,
                    better_than=None if best is None else (best.priority, best.created_at),
                    awaited=awaited,
                    takes=self._takes,
                )
            except Exception as error:
                self.look_later(error)
                record = None
            with self._lock:
                self._places.asked = False
                if record is not None or best is not None:
                    self._unseen = True  # there may be more
                if record is not None:
                    return self._take(record, record)
                if (
                    best is not None
                    and best.id in self._backlog.jobs
                    and self._places.allows(best.queue)
                ):
                    return self._take(best)
        return None

    def _takes(self, record: Record) -> bool:
        with self._lock:
            return self._places.takes(record)

    def _fill(self) -> None:
        """Send a worker if there is a free place and something to look for."""
        self._places.clear_seats()
        if self._places.taken >= self._places.number or self._looking:
            return  # whoever looks and finds something sends the next one
        if (self._unseen and self._claims) or self._best() is not None:
            try:
                give = self._places.take()
            except RuntimeError as error:
                self._no_thread = error
                return
            self._looking = True
            give(None)

    def _tell(self) -> None:
        """Say that no thread could be started, and have it tried again; without the lock."""
        error, self._no_thread = self._no_thread, None
        if error is not None:
            text = f"no thread can be started for the jobs that wait, and is tried again: {error}"
            self.look_later(BgTaskError(text))

    def _end_if_done(self) -> None:
        """Once closed and with nothing left to do, let idle threads go."""
        if not self._closed:
            return
        self._less.notify_all()
        if not self._places.taken:
            self._crew.dismiss(self._places.idle)
            self._places.idle = 0

    # Waiting inside a task.

    def lend(self, lender: Lender, job_id: str) -> None:
        """A worker begins to wait for a job."""
        with self._lock:
            self._loans.begin(lender, job_id)
            self._unseen = True
            self._fill()
        self._tell()

    def take_back(self, lender: Lender, job_id: str) -> None:
        """A worker has stopped waiting for a job."""
        with self._lock:
            self._loans.end(lender, job_id)

    def take_all_back(self, lender: Lender) -> None:
        """A worker's job has ended."""
        with self._lock:
            self._loans.end_all(lender)
