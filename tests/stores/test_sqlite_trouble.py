"""The SQLite store when the disk is full or somebody else keeps the file locked."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_children import children, fill_a_small_disk
from store_rows import PATIENCE, added, begun, ended, new_row

from flask_bgtask.errors import StoreError
from flask_bgtask.job import JobState
from flask_bgtask.store import Filter
from flask_bgtask.stores.sqlite import SQLiteStore, connections, opening, patience


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store's file."""
    return tmp_path / "bgtask.sqlite3"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLiteStore]:
    """A store that waits a fifth of a second for a lock."""
    for module in (opening, connections, patience):
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.2)
    made = SQLiteStore("tests", path)
    yield made
    made.close()


@pytest.fixture
def lock(path: Path, store: SQLiteStore) -> Iterator[sqlite3.Connection]:
    """Another program's connection with a write transaction open."""
    store.counts()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_a_locked_file(store: SQLiteStore, lock: sqlite3.Connection) -> None:
    """Writing fails with a clear text after a while, reading goes on, and nothing was written."""
    refused = new_row(store)
    with pytest.raises(StoreError, match="stayed locked") as caught:
        store.add(refused)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert store.get(refused.id) is None
    assert store.listing(Filter(), limit=5, now=0.0) == []
    lock.execute("ROLLBACK")
    store.add(refused)
    assert begun(store) is not None


def test_a_lock_that_is_released_in_time(
    store: SQLiteStore, lock: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write waits and is done."""
    monkeypatch.setattr(connections, "BUSY_SECONDS", PATIENCE)
    done = threading.Event()
    row = new_row(store)

    def write() -> None:
        store.add(row)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not done.wait(0.1)
    lock.execute("ROLLBACK")
    assert done.wait(PATIENCE)
    writer.join(PATIENCE)
    assert store.get(row.id) is not None


def test_readers_wait_for_no_writer(store: SQLiteStore, lock: sqlite3.Connection) -> None:
    """While a thread of this process waits for the lock, others read and ask for the version."""
    version = store.version()
    with store._db.locked():
        outcomes: list[object] = []

        def read() -> None:
            outcomes.extend([store.get("f" * 32), store.waiting(), store.version()])

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(PATIENCE)
    assert outcomes == [None, 0, version]


def test_threads_wait_for_each_other_within_limits(store: SQLiteStore) -> None:
    """Behind a thread that waits for the lock, others get the same clear error."""
    store.counts()
    errors: list[Exception] = []

    def write() -> None:
        try:
            store.pause("mail", True)
        except StoreError as error:
            errors.append(error)

    with store._db.locked():
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(PATIENCE)
    assert "stayed locked" in str(errors[0])


def test_rows_kept_back_survive_a_lock(store: SQLiteStore, lock: sqlite3.Connection) -> None:
    """A flush that fails keeps its rows, and they can be read and changed meanwhile."""
    row = added(store, durable=False)
    with pytest.raises(StoreError, match="stayed locked"):
        store.flush()
    assert store.get(row.id) is not None
    ended(store, row.id)
    assert store.counts()[JobState.SUCCEEDED] == 0
    lock.execute("ROLLBACK")
    store.flush()
    assert store.counts()[JobState.SUCCEEDED] == 1


def test_a_full_disk(path: Path) -> None:
    """What cannot be written is refused, what was accepted stays, and room makes it work again."""
    with children() as start:
        child = start(fill_a_small_disk, path)
        told = child.told()
        child.end()
    assert told["errors"]
    assert all("disk" in error and str(path) in error for error in told["errors"])
    assert "disk" in told["flush"]
    assert told["seen"]
    assert told["kept"]
    assert told["all"] == told["accepted"] + 41
    store = SQLiteStore("tests", path)
    assert store.counts()[JobState.QUEUED] == told["all"]
    store.close()


def test_a_full_database(store: SQLiteStore) -> None:
    """The same where SQLite itself says that the file cannot grow; a claim still works after."""
    row = added(store)
    writer = store._db._writer
    assert writer is not None
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk"):
        _fill(store)
    writer.execute("PRAGMA max_page_count = 1000000")
    added(store, arguments="x" * 4000)
    assert begun(store, job_id=row.id) is not None


def _fill(store: SQLiteStore) -> None:
    for _ in range(50):
        added(store, arguments="x" * 4000)


def test_damage_that_shows_while_in_use(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file is too large to be read through at the start, damage is named when met."""
    _fill(store)
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(b"\xff" * 120_000)
    monkeypatch.setattr(opening, "CHECKED_SIZE", 0)
    with pytest.raises(StoreError, match="damaged") as caught:
        store.listing(Filter(), limit=50, now=0.0)
    assert str(path) in str(caught.value)
