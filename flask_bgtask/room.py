"""How much room the shared queue has, without counting it at every submit."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: The queue is counted again after this part of the room last seen was used.
PART = 16


class Room:
    """Counts the waiting jobs seldom enough to cost nothing.

    Several processes may overshoot by what each may use between two counts.
    """

    def __init__(self, most: int, count: Callable[[], int]) -> None:
        self._most = most
        self._count = count
        self._left = 0
        self._lock = threading.Lock()  # guards _left

    def taken(self) -> bool:
        """Take one place; whether there was none."""
        with self._lock:
            if self._left <= 0:
                free = self._most - self._count()
                if free <= 0:
                    return True
                self._left = max(1, free // PART)
            self._left -= 1
            return False
