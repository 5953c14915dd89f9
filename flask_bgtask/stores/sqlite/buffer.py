"""Rows that are written a little later: those of jobs that end with this process anyway."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from ...errors import StoreError
from ...job import WAITING, JobState, Record

#: Rows that are kept back at most; with more, adding one writes first, or fails as writing does.
MOST = 5_000


class Buffer:
    """Keeps rows until they are written, and answers for them meanwhile.

    A row is either waiting here (and can be changed here), or on its way into the file (a writer
    has it, under the writing lock), or in the file. Rows are replaced, never changed.
    """

    def __init__(self) -> None:
        # Guards the three below; taken inside the writing lock, never the other way round.
        self._lock = threading.Lock()
        self._kept: dict[str, Record] = {}
        self._leaving: dict[str, Record] = {}
        self._waiting: set[str] = set()

    def __len__(self) -> int:
        return len(self._kept) + len(self._leaving)

    @property
    def has_waiting(self) -> bool:
        """Whether a queued or scheduled row is among them."""
        return bool(self._waiting)

    def put(self, row: Record) -> bool:
        """Keep a row; whether it is the first."""
        with self._lock:
            if row.id in self._kept or row.id in self._leaving:
                raise StoreError(f"there is a job {row.id!r} already")
            self._keep(row)
            return len(self._kept) == 1

    def find(self, job_id: str) -> Record | None:
        """The row, if it is here."""
        with self._lock:
            return self._kept.get(job_id) or self._leaving.get(job_id)

    def change(
        self,
        job_id: str,
        columns: Mapping[str, Any],
        states: Collection[JobState] | None,
        token: str | None,
    ) -> tuple[bool, Record | None]:
        """Whether the row can be changed here, and the changed one if it was as expected."""
        with self._lock:
            row = self._kept.get(job_id)
            if row is None:
                return False, None
            if (states is not None and row.state not in states) or (
                token is not None and row.token != token
            ):
                return True, None
            changed = row.copy(**columns)
            self._keep(changed)
            return True, changed

    def take(self, sizes: Sequence[int]) -> list[Record]:
        """Rows for one statement; the caller has the writing lock.

        They are the oldest that are finished, or the oldest that are not.

        :param sizes: how many rows a statement may have, in falling order; 1 is the last.
        """
        with self._lock:
            oldest = list(islice(self._kept.values(), sizes[0]))
            if not oldest:
                return []
            finished = oldest[0].state.finished
            alike = [row for row in oldest if row.state.finished is finished]
            rows = alike[: next(size for size in sizes if size <= len(alike))]
            for row in rows:
                self._leaving[row.id] = self._kept.pop(row.id)
                self._waiting.discard(row.id)
            return rows

    def written(self) -> None:
        """The rows that were taken are in the file."""
        with self._lock:
            self._leaving = {}

    def take_back(self) -> None:
        """They are not."""
        with self._lock:
            rows, self._leaving = {**self._leaving, **self._kept}, {}
            self._kept = {}
            for row in rows.values():
                self._keep(row)

    def _keep(self, row: Record) -> None:
        self._kept[row.id] = row
        if row.state in WAITING:
            self._waiting.add(row.id)
        else:
            self._waiting.discard(row.id)
