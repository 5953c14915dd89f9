"""The SQLite store's file: how it is made, who may read it, and what is wrong with it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_children import children, count_jobs
from store_rows import added, begun, ended, new_row

from flask_bgtask.errors import StoreError
from flask_bgtask.job import COLUMNS, JobState
from flask_bgtask.store import Filter
from flask_bgtask.stores.sqlite import SQLiteStore, liveness, schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store's file will be."""
    return tmp_path / "instance" / "bgtask.sqlite3"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """Makes stores over the file, closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(where: Path = path) -> SQLiteStore:
            store = SQLiteStore("tests", where)
            stack.callback(_close, store)
            return store

        yield make


def _close(store: SQLiteStore) -> None:
    with contextlib.suppress(StoreError):
        store.close()


OpenStore = Callable[..., SQLiteStore]


def test_the_table_has_the_columns_of_a_record(open_store: OpenStore, path: Path) -> None:
    """The schema and :class:`.Record` name the same columns."""
    open_store().counts()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = [row[1] for row in connection.execute("PRAGMA table_info(job)")]
    assert sorted(found) == sorted(COLUMNS)


def test_nothing_is_opened_before_the_first_call(open_store: OpenStore, path: Path) -> None:
    """Making the store makes no file and no folder, and closing it neither."""
    store = open_store()
    store.close()
    assert not path.parent.exists()
    store.counts()
    assert path.exists()


def test_who_only_reads_leaves_no_lock_file(open_store: OpenStore, path: Path) -> None:
    """A process counts as one that works once it submits or claims, and no longer at its end."""
    store = open_store()
    store.counts()
    assert store.processes() == []
    assert begun(store) is None
    assert len(store.processes()) == 1
    store.close()
    assert store.processes() == []
    assert list(path.with_name("bgtask.sqlite3.processes").iterdir()) == []


def test_the_files_are_for_their_user_alone(open_store: OpenStore, path: Path) -> None:
    """Arguments and results may be confidential: file, log and lock files have mode 0600."""
    mask = os.umask(0)
    try:
        added(open_store())
    finally:
        os.umask(mask)
    modes = {
        entry.name.replace(path.name, ""): entry.stat().st_mode & 0o777
        for entry in path.parent.iterdir()
    }
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600, ".processes": 0o700}
    (lock,) = path.with_name(path.name + ".processes").iterdir()
    assert lock.stat().st_mode & 0o777 == 0o600


def test_folders_that_are_made_are_not_for_everybody(open_store: OpenStore, tmp_path: Path) -> None:
    """Who can write to the folder could put another store there, whatever the umask lets them."""
    mask = os.umask(0)
    try:
        added(open_store(tmp_path / "new" / "newer" / "jobs.sqlite3"))
    finally:
        os.umask(mask)
    for folder in (tmp_path / "new", tmp_path / "new" / "newer"):
        assert folder.stat().st_mode & 0o777 == 0o755


def test_a_path_with_odd_characters(open_store: OpenStore, tmp_path: Path) -> None:
    """Whatever the folder is called, the file is there."""
    where = tmp_path / "a b?c=d#e%20f'g" / "jobs & more.db"
    row = added(open_store(where))
    assert where.exists()
    assert open_store(where).get(row.id) is not None


def test_no_folder_can_be_made(open_store: OpenStore, tmp_path: Path) -> None:
    """The error says in one line which file and what to set; nothing else is tried."""
    (tmp_path / "instance").write_text("a file where the folder should be")
    for call in (SQLiteStore.counts, added, begun):
        with pytest.raises(StoreError, match="BGTASK_STORE") as caught:
            call(open_store())
        assert str(tmp_path / "instance") in str(caught.value)
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value.__cause__, OSError)


def test_the_store_works_once_the_cause_is_gone(open_store: OpenStore, tmp_path: Path) -> None:
    """A store that could not be opened is not broken for good."""
    blocked = tmp_path / "instance"
    blocked.write_text("")
    store = open_store()
    with pytest.raises(StoreError):
        added(store)
    blocked.unlink()
    assert store.get(added(store).id) is not None


@pytest.mark.parametrize("content", [b"this is no database, but some text " * 99, b"\x00" * 5000])
def test_a_file_that_is_no_database(open_store: OpenStore, path: Path, content: bytes) -> None:
    """It is named, and left as it is."""
    path.parent.mkdir()
    path.write_bytes(content)
    store = open_store()
    with pytest.raises(StoreError, match="no SQLite database") as caught:
        store.counts()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_damaged_file(open_store: OpenStore, path: Path) -> None:
    """Damage is found at the start, and the error says what to do."""
    store = open_store()
    for _ in range(200):
        added(store, arguments="x" * 2000)
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(100_000))
    with pytest.raises(StoreError, match=r"damaged.*move the file away") as caught:
        added(open_store())
    assert str(path) in str(caught.value)


def test_a_file_of_a_newer_version(open_store: OpenStore, path: Path) -> None:
    """Older code does not touch it and says that it is newer."""
    row = added(open_store())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    older = open_store()
    for call in (SQLiteStore.counts, begun):
        with pytest.raises(StoreError, match="newer version of Flask-BgTask"):
            call(older)
    with pytest.raises(StoreError, match="newer version"):
        older.get(row.id)


@pytest.mark.parametrize("statement", ["CREATE TABLE user (id)", "PRAGMA user_version = 3"])
def test_the_database_of_another_program(open_store: OpenStore, path: Path, statement: str) -> None:
    """A database with other tables is refused: it would be switched to another mode and shared."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"database of another program.*BGTASK_STORE"):
        open_store().counts()
    assert path.read_bytes() == before


def test_an_empty_file_becomes_the_store(open_store: OpenStore, path: Path) -> None:
    """As after ``touch``."""
    path.parent.mkdir()
    path.touch()
    assert open_store().counts()[JobState.QUEUED] == 0


def test_many_processes_open_a_new_store_at_once(open_store: OpenStore, path: Path) -> None:
    """All find the tables made, once."""
    with children() as start:
        others = [start(count_jobs, path) for _ in range(6)]
        assert [child.told() for child in others] == ["ready"] * 6
        for child in others:
            child.tell("go")
        assert [child.told() for child in others] == [None] * 6
        for child in others:
            child.end()
    assert open_store().counts()[JobState.QUEUED] == 6


@pytest.mark.parametrize("fate", ["deleted", "moved", "replaced"])
def test_a_file_that_goes_while_in_use(open_store: OpenStore, path: Path, fate: str) -> None:
    """Every call says so; no new store is made in its place, and a file put back is used again."""
    store = open_store()
    row = added(store)
    kept = path.with_name("kept")
    os.link(path, kept)
    if fate == "moved":
        path.rename(path.with_name("elsewhere"))
    else:
        path.unlink()
    if fate == "replaced":
        other = open_store(path.with_name("other"))
        added(other)
        other.close()
        path.with_name("other").rename(path)
    _let_the_last_look_pass(store)
    for call in _CALLS:
        with pytest.raises(StoreError, match="deleted or replaced while in use"):
            call(store, row.id)
    assert path.exists() == (fate == "replaced")
    os.replace(kept, path)
    assert store.get(row.id) is not None
    assert store.get(added(store).id) is not None


_CALLS: tuple[Callable[[SQLiteStore, str], object], ...] = (
    lambda store, job_id: added(store),
    lambda store, job_id: store.get(job_id),
    lambda store, job_id: store.change(job_id, {"label": "x"}),
    lambda store, job_id: store.version(),
    lambda store, job_id: store.listing(Filter(), limit=5, now=0.0),
)


def _let_the_last_look_pass(store: SQLiteStore) -> None:
    """What is written within 10 ms of a look shares the fate of the file; get beyond them."""
    with contextlib.suppress(StoreError):
        while True:
            added(store)


def test_a_file_system_without_locks(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is accepted where a dead process could not be told from a live one."""

    def lockf(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(liveness.fcntl, "lockf", lockf)
    store = open_store()
    with pytest.raises(StoreError, match=r"without file locks.*BGTASK_STORE"):
        store.add(new_row(store))
    assert store.counts()[JobState.QUEUED] == 0


def test_a_system_without_posix_locks(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no ``fcntl`` (Windows) the error names what can be used instead."""
    monkeypatch.setattr(liveness, "fcntl", None)
    store = open_store()
    with pytest.raises(StoreError, match="'memory'"):
        store.add(new_row(store))


def test_an_older_sqlite(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python's SQLite lacks what the schema uses, the error says which version it takes."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreError, match=r"SQLite 3\.38 or newer"):
        open_store().counts()


def test_two_apps_in_one_file(open_store: OpenStore, path: Path) -> None:
    """Each sees its own jobs, keys, counts, schedules and pauses alone."""
    first, second = SQLiteStore("first", path), SQLiteStore("second", path)
    with contextlib.closing(first), contextlib.closing(second):
        row = added(first, app="first", unique="k", serial="s")
        other = added(second, app="second", unique="k", serial="s")
        assert second.get(row.id) is None
        assert second.get_many([row.id]) == []
        assert second.change(row.id, {"label": "x"}) is None
        assert second.delete(row.id) is False
        first.pause("mail", True)
        assert second.paused() == frozenset()
        for store, mine in ((first, row), (second, other)):
            assert begun(store, job_id=mine.id) is not None
            ended(store, mine.id, expires_at=5.0)
            assert [found.id for found in store.listing(Filter(), limit=9, now=0.0)] == [mine.id]
        assert first.counts()[JobState.SUCCEEDED] == 1
        assert first.purge(9.0) == 1
        assert second.counts()[JobState.SUCCEEDED] == 1
