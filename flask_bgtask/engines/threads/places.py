"""The places of a process: how many jobs may run, of which queues, and on which threads."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from ...engine import Capacity, Errand, WaitingJob

#: Gives a job, or ``None`` for a look at what waits, to a thread that comes to the inbox.
Give = Callable[["Errand | None"], None]


class Places:
    """Counts places and idle threads; not thread-safe but for its seats, its owner has the lock.

    A worker that finds nothing to do leaves a seat: its place, still taken, and itself, promised
    to whoever takes the seat. To take one is a single operation of a deque. That is what lets
    a submit do without the lock, which costs as much as all the rest of it.

    :param give: puts something into the inbox of the threads.
    :param start_thread: starts one more of them.
    """

    def __init__(self, capacity: Capacity, give: Give, start_thread: Callable[[], None]) -> None:
        self._limits = capacity.limits
        self._queues = capacity.queues
        self._workers = capacity.workers
        self._give = give
        self._start_thread = start_thread
        self.number = capacity.workers
        "How many there are, with one more for each worker that waits for a job."
        self.taken = 0
        """By those who work, by those on their way to work, and by seats. More than there are
        when a worker took back the place it had lent."""
        self.idle = 0
        "Threads at the inbox to which nothing was given or promised."
        self.seats: deque[Give] = deque()
        "What nobody has taken yet: each gives a job to the thread that left it."
        self.paused: frozenset[str] = frozenset()
        "Queues of which no job may begin."
        self.asked = False
        "Whether a worker asks the store for a job, which may be of any queue that has room."
        self._busy: Counter[str] = Counter()  # places by queue, of those that have a limit

    def takes(self, job: WaitingJob) -> bool:
        """Whether the job's queue is one for this process and has room."""
        ours = self._queues is None or not job.durable or job.queue in self._queues
        return ours and self.has_room(job.queue)

    def allows(self, queue: str) -> bool:
        """Whether a job may begin now that does not come from the store.

        Of a queue that has a limit, not while the store is asked: the last place could be given
        twice.
        """
        return self.has_room(queue) and not (self.asked and queue in self._limits)

    def has_room(self, queue: str) -> bool:
        """Whether one job more of the queue may run."""
        if queue in self.paused:
            return False
        most = self._limits.get(queue)
        return most is None or self._busy[queue] < most

    def limited(self, queue: str) -> bool:
        """Whether the queue has a limit here."""
        return queue in self._limits

    def shut(self) -> frozenset[str]:
        """The queues that have no room."""
        return self.paused.union(each for each in self._limits if not self.has_room(each))

    def count(self, queue: str, places: int) -> None:
        """More or fewer places are taken by jobs of the queue."""
        if queue in self._limits:
            self._busy[queue] += places

    def take(self) -> Give:
        """Take a free place; gives what brings a job there."""
        if self.idle:
            self.idle -= 1
        else:
            self._start_thread()
        self.taken += 1
        return self._give

    def rest(self, *, stay: bool) -> bool:
        """The calling worker has nothing to do; whether it is to wait at the inbox.

        :param stay: whether any worker is.
        """
        stay = stay and self.idle + len(self.seats) < self._workers
        choosy = self.paused or self._limits or self._queues is not None
        if stay and self.taken <= self.number and not choosy:
            self.seats.append(self._give)
            return True
        self.taken -= 1
        self.idle += stay
        return stay

    def give_back(self) -> None:
        """Give back a place that was taken for nothing."""
        self.taken -= 1
        self.idle += 1

    def clear_seats(self) -> None:
        """Make free places of the seats that are left."""
        while self.seats:
            with suppress(IndexError):  # a submit was faster
                self.seats.pop()
                self.give_back()
