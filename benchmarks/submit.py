"""What ``submit`` costs its caller, beside a hand-written wrapper around the standard pool.

Most of it is waking the other thread. That takes nothing if it has not gone to sleep yet, one
microsecond on the same processor and up to ten on another one, as the system likes it. So all
runs on one processor, both are measured in turns of a few jobs, and the medians are taken over
all of them. Of more jobs in a row than there are workers most have to wait.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flask import Flask, current_app

from flask_bgtask import BackgroundTasks

Submit = Callable[..., Future[Any]]

WORKERS = 4

#: Turns of each of the two, and jobs in one.
TURNS = 60
JOBS = 240

#: Jobs of which the last is waited for, to tell how many are done in a second; and how often.
MANY = 10_000
TIMES = 5


def work(a: int, b: int) -> int:
    return a + b


def by_hand(executor: ThreadPoolExecutor) -> Submit:
    """What people write today."""

    def in_context(app: Flask, fn: Callable[..., Any], *args: Any) -> Any:
        with app.app_context():
            return fn(*args)

    def submit(fn: Callable[..., Any], *args: Any) -> Future[Any]:
        app = current_app._get_current_object()
        return executor.submit(in_context, app, fn, *args)

    return submit


def costs(submit: Submit, jobs: int, in_a_row: int) -> list[float]:
    """Seconds of each call of ``submit``."""
    times = []
    for _ in range(jobs // in_a_row):
        futures = []
        for n in range(in_a_row):
            begin = time.perf_counter()
            futures.append(submit(work, n, 2))
            times.append(time.perf_counter() - begin)
        for future in futures:
            future.result()
    return times


def rate(submit: Submit) -> float:
    """Jobs done in a second."""
    begin = time.perf_counter()
    for future in [submit(work, n, 2) for n in range(MANY)]:
        future.result()
    return MANY / (time.perf_counter() - begin)


def compare_costs(what: str, hand: Submit, ours: Submit, in_a_row: int = 1) -> float:
    """Print and give how many times as long as by hand our ``submit`` takes."""
    times: dict[Submit, list[float]] = {hand: [], ours: []}
    for submit in (hand, ours) * TURNS:
        times[submit] += costs(submit, JOBS, in_a_row)
    theirs, own = (statistics.median(each) for each in times.values())
    print(f"  {what:32} {theirs * 1e6:7.1f} µs {own * 1e6:9.1f} µs {own / theirs:8.2f}")
    return own / theirs


def compare_rates(hand: Submit, ours: Submit) -> float:
    """Print and give which part of the rate by hand ours is."""
    rates: dict[Submit, list[float]] = {hand: [], ours: []}
    for submit in (hand, ours) * TIMES:
        rates[submit].append(rate(submit))
    theirs, own = (statistics.median(each) for each in rates.values())
    print(f"  {'tiny jobs in a second':32} {theirs:10,.0f} {own:12,.0f} {own / theirs:8.2f}")
    return own / theirs


def main() -> float:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    app = Flask("bench")
    app.config.update(BGTASK_STORE="memory", BGTASK_WORKERS=WORKERS, BGTASK_MAX_QUEUED=MANY)
    bg = BackgroundTasks(app)
    with ThreadPoolExecutor(WORKERS) as executor:
        hand, ours = by_hand(executor), bg.submit
        print(f"  {'':32} {'by hand':>10} {'bg.submit':>12} {'ratio':>8}")
        with app.test_request_context():
            costs(hand, JOBS, 1), costs(ours, JOBS, 1)
            ratio = compare_costs("idle pool, in a request", hand, ours)
        with app.app_context():
            compare_costs("idle pool, outside a request", hand, ours)
            compare_costs("three in a row", hand, ours, 3)
            compare_costs("twenty in a row", hand, ours, 20)
            compare_rates(hand, ours)
            bg.shutdown()
    print(f"submit: {ratio:.2f} times a hand-written wrapper (at most 1.5 is wanted)")
    return ratio


if __name__ == "__main__":
    main()
