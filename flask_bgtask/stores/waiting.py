"""The waiting rows of a memory store, sorted for whoever claims the next one.

Nothing here takes a lock: the store calls it under its own.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ..job import JobState, Record
from ..store import Wanted

_Key = tuple[float, float]
_Group = tuple[str, str, bool, bool]

#: Stale entries that a ranking keeps at least, so that a short one is not rebuilt all the time.
_SLACK = 64


class Ranking:
    """Ids in the order of a key.

    Taking one out only forgets its key; the heap's entry goes when it comes to the top, or when
    there are more such entries than others. So each step costs the logarithm of the size, and
    the memory stays within a few times what is really there.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[_Key, str]] = []
        self._keys: dict[str, _Key] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._keys

    def put(self, job_id: str, key: _Key) -> None:
        """Add an id that is not there."""
        self._keys[job_id] = key
        heappush(self._heap, (key, job_id))

    def discard(self, job_id: str) -> None:
        """Take an id out, if it is there."""
        self._keys.pop(job_id, None)
        if len(self._heap) > 2 * len(self._keys) + _SLACK:
            self._heap = [(key, job_id) for job_id, key in self._keys.items()]
            heapify(self._heap)

    def first(self) -> tuple[_Key, str] | None:
        """The smallest key with its id."""
        while self._heap:
            key, job_id = self._heap[0]
            if self._keys.get(job_id) == key:
                return key, job_id
            heappop(self._heap)
        return None


class _Line:
    """The rows that hold one ``serial`` key."""

    def __init__(self) -> None:
        self.rows: dict[str, Record] = {}
        self.order = Ranking()
        self.busy: set[str] = set()
        self.offered: Record | None = None

    def put(self, row: Record) -> None:
        self.rows[row.id] = row
        self.order.put(row.id, (row.seq, 0))
        if not _waits(row):
            self.busy.add(row.id)

    def discard(self, row: Record) -> None:
        self.rows.pop(row.id, None)
        self.order.discard(row.id)
        self.busy.discard(row.id)

    def next(self) -> Record | None:
        """The row whose turn it is, or ``None`` while that one is not queued or another runs."""
        first = self.order.first()
        if first is None or self.busy:
            return None
        row = self.rows[first[1]]
        return row if row.state is JobState.QUEUED else None


class WaitingRows:
    """Queued and scheduled rows, and the lines of rows with a ``serial`` key.

    Rows that can be claimed stand in one ranking for each queue, task, whether this process
    submitted them and whether they are durable: what a worker does not want is then passed over
    as a whole.

    :param process: the store's name for this process.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._groups: dict[_Group, Ranking] = {}
        self._scheduled = Ranking()
        self._lines: dict[str, _Line] = {}
        self.durable = 0
        "How many durable rows are queued."

    def enter(self, row: Record) -> None:
        """Note a row that waits, or one of any state that has a ``serial`` key."""
        if row.state is JobState.QUEUED:
            self.durable += row.durable
        elif row.state is JobState.SCHEDULED and (row.durable or row.home == self._process):
            self._scheduled.put(row.id, (row.run_at, row.seq))
        if row.serial is not None:
            if row.holds:
                self._join(row.serial, row)
        elif row.state is JobState.QUEUED:
            self._offer(row)

    def leave(self, row: Record) -> None:
        """Forget a row; it must be as it was when it entered."""
        if row.state is JobState.QUEUED:
            self.durable -= row.durable
        elif row.state is JobState.SCHEDULED:
            self._scheduled.discard(row.id)
        if row.serial is not None:
            if row.holds:
                self._part(row.serial, row)
        elif row.state is JobState.QUEUED:
            self._withdraw(row)

    def due(self, now: float) -> str | None:
        """Id of a scheduled row whose time has come."""
        first = self._scheduled.first()
        return first[1] if first is not None and first[0][0] <= now else None

    def next_due(self) -> float | None:
        """When the next scheduled row is due."""
        first = self._scheduled.first()
        return None if first is None else first[0][0]

    def best(self, wanted: Wanted) -> str | None:
        """Id of the row to claim next, whatever ``wanted.job_id`` and ``better_than`` say."""
        best: tuple[_Key, str] | None = None
        for group, ranking in self._groups.items():
            if _fits(group, wanted):
                first = ranking.first()
                if first is not None and (best is None or first < best):
                    best = first
        return None if best is None else best[1]

    def can_take(self, row: Record, wanted: Wanted) -> bool:
        """Whether this row could be claimed now."""
        group = self._group(row)
        ranking = self._groups.get(group)
        return ranking is not None and row.id in ranking and _fits(group, wanted)

    def _join(self, serial: str, row: Record) -> None:
        line = self._lines.setdefault(serial, _Line())
        line.put(row)
        self._advance(line)

    def _part(self, serial: str, row: Record) -> None:
        line = self._lines[serial]
        line.discard(row)
        self._advance(line)
        if not line.rows:
            del self._lines[serial]

    def _advance(self, line: _Line) -> None:
        if line.offered is not None:
            self._withdraw(line.offered)
        line.offered = line.next()
        if line.offered is not None:
            self._offer(line.offered)

    def _offer(self, row: Record) -> None:
        group = self._group(row)
        if row.durable or group[2]:
            ranking = self._groups.get(group)
            if ranking is None:
                ranking = self._groups[group] = Ranking()
            ranking.put(row.id, (-row.priority, row.seq))

    def _withdraw(self, row: Record) -> None:
        group = self._group(row)
        ranking = self._groups.get(group)
        if ranking is not None:
            ranking.discard(row.id)
            if not ranking:
                del self._groups[group]

    def _group(self, row: Record) -> _Group:
        return row.queue, row.task, row.home == self._process, row.durable


def _waits(row: Record) -> bool:
    return row.state is JobState.QUEUED or row.state is JobState.SCHEDULED


def _fits(group: _Group, wanted: Wanted) -> bool:
    queue, task, submitted_here, durable = group
    return (
        (wanted.queues is None or not durable or queue in wanted.queues)
        and queue not in wanted.without
        and (wanted.others or submitted_here)
        and wanted.knows(task)
    )
