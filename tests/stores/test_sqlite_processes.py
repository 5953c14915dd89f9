"""The SQLite store among real processes: liveness, orphans, forks, races."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_children import Child, children, fight_for_a_key, hold_rows, only_submit, take_all
from store_rows import PATIENCE, added, begun, ended

from flask_bgtask.job import JobState
from flask_bgtask.stores.sqlite import SQLiteStore, liveness

Start = Callable[..., Child]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store's file."""
    return tmp_path / "bgtask.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    """This process's store."""
    made = SQLiteStore("tests", path)
    yield made
    made.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes; none outlives the test."""
    with children() as starting:
        yield starting


def _locks(path: Path) -> set[str]:
    return {entry.stem for entry in path.with_name(f"{path.name}.processes").iterdir()}


def test_who_takes_jobs_is_known_to_others(store: SQLiteStore, start: Start, path: Path) -> None:
    """A process that only submits is live, and not among those that work."""
    submitter = start(only_submit, path).told()
    added(store)
    live = {int(name.rpartition(":")[2]) for name in store.processes()}
    working = {int(name.rpartition(":")[2]) for name in store.processes(working=True)}
    assert (live, working) == ({submitter, os.getpid()}, {os.getpid()})


def test_what_a_killed_process_leaves(store: SQLiteStore, start: Start, path: Path) -> None:
    """Its running, late and volatile rows are orphans as soon as it is dead, and not before."""
    child = start(hold_rows, path)
    told = child.told()
    running, late, volatile, queued = told["rows"]
    assert store.orphans() == []
    assert len(store.processes()) == 1
    child.kill()
    orphans = {row.id: row for row in store.orphans()}
    assert set(orphans) == {running, late, volatile}
    assert orphans[running].state is JobState.RUNNING
    assert orphans[late].holds
    assert store.processes() == []
    assert begun(store, job_id=queued) is not None


def test_the_file_of_the_dead_goes_when_nothing_is_left(
    store: SQLiteStore, start: Start, path: Path
) -> None:
    """Its lock file stays until every row is recovered, then it is cleared away."""
    child = start(hold_rows, path)
    told = child.told()
    child.kill()
    for row in store.orphans():
        assert told["process"] in _locks(path)
        ended(store, row.id, JobState.LOST)
    assert store.orphans() == []
    assert _locks(path) == set()


def test_the_file_of_the_dead_stays_for_another_app(start: Start, path: Path) -> None:
    """Apps may share a file: each recovers its own rows before the lock file goes."""
    child = start(hold_rows, path)
    told = child.told()
    child.kill()
    other, mine = SQLiteStore("another app", path), SQLiteStore("tests", path)
    assert other.orphans() == []
    assert told["process"] in _locks(path)
    assert len(mine.orphans()) == 3
    other.close()
    mine.close()


def test_a_stopped_process_is_alive(store: SQLiteStore, start: Start, path: Path) -> None:
    """SIGSTOP does not cost a process its jobs, however long it lasts, nor its clean end later."""
    child = start(hold_rows, path)
    child.told()
    child.signal(signal.SIGSTOP)
    try:
        assert [store.orphans() for _ in range(20)] == [[]] * 20
        added(store)
    finally:
        child.signal(signal.SIGCONT)
    child.tell("end")
    child.end()


def test_a_process_that_ends_with_rows_is_dead_at_its_end(
    store: SQLiteStore, start: Start, path: Path
) -> None:
    """Closing the store while a thread still runs a job keeps the lock until the process ends."""
    child = start(hold_rows, path)
    running, late, volatile, _ = child.told()["rows"]
    child.tell("close and end")
    child.end()
    assert {row.id for row in store.orphans()} == {running, late, volatile}


def test_closing_does_not_let_go_of_a_job_that_runs(store: SQLiteStore, path: Path) -> None:
    """Another process does not take it while this one lives."""
    row = added(store)
    assert begun(store) is not None
    store.close()
    other = SQLiteStore("tests", path)
    assert other.orphans() == []
    other.close()
    ended(store, row.id)
    store.close()
    assert _locks(path) == set()


def test_a_deleted_folder_of_locks(store: SQLiteStore, start: Start, path: Path) -> None:
    """Nobody counts as dead at once, and a live process makes its file anew."""
    added(store)
    assert begun(store) is not None
    shutil.rmtree(path.with_name(f"{path.name}.processes"))
    other = SQLiteStore("tests", path)
    assert other.orphans() == []
    store.version()
    assert _locks(path) == {store.process}
    assert other.orphans() == []
    other.close()


def test_a_file_copied_without_its_locks(
    start: Start, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a process that has no lock file for a while are recovered: a restored backup."""
    child = start(hold_rows, path)
    child.told()
    child.kill()
    store = SQLiteStore("tests", path)
    assert len(store.orphans()) == 3
    shutil.rmtree(path.with_name(f"{path.name}.processes"))
    assert store.orphans() == []
    monkeypatch.setattr(liveness, "MISSING_SECONDS", 0.0)
    assert len(store.orphans()) == 3
    store.close()


def test_stores_of_one_process_do_not_break_each_others_locks(
    store: SQLiteStore, start: Start, path: Path
) -> None:
    """POSIX drops a lock when its process closes any descriptor of the file: nobody here does."""
    other = SQLiteStore("another app", path)
    added(store)
    added(other, app="another app")
    assert begun(store) is not None
    for _ in range(3):
        assert store.orphans() == []
        assert other.orphans() == []
        assert len(store.processes()) == 1
    child = start(take_all, path)
    child.told()
    child.tell("go")
    assert child.told() == []
    child.end()
    assert store.process in _locks(path)
    other.close()
    assert store.process in _locks(path)


def test_one_key_among_four_processes(store: SQLiteStore, start: Start, path: Path) -> None:
    """Four processes submit one ``unique`` key until each had it 60 times: never two hold it."""
    store.counts()
    fighters = [start(fight_for_a_key, path) for _ in range(4)]
    for child in fighters:
        assert child.told() == "ready"
    for child in fighters:
        child.tell(60)
    won = [job_id for child in fighters for job_id in child.told()]
    for child in fighters:
        child.end()
    assert len(won) == 240
    assert store.counts()[JobState.SUCCEEDED] == len(set(won)) == len(won)


def test_jobs_shared_by_four_processes(store: SQLiteStore, start: Start, path: Path) -> None:
    """Each job is taken once, whoever takes it, and each line of a ``serial`` key in its order."""
    rows = [added(store, serial=f"s{n % 3}" if n % 2 else None) for n in range(200)]
    workers = [start(take_all, path) for _ in range(4)]
    for child in workers:
        assert child.told() == "ready"
    for child in workers:
        child.tell("go")
    taken = [job for child in workers for job in child.told()]
    for child in workers:
        child.end()
    left = []
    while (row := begun(store)) is not None:
        left.append(row.id)
        ended(store, row.id)
    assert Counter([job_id for job_id, _ in taken] + left) == Counter(row.id for row in rows)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_while_threads_write(store: SQLiteStore, path: Path) -> None:
    """Neither parent nor child meets a lock, a connection or a row of the other."""
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not stop.is_set():
            written.append(added(store).id)
            added(store, durable=False)
            store.flush()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            added(store, durable=False, label="the parent's")
            assert _in_child(lambda number=number: _works_in_child(store, number)) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    for number in range(10):
        assert store.get(f"child {number}") is not None
    store.flush()
    assert len(store.get_many(written)) == len(written)
    assert store.counts()[JobState.QUEUED] == 2 * len(written) + 30
    orphans = store.orphans()
    assert [row.label for row in orphans] == ["a child's"] * 10


def _works_in_child(store: SQLiteStore, number: int) -> bool:
    store.after_fork()
    mine = added(store, id=f"child {number}")
    added(store, id=f"child's own {number}", durable=False, label="a child's")
    store.flush()
    return store.get(mine.id) is not None


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_is_a_process_of_its_own(store: SQLiteStore, path: Path) -> None:
    """Its death frees its jobs and not the parent's; it needs no call after the fork."""
    mine = added(store)
    assert begun(store, job_id=mine.id) is not None
    theirs = added(store)
    assert _in_child(lambda: begun(store, job_id=theirs.id) is not None) == 0
    assert [row.id for row in store.orphans()] == [theirs.id]
    other = SQLiteStore("tests", path)
    assert [row.id for row in other.orphans()] == [theirs.id]
    other.close()


def _in_child(work: Callable[[], bool]) -> int:
    """The exit code of a forked child: 0 if ``work`` gives true there."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(PATIENCE))  # one that hangs is killed
        good = False
        try:
            good = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
