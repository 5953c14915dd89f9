"""Tells when attempts have taken too long."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..context import RunningJob
from ..keeper import Keeper


class Timeouts:
    """Calls ``expire(job)`` on the housekeeping thread once an attempt's time is over."""

    def __init__(self, keeper: Keeper, expire: Callable[[RunningJob], None]) -> None:
        self._keeper = keeper
        self._expire = expire
        # Deadline of each attempt, by its job; single dictionary operations only, so that the
        # end of an attempt and its deadline cannot both take it.
        self._deadlines: dict[RunningJob, float] = {}

    def add(self, job: RunningJob, seconds: float) -> None:
        """The attempt begins now and may take so long."""
        self._deadlines[job] = time.monotonic() + seconds
        self._keeper.poke(self._check, seconds)

    def remove(self, job: RunningJob) -> None:
        """The attempt has ended."""
        self._deadlines.pop(job, None)

    def _check(self) -> float | None:
        now = time.monotonic()
        for job, deadline in list(self._deadlines.items()):
            if deadline <= now and self._deadlines.pop(job, None) is not None:
                self._expire(job)
        return min((each - now for each in list(self._deadlines.values())), default=None)
