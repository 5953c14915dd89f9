"""What ``submit`` costs its caller, beside a hand-written wrapper around the standard pool.

An idle pool, as in a web request: each job ends before the next is submitted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flask import Flask, current_app

from flask_bgtask import BackgroundTasks

ROUNDS = 7
JOBS = 2_000


def work(a: int, b: int) -> int:
    return a + b


def medians(submit: Callable[..., Future[Any]], jobs: int = JOBS) -> float:
    """Median seconds of one call of ``submit``."""
    times = []
    for n in range(jobs):
        begin = time.perf_counter()
        future = submit(work, n, 2)
        times.append(time.perf_counter() - begin)
        future.result()
    return statistics.median(times)


def by_hand(executor: ThreadPoolExecutor) -> Callable[..., Future[Any]]:
    """What people write today."""

    def in_context(app: Flask, fn: Callable[..., Any], *args: Any) -> Any:
        with app.app_context():
            return fn(*args)

    def submit(fn: Callable[..., Any], *args: Any) -> Future[Any]:
        app = current_app._get_current_object()
        return executor.submit(in_context, app, fn, *args)

    return submit


def main() -> float:
    app = Flask("bench")
    app.config["BGTASK_STORE"] = "memory"
    bg = BackgroundTasks(app)
    ratios = []
    with app.test_request_context(), ThreadPoolExecutor(4) as executor:
        hand = by_hand(executor)
        medians(hand, 200), medians(bg.submit, 200)
        for _ in range(ROUNDS):
            theirs, ours = medians(hand), medians(bg.submit)
            ratios.append(ours / theirs)
            figures = f"by hand {theirs * 1e6:6.1f} µs   bg.submit {ours * 1e6:6.1f} µs"
            print(f"  {figures}   {ratios[-1]:.2f}")
        bg.shutdown()
    ratio = statistics.median(ratios)
    print(f"submit: {ratio:.2f} times a hand-written wrapper (at most 1.5 is wanted)")
    return ratio


if __name__ == "__main__":
    main()
