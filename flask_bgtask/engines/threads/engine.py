"""Which job next: the places of this process, and who gets them."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...engine import Capacity, Run, place
from ...errors import StoreError
from ...job import JobState, Record
from ...keeper import Keeper
from ...store import Store, Wanted
from .backlog import Backlog
from .lending import Lender
from .workers import Errand, Inbox, dismiss, start_worker

logger = logging.getLogger("flask_bgtask")

#: Seconds until the store is looked at again after it could not be read.
LOOK_AGAIN = 1.0

_SHUT = "cannot schedule new futures after shutdown"


class ThreadsEngine:
    """A pool of daemon threads, each of which needs a place to work.

    What waits and only this process can run is in a :class:`.Backlog`; all other jobs wait in the
    store, from which a worker with a place claims the best one. The threads are daemons, since
    the standard pool's are waited for without limit when the interpreter ends.

    :param run: executes a job.
    :param store: gives the app's store.
    :param claiming: gives the columns that begin an attempt.
    :param pending: whether this process still has jobs that only it can run.
    :param capacity: how many places there are, beside those lent by workers that wait.
    :param knows: whether jobs of a task can run here.
    :param failed: told why the store could not be asked for a job.
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
        self._name = name
        self._run = run
        self._store = store
        self._claiming = claiming
        self._pending = pending
        self._keeper = keeper
        self._workers = capacity.workers
        self._limits = capacity.limits
        self._queues = capacity.queues
        self._knows = knows
        self._failed = failed
        # Guards all that follows. The condition on it is notified when a place or a thread is
        # given up, or a waiting job is withdrawn.
        self._lock = threading.Lock()
        self._less = threading.Condition(self._lock)
        self._inbox: Inbox = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._idle = 0  # threads at the inbox to which nothing was sent yet
        self._taken = 0  # places
        self._lent = 0  # places added while their owners wait
        self._busy: Counter[str] = Counter()  # places by queue
        self._awaited: Counter[str] = Counter()  # jobs that workers here wait for
        self._backlog = Backlog()
        self._paused: frozenset[str] = frozenset()
        self._serving = False  # other processes' jobs too
        self._closed = False  # no new job is accepted
        self._claims = True  # the store is asked for jobs
        self._looking = False  # a worker is on its way to the store
        # Whether the store may have a job for us: set before a worker is woken and cleared before
        # it claims, so that nothing that comes in between is overlooked.
        self._unseen = False
        # Held around a claim and the taking of its queue's place, so that two workers cannot
        # both get the last place of a queue.
        self._claim_lock = threading.Lock()
        self._look_again = self.look  # one object, by which the keeper knows it again
        weakref.finalize(self, _dismiss_all, self._inbox, self._threads).atexit = False

    # What others ask of it.

    def start(self, *, serve: bool) -> None:
        """See :meth:`.Engine.start`."""
        with self._lock:
            self._serving = self._serving or serve
        if serve:
            self.pause_all(self._store().paused())
        self.look()

    def reserve(self, record: Record) -> bool:
        """See :meth:`.Engine.reserve`."""
        with self._lock:
            if self._closed:
                raise RuntimeError(_SHUT)
            if (
                self._taken >= self._workers + self._lent
                or self._unseen  # who waits already comes first
                or self._backlog
                or record.serial is not None
                or not self._takes(record)
            ):
                return False
            self._taken += 1
            self._busy[record.queue] += 1
            return True

    def release(self, record: Record) -> None:
        """See :meth:`.Engine.release`."""
        with self._lock:
            self._busy[record.queue] -= 1
            self._taken -= 1
            self._less.notify_all()
            self._fill()

    def deliver(self, record: Record) -> None:
        """See :meth:`.Engine.deliver`."""
        with self._lock:
            if record.state is JobState.RUNNING:
                self._send(record)
                return
            if self._closed and not record.attempt and not record.durable:
                raise RuntimeError(_SHUT)
            if record.durable or record.serial is not None or record.attempt:
                self._unseen = True
            else:
                self._backlog.push(record)
            self._fill()

    def look(self) -> None:
        """See :meth:`.Engine.look`."""
        with self._lock:
            self._unseen = True
            self._fill()

    def withdraw(self, job_id: str) -> None:
        """See :meth:`.Engine.withdraw`."""
        with self._lock:
            self._backlog.remove(job_id)
            self._less.notify_all()

    def waiting(self) -> int:
        """See :meth:`.Engine.waiting`."""
        return len(self._backlog)

    def pause_all(self, paused: frozenset[str]) -> None:
        """Exactly these queues are paused."""
        with self._lock:
            resumed = self._paused - paused
            self._paused = paused
        if resumed:
            self.look()

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """See :meth:`.Engine.shutdown`."""
        with self._lock:
            self._closed = True
            self._serving = False
            self._claims = self._claims and not cancel
            self._unseen = True
            self._fill()
            self._end_if_done()
        if wait:
            self._wait(None)

    def drain(self, timeout: float) -> bool:
        """See :meth:`.Engine.drain`."""
        with self._lock:
            self._closed = True
            self._serving = self._claims = False
            self._fill()
            self._end_if_done()
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> bool:
        """Wait until all is done and the threads have ended, but for the calling one."""
        me = threading.current_thread()

        def done() -> bool:
            return self._threads <= {me} and not (self._claims and self._pending())

        with self._lock:
            return self._less.wait_for(done, timeout)

    # Workers, each with a place.

    def work(self, errand: Errand) -> bool:
        """Do an errand and whatever waits; whether the thread is to stay."""
        found = errand if errand is not None else self._next()
        del errand
        while isinstance(found, Record):
            queue = found.queue
            self._execute(found)
            del found  # and with it all that it keeps alive
            self._leave(queue)
            found = self._next()
        return found

    def forget_me(self) -> None:
        """The calling thread ends."""
        with self._lock:
            self._threads.discard(threading.current_thread())
            self._less.notify_all()

    def _execute(self, record: Record) -> None:
        place.lend = Lender(self, record.queue).lend
        try:
            self._run(record.id, record if record.state is JobState.RUNNING else None)
        except StoreError as error:  # it was not begun, and is claimed from the store later
            self._failed(error)
            self._keeper.poke(self._look_again, LOOK_AGAIN)
        except BaseException:
            logger.exception("job %s could not be executed", record.id)
        finally:
            place.lend = None

    def _leave(self, queue: str) -> None:
        with self._lock:
            self._busy[queue] -= 1
            if queue in self._limits:
                self._unseen = True  # there may be some that wait for a place in this queue

    def _next(self) -> Record | bool:
        """The best job for a worker's place; or the place is given up: whether to stay idle."""
        while True:
            with self._lock:
                allowed = self._taken <= self._workers + self._lent  # else one was taken back
                best = self._best() if allowed else None
                if not (allowed and self._unseen and self._claims):
                    return self._take(best) if best is not None else self._rest()
            record = self._claim(best)
            if record is not None:
                return record

    def _best(self) -> Record | None:
        """The best job of the backlog: one that a worker here waits for, or the first."""
        return self._backlog.best(self._allows, self._awaited)

    def _take(self, record: Record) -> Record:
        self._backlog.remove(record.id)
        self._busy[record.queue] += 1
        self._looking = False
        self._fill()
        return record

    def _rest(self) -> bool:
        """Give the calling worker's place up; whether it is to wait for another errand."""
        self._taken -= 1
        self._looking = False
        stay = not self._closed and self._idle < self._workers
        if stay:
            self._idle += 1
        else:
            self._threads.discard(threading.current_thread())
        self._end_if_done()
        self._less.notify_all()
        return stay

    def _claim(self, best: Record | None) -> Record | None:
        """A job of the store that is better than our own best one, or that one."""
        with self._claim_lock:
            with self._lock:
                self._unseen = False
                wanted = self._wanted(best)
                awaited = [job_id for job_id in self._awaited if job_id not in self._backlog]
            record = self._ask(wanted, awaited)
            with self._lock:
                if record is not None or best is not None:
                    self._unseen = True  # there may be more
                if record is not None:
                    return self._take(record)
                if best is not None and best.id in self._backlog and self._allows(best.queue):
                    return self._take(best)
        return None

    def _ask(self, wanted: Wanted, awaited: list[str]) -> Record | None:
        try:
            return self._claim_awaited(awaited) or self._store().claim(wanted, self._claiming())
        except Exception as error:
            self._failed(error)
            self._keeper.poke(self._look_again, LOOK_AGAIN)
            return None

    def _wanted(self, best: Record | None) -> Wanted:
        full = {queue for queue, most in self._limits.items() if self._busy[queue] >= most}
        return Wanted(
            queues=self._queues,
            without=full | self._paused,
            others=self._serving,
            better_than=None if best is None else (best.priority, best.created_at),
            knows=self._knows,
        )

    def _claim_awaited(self, job_ids: list[str]) -> Record | None:
        """Claim a job that a worker here waits for, before all others."""
        for record in self._store().get_many(job_ids) if job_ids else ():
            with self._lock:
                allowed = self._takes(record)
            if record.state is JobState.QUEUED and allowed and self._knows(record.task):
                claimed = self._store().claim(Wanted(job_id=record.id), self._claiming())
                if claimed is not None:
                    return claimed
        return None

    def _takes(self, record: Record) -> bool:
        """Whether a job may begin here now."""
        ours = self._queues is None or not record.durable or record.queue in self._queues
        return ours and self._allows(record.queue)

    def _allows(self, queue: str) -> bool:
        """Whether a job of the queue that only this process can run may begin now."""
        if queue in self._paused:
            return False
        most = self._limits.get(queue)
        return most is None or self._busy[queue] < most

    def _fill(self) -> None:
        """Send a worker if there is a free place and something to look for."""
        free = self._workers + self._lent - self._taken
        if free <= 0 or self._looking:
            return  # whoever looks and finds something sends the next one
        if (self._unseen and self._claims) or self._best() is not None:
            self._looking = True
            self._taken += 1
            self._send(None)

    def _send(self, errand: Errand) -> None:
        if self._idle:
            self._idle -= 1
            self._inbox.put(errand)
        else:
            name = f"{self._name}-{len(self._threads)}"
            self._threads.add(start_worker(self, self._inbox, errand, name))

    def _end_if_done(self) -> None:
        """Once closed and with nothing left to do, let idle threads go."""
        if self._closed and not self._taken:
            dismiss(self._inbox, self._idle)
            self._idle = 0

    # Waiting inside a task.

    def lend(self, lender: Lender, job_id: str) -> None:
        """A worker begins to wait for a job: from its first wait on, its place is free."""
        with self._lock:
            self._awaited[job_id] += 1
            lender.waits += 1
            if lender.waits == 1:
                self._lent += 1
                self._busy[lender.queue] -= 1
            self._unseen = True
            self._fill()

    def take_back(self, lender: Lender, job_id: str) -> None:
        """A worker has stopped waiting for a job; after its last wait it has its place back."""
        with self._lock:
            self._awaited[job_id] -= 1
            if not self._awaited[job_id]:
                del self._awaited[job_id]
            lender.waits -= 1
            if lender.waits == 0:
                self._lent -= 1
                self._busy[lender.queue] += 1


def _dismiss_all(inbox: Inbox, threads: set[threading.Thread]) -> None:
    dismiss(inbox, len(threads))
