"""What the benchmarks measure with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median(call: Callable[[int], object], calls: int) -> float:
    """Median seconds of one call; each is given its number."""
    times = []
    for n in range(calls):
        begin = time.perf_counter()
        call(n)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
