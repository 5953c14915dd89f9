"""What submit, claim and status cost with 100,000 finished jobs in the store, beside an empty one.

The two stores are measured in turns, a few hundred calls each, so that what else the machine does
meets both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flask import Flask

from flask_bgtask import BackgroundTasks
from flask_bgtask.ids import new_id
from flask_bgtask.job import JobState, Record
from flask_bgtask.store import Store, Wanted

from ._timing import median

FINISHED = 100_000
ROUNDS = 15
CALLS = 150

#: Jobs that wait in both stores while others are submitted and claimed.
WAITING = 50

#: At most so many times the cost with an empty store is wanted.
MOST = 1.3

bg = BackgroundTasks()


@bg.task(name="work")
def work(number: int) -> None:
    """Never runs: this process only submits."""


class Bench(NamedTuple):
    """An app with a store of its own."""

    app: Flask
    store: Store


@contextmanager
def bench(name: str, folder: Path) -> Iterator[Bench]:
    """An app that submits and claims by hand; nothing else is at its store."""
    app = Flask(name, instance_path=str(folder / name))
    app.config.update(SECRET_KEY="bench", BGTASK_RUN_WORKERS=False, DEBUG=True)
    bg.init_app(app)
    with app.app_context():
        yield Bench(app, bg.runtime().store)
        bg.shutdown()


def fill(store: Store, app: str) -> list[str]:
    """Finished jobs of a week, of ten tasks; some of their ids."""
    ids = [new_id() for _ in range(FINISHED)]
    now = time.time()
    for n, job_id in enumerate(ids):
        ended = now - 7 * 86400 * (1 - n / FINISHED)
        store.add(
            Record(
                id=job_id,
                app=app,
                task=f"task{n % 10}",
                home=store.process,
                state=JobState.FAILED if n % 50 == 0 else JobState.SUCCEEDED,
                attempt=1,
                created_at=ended - 1,
                run_at=ended - 1,
                started_at=ended - 1,
                finished_at=ended,
                expires_at=ended + 8 * 86400,
                holds=False,
                arguments='{"args": [1, "some text"], "kwargs": {}}',
                result='"a result"',
                owner=str(n % 100),
            )
        )
    store.flush()
    return ids


def measure(bench: Bench) -> dict[str, float]:
    """Seconds of each step: jobs are submitted, asked for, listed, claimed and ended."""
    app, store = bench
    client = app.test_client()
    with app.app_context():
        handles = [work.submit(n) for n in range(WAITING)]
        found = {"submit": median(lambda n: handles.append(work.submit(n)), CALLS)}
        found["status"] = median(lambda n: bg.get(handles[n].id), CALLS)
        found["status page"] = median(lambda n: client.get(f"/bgtasks/{handles[n].id}"), CALLS)
        found["list"] = median(lambda n: bg.jobs(limit=50), CALLS)
        claimed: list[Record] = []

        def claim(number: int) -> None:
            columns = {"token": f"t{time.perf_counter_ns()}", "started_at": time.time()}
            row = store.claim(Wanted(), columns)
            assert row is not None
            claimed.append(row)

        found["claim"] = median(claim, CALLS)
        ending = {"state": JobState.SUCCEEDED, "finished_at": time.time(), "holds": False}
        found["end"] = median(lambda n: store.end(claimed[n], ending), CALLS)
        found["health"] = median(lambda n: client.get("/bgtasks/health"), CALLS)
        clear(store, [handle.id for handle in handles])
    return found


def clear(store: Store, ids: list[str]) -> None:
    """Leave the store as it was before."""
    for job_id in ids:
        store.change(job_id, {"state": JobState.CANCELLED, "holds": False})
        store.delete(job_id)


def main() -> dict[str, float]:
    ratios: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with bench("empty", folder) as empty, bench("full", folder) as full:
            begin = time.perf_counter()
            fill(full.store, "full")
            print(f"  {FINISHED:,} finished jobs written in {time.perf_counter() - begin:.0f} s")
            measure(empty), measure(full)
            for _ in range(ROUNDS):
                beside, ours = measure(empty), measure(full)
                for step, seconds in ours.items():
                    ratios.setdefault(step, []).append(seconds / beside[step])
                    times.setdefault(step, []).append(seconds)
    medians = {step: statistics.median(values) for step, values in ratios.items()}
    for step, ratio in medians.items():
        cost = statistics.median(times[step])
        print(f"  {step:12} {cost * 1e6:8.1f} µs   {ratio:5.2f} times that with an empty store")
    print(f"full store: at most {MOST} is wanted of submit, claim and status")
    return medians


if __name__ == "__main__":
    main()
