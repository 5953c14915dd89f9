"""Rows that the SQLite store writes a little later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_rows import PATIENCE, added, begun, claimed_id, ended, new_row

from flask_bgtask.errors import StoreError
from flask_bgtask.job import WAITING, JobState
from flask_bgtask.store import Filter
from flask_bgtask.stores.sqlite import SQLiteStore, buffer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """The store that keeps rows back."""
    made = SQLiteStore("tests", tmp_path / "bgtask.sqlite3")
    yield made
    made.close()


@pytest.fixture
def other(store: SQLiteStore, tmp_path: Path) -> Iterator[SQLiteStore]:
    """One that sees what is in the file."""
    made = SQLiteStore("tests", tmp_path / "bgtask.sqlite3")
    made.counts()
    yield made
    made.close()


def test_somebody_is_told_to_flush(store: SQLiteStore) -> None:
    """``on_pending`` is called for the first row that is kept back, and again after a flush."""
    calls: list[int] = []
    store.on_pending = lambda: calls.append(1)
    added(store)
    added(store, unique="k", durable=False)
    added(store, serial="k", durable=False)
    assert calls == []
    for _ in range(3):
        added(store, durable=False)
    assert calls == [1]
    store.flush()
    added(store, durable=False)
    assert calls == [1, 1]


def test_only_what_ends_with_the_process_is_kept_back(
    store: SQLiteStore, other: SQLiteStore
) -> None:
    """Rows that are durable or have a key are in the file at once."""
    later = added(store, durable=False)
    now = [
        added(store),
        added(store, unique="k", durable=False),
        added(store, serial="k", durable=False),
    ]
    assert other.get(later.id) is None
    assert len(other.get_many([row.id for row in now])) == 3
    store.flush()
    assert other.get(later.id) is not None


def test_a_job_that_ends_early_is_written_once(store: SQLiteStore, other: SQLiteStore) -> None:
    """Begun, moved on and ended before the flush, it costs one statement."""
    row = added(store, durable=False, state=JobState.RUNNING, token="t")
    store.change(row.id, {"progress": "[1, 2, null]"}, token="t")
    ended(store, row.id, result="1")
    other.version()
    before = store._db.look("SELECT total_changes()")
    store.flush()
    written = store._db.look("SELECT total_changes()")[0][0] - before[0][0]
    assert written <= 2  # the row and its tally
    found = other.get(row.id)
    assert found is not None
    assert (found.state, found.result, found.token) == (JobState.SUCCEEDED, "1", "t")
    assert other.counts()[JobState.SUCCEEDED] == 1


def test_who_lists_sees_everything(store: SQLiteStore, other: SQLiteStore) -> None:
    """A list of this process writes first, so its pages are in one order with one numbering."""
    rows = [added(store, durable=number % 2 == 0) for number in range(6)]
    found = store.listing(Filter(), limit=10, now=0.0)
    assert {row.id for row in found} == {row.id for row in rows}
    assert all(row.seq > 0 for row in found)
    assert len(other.listing(Filter(), limit=10, now=0.0)) == 6


def test_closing_writes(store: SQLiteStore, other: SQLiteStore) -> None:
    """Nothing is left behind."""
    row = added(store, durable=False)
    store.close()
    assert other.get(row.id) is not None


def test_a_row_that_no_table_takes_keeps_none_from_the_file(
    store: SQLiteStore, other: SQLiteStore
) -> None:
    """It is reported and dropped; the others are written, in their order."""
    rows = [added(store, durable=False) for _ in range(20)]
    bad = new_row(store, durable=False, label=object())
    store.add(bad)
    rows += [added(store, durable=False) for _ in range(20)]
    with pytest.raises(StoreError, match="cannot be written"):
        store.flush()
    store.flush()
    assert store.get(bad.id) is None
    found = other.listing(Filter(), limit=100, now=0.0)
    assert [row.id for row in reversed(found)] == [row.id for row in rows]


def test_no_more_than_a_bounded_number_is_kept_back(
    store: SQLiteStore, other: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nobody flushes, adding does; if nothing can be written, adding fails."""
    monkeypatch.setattr("flask_bgtask.stores.sqlite.store.MOST", 10)
    assert buffer.MOST > 10
    for _ in range(11):
        added(store, durable=False)
    assert other.counts()[JobState.QUEUED] == 10


def test_no_row_is_lost_or_doubled(store: SQLiteStore, other: SQLiteStore) -> None:
    """Threads submit, begin and end jobs while others flush: each row is right in the end."""
    stop = threading.Event()
    errors: list[BaseException] = []
    submitted: list[str] = []

    def pass_through(number: int) -> None:
        for step in range(150):
            row = added(store, durable=False, id=f"{number}-{step}")
            taken = {"state": JobState.RUNNING, "token": "t", "attempt": 1}
            assert store.change(row.id, taken, states=WAITING) is not None
            seen = store.get(row.id)
            assert seen is not None
            assert seen.state is JobState.RUNNING
            assert store.change(row.id, {"memo": str(step)}, token="t") is not None
            ended(store, row.id, token="t")
            submitted.append(row.id)

    def flush() -> None:
        while not stop.is_set():
            store.flush()

    def guarded(work: object, *args: object) -> None:
        try:
            assert callable(work)
            work(*args)
        except BaseException as error:
            errors.append(error)

    flushers = [threading.Thread(target=guarded, args=(flush,)) for _ in range(2)]
    workers = [threading.Thread(target=guarded, args=(pass_through, n)) for n in range(4)]
    for thread in (*flushers, *workers):
        thread.start()
    for thread in workers:
        thread.join(PATIENCE)
    stop.set()
    for thread in flushers:
        thread.join(PATIENCE)
    if errors:
        raise errors[0]
    store.flush()
    found = {row.id: row for row in other.get_many(submitted)}
    assert len(found) == 600
    for job_id, row in found.items():
        assert (row.state, row.memo) == (JobState.SUCCEEDED, job_id.split("-")[1])
    assert other.counts()[JobState.SUCCEEDED] == 600


def test_a_claim_finds_rows_that_are_kept_back(store: SQLiteStore) -> None:
    """By priority, among those that are in the file."""
    low = added(store)
    high = added(store, durable=False, priority=5)
    later = added(store, durable=False, state=JobState.SCHEDULED, run_at=50.0)
    assert [claimed_id(store), claimed_id(store)] == [high.id, low.id]
    assert store.promote(50.0) is None
    assert claimed_id(store) == later.id
    assert begun(store) is None
