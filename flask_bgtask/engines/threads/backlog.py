"""Jobs that wait in this process and that no other process could run."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection

from ...job import Record

#: What orders jobs: priority (higher first), time of submission, and a tie-breaker.
Rank = tuple[int, float, int]


class Backlog:
    """A heap for each queue; not thread-safe, its owner has the lock."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[Rank, Record]]] = {}
        self._waiting: dict[str, Record] = {}
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._waiting

    def push(self, record: Record) -> None:
        """Add a job."""
        self._pushed += 1
        rank = (-record.priority, record.created_at, self._pushed)
        heapq.heappush(self._heaps.setdefault(record.queue, []), (rank, record))
        self._waiting[record.id] = record

    def best(self, allowed: Callable[[str], bool], awaited: Collection[str] = ()) -> Record | None:
        """An awaited job, or the one that comes first, among the allowed queues; it stays."""
        for job_id in awaited:
            record = self._waiting.get(job_id)
            if record is not None and allowed(record.queue):
                return record
        heads = (self._head(queue) for queue in self._heaps if allowed(queue))
        best = min((head for head in heads if head is not None), default=None, key=_rank)
        return None if best is None else best[1]

    def remove(self, job_id: str) -> bool:
        """Take a job out, if it waits here."""
        if job_id not in self._waiting:
            return False
        del self._waiting[job_id]
        # What is at the head is dropped when looked at; elsewhere it would stay for long, with
        # its record, so the heap is rebuilt once most of it is dead.
        for queue, heap in self._heaps.items():
            if len(heap) > 16 and len(heap) > 4 * len(self._waiting):
                self._heaps[queue] = [each for each in heap if each[1].id in self._waiting]
                heapq.heapify(self._heaps[queue])
        return True

    def _head(self, queue: str) -> tuple[Rank, Record] | None:
        heap = self._heaps[queue]
        while heap and heap[0][1].id not in self._waiting:
            heapq.heappop(heap)
        return heap[0] if heap else None


def _rank(entry: tuple[Rank, Record]) -> Rank:
    return entry[0]
