"""What a durable ``submit`` costs its caller, beside Huey's SQLite storage and a bare loop.

The bare loop writes the same row, with the same pragmas, by ``sqlite3`` alone. Nobody takes jobs
meanwhile: this is the write that a web request waits for. In each round all are measured one
after the other; the ratios are medians over the rounds.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from flask import Flask
from huey import SqliteHuey

from flask_bgtask import BackgroundTasks

from ._timing import median

ROUNDS = 5
JOBS = 1_000


class Candidate(NamedTuple):
    """A way to submit job number n, and what surrounds many such calls."""

    submit: Callable[[int], object]
    around: Callable[[], AbstractContextManager[object]] = nullcontext

    def median(self, first: int, jobs: int = JOBS) -> float:
        """Median seconds of one call."""
        with self.around():
            return median(lambda n: self.submit(first + n), jobs)


def ours(folder: Path, synchronous: str) -> Candidate:
    """``task.submit`` of an app that only submits; its context is pushed, as in a view."""
    bg = BackgroundTasks()
    task = bg.task(lambda n: n, name="work")
    app = Flask("bench", instance_path=str(folder))
    app.config.update(
        BGTASK_STORE=f"sqlite:///{folder}/ours-{synchronous}.sqlite3",
        BGTASK_SQLITE_SYNCHRONOUS=synchronous,
        BGTASK_RUN_WORKERS=False,
        BGTASK_MAX_QUEUED=10_000_000,
    )
    bg.init_app(app)
    with app.app_context():
        task.submit(0)
    return Candidate(task.submit, app.app_context)


def bare(folder: Path, synchronous: str) -> Candidate:
    """The same row into the same table, by ``sqlite3`` alone."""
    source = sqlite3.connect(folder / f"ours-{synchronous}.sqlite3")
    schema = [row[0] for row in source.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")]
    cursor = source.execute("SELECT * FROM job LIMIT 1")
    row = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
    page_size = source.execute("PRAGMA page_size").fetchone()[0]
    source.close()
    target = sqlite3.connect(folder / f"bare-{synchronous}.sqlite3", isolation_level=None)
    target.execute(f"PRAGMA page_size = {page_size}")
    target.execute("PRAGMA journal_mode = WAL")
    target.execute(f"PRAGMA synchronous = {synchronous}")
    target.execute(f"PRAGMA wal_autocheckpoint = {8000 if synchronous == 'NORMAL' else 2000}")
    for statement in schema:
        target.execute(statement)
    del row["seq"]
    row = {name: value for name, value in row.items() if value is not None}
    insert = "INSERT INTO job ({}) VALUES ({})".format(
        ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
    )
    at = list(row).index("id")
    values = list(row.values())

    def submit(n: int) -> object:
        values[at] = os.urandom(16).hex()
        return target.execute(insert, values)

    return Candidate(submit)


def huey(folder: Path, *, fsync: bool | None) -> Candidate:
    """Huey's own ``enqueue`` of a task call."""
    storage = SqliteHuey(
        filename=str(folder / f"huey-{fsync}.db"), **({} if fsync is None else {"fsync": fsync})
    )
    task = storage.task(name="work")(lambda n: n)
    return Candidate(task)


def main() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        candidates = {
            "bg, NORMAL": ours(folder, "NORMAL"),
            "bg, FULL": ours(folder, "FULL"),
            "huey, its default": huey(folder, fsync=None),
            "huey, fsync=False": huey(folder, fsync=False),
        }
        candidates["bare, NORMAL"] = bare(folder, "NORMAL")
        candidates["bare, FULL"] = bare(folder, "FULL")
        found: dict[str, list[float]] = {each: [] for each in candidates}
        for candidate in candidates.values():
            candidate.median(1, 50)
        for turn in range(1, ROUNDS + 1):
            for each, candidate in candidates.items():
                found[each].append(candidate.median(turn * 100_000))
    for each, times in found.items():
        print(f"  {each:20} {statistics.median(times) * 1e6:8.1f} µs")
    pairs = {
        "NORMAL, of the bare loop's rate (0.6 is wanted)": ("bare, NORMAL", "bg, NORMAL"),
        "FULL, of the bare loop's rate (0.7 is wanted)": ("bare, FULL", "bg, FULL"),
        "NORMAL, times Huey's default, which syncs (3)": ("huey, its default", "bg, NORMAL"),
        "NORMAL, times Huey with fsync=False (1)": ("huey, fsync=False", "bg, NORMAL"),
    }
    ratios = {
        words: statistics.median(a / b for a, b in zip(found[theirs], found[mine], strict=True))
        for words, (theirs, mine) in pairs.items()
    }
    for words, ratio in ratios.items():
        print(f"durable submit: {ratio:5.2f}  {words}")
    return ratios


if __name__ == "__main__":
    main()
