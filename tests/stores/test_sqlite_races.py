"""What happens between two statements of the SQLite store, one moment at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_rows import PATIENCE, added, begun, ended, new_row

from flask_bgtask.errors import StoreError
from flask_bgtask.job import JobState
from flask_bgtask.stores.sqlite import SQLiteStore
from flask_bgtask.stores.sqlite.connections import Connections


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """The store that is overtaken."""
    made = SQLiteStore("tests", tmp_path / "bgtask.sqlite3")
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SQLiteStore]:
    """The one that overtakes it."""
    made = SQLiteStore("tests", tmp_path / "bgtask.sqlite3")
    yield made
    made.close()


def _cancel(other: SQLiteStore, job_id: str) -> None:
    ended(other, job_id, JobState.CANCELLED)


def _run(other: SQLiteStore, job_id: str) -> None:
    assert begun(other, job_id=job_id) is not None


def _run_and_retry(other: SQLiteStore, job_id: str) -> None:
    _run(other, job_id)
    assert other.change(job_id, {"state": JobState.QUEUED}) is not None


def _run_and_crash(other: SQLiteStore, job_id: str) -> None:
    _run(other, job_id)
    again = {"state": JobState.QUEUED, "token": None, "attempt": 0, "crashes": 1}
    assert other.change(job_id, again) is not None


def _begin_again_elsewhere(other: SQLiteStore, job_id: str) -> None:
    changed = {"token": "another attempt's", "attempt": 0}
    assert other.change(job_id, changed) is not None


@pytest.mark.parametrize(
    ("overtake", "left"),
    [
        (_cancel, False),
        (_run, False),
        (_run_and_retry, True),
        (_run_and_crash, True),
        (_begin_again_elsewhere, True),
    ],
)
def test_a_claim_that_is_overtaken(
    store: SQLiteStore,
    other: SQLiteStore,
    overtake: Callable[[SQLiteStore, str], None],
    left: bool,
) -> None:
    """A row that changed since it was looked at is not taken as it was then."""
    row = added(store)
    moments: list[str] = []

    def knows(task: str) -> bool:
        if not moments:  # between looking and taking
            overtake(other, row.id)
        moments.append(task)
        return True

    taken = begun(store, knows=knows)
    assert (taken is not None) == left
    assert len(moments) == 1 + left
    found = store.get(row.id)
    assert found is not None
    if taken is not None:
        assert (taken.attempt, taken.crashes) == (found.attempt, found.crashes)


def test_a_line_that_changes_while_its_next_is_taken(
    store: SQLiteStore, other: SQLiteStore
) -> None:
    """If an older job of the key comes back meanwhile, that one is first."""
    first, second = added(store, serial="k"), added(store, serial="k")
    ended(store, first.id, JobState.FAILED)
    moments: list[str] = []

    def knows(task: str) -> bool:
        if not moments:
            again = {"state": JobState.QUEUED, "holds": True}
            assert other.change(first.id, again) is not None
        moments.append(task)
        return True

    taken = begun(store, knows=knows)
    assert taken is not None
    assert taken.id == first.id
    found = store.get(second.id)
    assert found is not None
    assert found.state is JobState.QUEUED


def test_a_key_that_is_freed_while_it_is_refused(
    store: SQLiteStore, other: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the holder ends before it is asked for its id, the job is accepted."""
    holder = added(other, unique="k")
    look = Connections.look

    def look_late(self: Connections, *args: Any) -> Any:
        if self is store._db:
            ended(other, holder.id)
            monkeypatch.undo()
        return look(self, *args)

    store.counts()
    begun(store, job_id="opens the lock file")
    monkeypatch.setattr(Connections, "look", look_late)
    row = added(store, unique="k")
    assert store.get(row.id) is not None


class _HeldWrite:
    """Holds up the writes of a store until told what to do."""

    def __init__(self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self._goes_on = threading.Event(), threading.Event()
        self._fails = False
        real = store._db.write

        def write(statement: str, values: Any = (), seconds: float | None = None) -> int:
            self.began.set()
            assert self._goes_on.wait(PATIENCE)
            if self._fails:
                monkeypatch.undo()
                raise StoreError("the disk is full") from sqlite3.OperationalError()
            return real(statement, values, seconds)

        monkeypatch.setattr(store._db, "write", write)

    def go_on(self, *, fails: bool) -> None:
        """Let it write, or fail."""
        self._fails = fails
        self._goes_on.set()


@pytest.mark.parametrize("fails", [False, True])
def test_a_row_on_its_way_into_the_file(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """It can be read meanwhile, and a change waits for it: nothing of it is lost either way."""
    row = added(store, durable=False)
    held = _HeldWrite(store, monkeypatch)
    outcomes: dict[str, object] = {}

    def flush() -> None:
        try:
            store.flush()
        except StoreError as error:
            outcomes["flush"] = str(error)

    def change() -> None:
        outcomes["change"] = store.change(row.id, {"label": "changed"})

    flusher = threading.Thread(target=flush)
    flusher.start()
    assert held.began.wait(PATIENCE)
    found = store.get(row.id)
    assert found is not None
    assert [some.id for some in store.get_many([row.id])] == [row.id]
    with pytest.raises(StoreError, match="already"):
        store.add(new_row(store, id=row.id, durable=False))
    changer = threading.Thread(target=change)
    changer.start()
    held.go_on(fails=fails)
    for thread in (flusher, changer):
        thread.join(PATIENCE)
    assert outcomes.get("flush") == ("the disk is full" if fails else None)
    assert outcomes["change"] is not None
    store.flush()
    found = store.get(row.id)
    assert found is not None
    assert found.label == "changed"
    assert store.counts()[JobState.QUEUED] == 1
