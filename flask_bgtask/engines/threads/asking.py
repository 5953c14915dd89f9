"""Asking the store for a job that may begin here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ...job import JobState, Record
from ...store import Store, Wanted


class Asker:
    """Claims the best job in the store, whatever the places and threads of this process.

    :param store: gives the app's store.
    :param claiming: gives the columns that begin an attempt.
    :param knows: whether jobs of a task can run here.
    :param queues: durable jobs of these alone; ``None`` for all.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        claiming: Callable[[], dict[str, Any]],
        knows: Callable[[str], bool],
        queues: Collection[str] | None,
    ) -> None:
        self._store = store
        self._claiming = claiming
        self._knows = knows
        self._queues = queues
        self.turn = threading.Lock()
        """Held by who asks until it has taken a place for what it got, so that two workers cannot
        both get the last place of a queue. See also :attr:`.Places.asked`."""

    def ask(
        self,
        *,
        without: frozenset[str],
        others: bool,
        better_than: tuple[int, float] | None,
        awaited: Sequence[str],
        takes: Callable[[Record], bool],
    ) -> Record | None:
        """Claim a job that a worker here waits for, or else the best one.

        :param without: queues of which no job may begin now.
        :param others: also jobs that other processes left.
        :param better_than: priority and time of submission of a job that would run instead.
        :param awaited: ids of jobs that workers here wait for.
        :param takes: whether one of these may begin now, as far as its queue goes.
        :raises StoreError: the store cannot be asked.
        """
        return self._awaited(awaited, takes) or self._store().claim(
            Wanted(
                queues=self._queues,
                without=without,
                others=others,
                better_than=better_than,
                knows=self._knows,
            ),
            self._claiming(),
        )

    def _awaited(self, job_ids: Sequence[str], takes: Callable[[Record], bool]) -> Record | None:
        for record in self._store().get_many(job_ids) if job_ids else ():
            if record.state is JobState.QUEUED and takes(record) and self._knows(record.task):
                claimed = self._store().claim(Wanted(job_id=record.id), self._claiming())
                if claimed is not None:
                    return claimed
        return None
