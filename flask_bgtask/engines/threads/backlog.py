"""Jobs that wait in this process and that no other process could run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from ...engine import WaitingJob

#: Jobs of a queue that have the same priority, in the order of their submission.
_Line = deque[WaitingJob]

#: Withdrawn jobs that a line keeps at least, so that a short one is not rebuilt all the time.
_SLACK = 64


class Backlog:
    """Lines of waiting jobs; not thread-safe, its owner has the lock."""

    def __init__(self) -> None:
        # At the head of each line is a job that waits; there is no empty one. A job that is
        # withdrawn further back stays where it is until it comes to the head.
        self._lines: dict[tuple[str, int], _Line] = {}
        self.jobs: dict[str, WaitingJob] = {}
        "Those that wait, by their ids."

    def push(self, job: WaitingJob) -> None:
        """Add a job."""
        key = (job.queue, job.priority)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = deque()
        line.append(job)
        self.jobs[job.id] = job

    def best(
        self, allowed: Callable[[str], bool], awaited: Collection[str] = ()
    ) -> WaitingJob | None:
        """An awaited job, or the one that comes first, among the allowed queues; it stays."""
        for job_id in awaited:
            job = self.jobs.get(job_id)
            if job is not None and allowed(job.queue):
                return job
        best = None
        for (queue, _), line in self._lines.items():
            if (best is None or _rank(line[0]) < _rank(best)) and allowed(queue):
                best = line[0]
        return best

    def remove(self, job_id: str) -> bool:
        """Take a job out, if it waits here."""
        job = self.jobs.pop(job_id, None)
        if job is None:
            return False
        key = (job.queue, job.priority)
        line = self._lines[key]
        if line[0] is job:
            line.popleft()
            self._tidy(key, line)
        elif len(line) > 2 * len(self.jobs) + _SLACK:
            self._lines[key] = deque(each for each in line if each.id in self.jobs)
        return True

    def _tidy(self, key: tuple[str, int], line: _Line) -> None:
        """Have a waiting job at the head again."""
        while line and line[0].id not in self.jobs:
            line.popleft()
        if not line:
            del self._lines[key]


def _rank(job: WaitingJob) -> tuple[int, float]:
    return -job.priority, job.created_at
