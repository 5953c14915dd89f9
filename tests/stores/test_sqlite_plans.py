"""The SQLite store's frequent statements use the indexes that were made for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_bgtask.job import JobState
from flask_bgtask.store import Filter, Wanted
from flask_bgtask.stores.sqlite import SQLiteStore, claiming, orphans, reading, statements

_SEVERAL = Wanted(
    queues=["a"], without=["b"], others=False, better_than=(1, 2.0), knows=lambda task: True
)
_FAILED = reading.listing(Filter(state=JobState.FAILED), "tests", 50, None, 0.0)[0]

STATEMENTS = {
    "get": statements.GET,
    "many": statements.GET_MANY,
    "claim": claiming.candidate(Wanted(), "tests", "p", ())[0],
    "choosy claim": claiming.candidate(_SEVERAL, "tests", "p", ["t"])[0],
    "one job": claiming.candidate(Wanted(job_id="1"), "tests", "p", ())[0],
    "take": claiming.take(("token",), True),
    "next due": statements.NEXT_DUE,
    "promote": statements.PROMOTE,
    "purge": statements.PURGE,
    "delete": statements.DELETE,
    "counts": reading.COUNTS,
    "waiting": reading.WAITING,
    "oldest": reading.OLDEST_QUEUED,
    "tasks": reading.TASKS,
    "waiting tasks": reading.WAITING_TASKS,
    "bound": orphans._BOUND,
    **{f"left {number}": statement for number, statement in enumerate(orphans._LEFT)},
    "failed jobs": _FAILED,
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store with its tables."""
    made = SQLiteStore("tests", tmp_path / "bgtask.sqlite3")
    made.counts()
    yield made
    made.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_reads_the_whole_table(store: SQLiteStore, name: str) -> None:
    """With 100,000 finished jobs in the file it costs what it costs with none."""
    statement = STATEMENTS[name]
    values = () if "?1" not in statement else ("x",) * (2 if "?2" in statement else 1)
    values = values or ("x",) * statement.count("?")
    plan = [row[3] for row in store._db.look(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any(step.startswith("SEARCH") for step in plan)
    scans = [step for step in plan if step.startswith("SCAN")]
    small = ("json_each", "job_late", "job_volatile", "CONSTANT ROW", "USING COVERING INDEX")
    assert [step for step in scans if not any(part in step for part in small)] == []


def test_a_claim_needs_no_sorting(store: SQLiteStore) -> None:
    """The best job is the first entry of the index, however many wait."""
    for name in ("claim", "choosy claim"):
        statement = STATEMENTS[name]
        values = ("x",) * statement.count("?")
        plan = [row[3] for row in store._db.look(f"EXPLAIN QUERY PLAN {statement}", values)]
        assert any("job_live" in step for step in plan)
        assert not any("TEMP B-TREE" in step for step in plan)
