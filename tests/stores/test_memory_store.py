"""The memory store: the contract, and what is its own."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator

import pytest
from store_contract import StoreContract
from store_rows import added, begun, ended

from flask_bgtask.job import WAITING, JobState
from flask_bgtask.stores.memory import KEPT, MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """A fresh store."""
    made = MemoryStore("tests")
    yield made
    made.close()


class TestMemoryStore(StoreContract):
    """All rules of the contract."""


def test_it_is_not_shared(store: MemoryStore) -> None:
    """Nobody else sees the rows, so nobody has to look for changes."""
    assert store.shared is False


def test_the_last_finished_jobs_are_kept(store: MemoryStore) -> None:
    """Past 1,000 the one that finished first goes; unfinished jobs never do."""
    waiting = added(store)
    rows = [added(store) for _ in range(KEPT + 2)]
    last_submitted_first = [*rows[1:], rows[0]]
    for row in last_submitted_first:
        ended(store, row.id)
    gone = [row.id for row in rows if store.get(row.id) is None]
    assert gone == [rows[1].id, rows[2].id]
    assert store.get(waiting.id) is not None


def test_a_late_job_with_a_key_is_kept(store: MemoryStore) -> None:
    """A job whose thread has not come back holds its key, however many finish meanwhile."""
    late = added(store, unique="k")
    ended(store, late.id, JobState.FAILED, holds=True)
    for _ in range(KEPT + 1):
        ended(store, added(store).id)
    assert store.get(late.id) is not None
    assert store.change(late.id, {"holds": False}) is not None
    for _ in range(KEPT):
        ended(store, added(store).id)
    assert store.get(late.id) is None


def test_jobs_leave_nothing_behind(store: MemoryStore) -> None:
    """Memory does not grow with the number of jobs that came and went."""

    def pass_through(count: int) -> None:
        for number in range(count):
            row = added(store, durable=False, queue=f"q{number}", priority=number % 3)
            taken = {"state": JobState.RUNNING, "token": "t"}
            assert store.change(row.id, taken, states=WAITING) is not None
            ended(store, row.id)
            keyed = added(store, serial=f"s{number}", unique=f"u{number}")
            assert begun(store, job_id=keyed.id) is not None
            ended(store, keyed.id)
            later = added(store, state=JobState.SCHEDULED, run_at=9e9 + number)
            ended(store, later.id, JobState.CANCELLED)

    pass_through(KEPT)
    gc.collect()
    tracemalloc.start()
    try:
        pass_through(KEPT)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        pass_through(3 * KEPT)
        gc.collect()
        at_the_end, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert at_the_end < grown + 300_000


def test_a_forked_child_starts_empty(store: MemoryStore) -> None:
    """What the parent submitted is the parent's to run; the child has a name of its own."""
    added(store)
    parent = store.process
    child = os.fork()
    if child == 0:
        store.after_fork()
        good = store.process != parent and not any(store.counts().values())
        os._exit(0 if good and begun(store) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.waiting() == 1
