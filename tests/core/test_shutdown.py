"""``bg.shutdown(wait=False)`` returns at once, and what it leaves to end does end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks

Apps = Callable[..., Flask]

STORES = [{"BGTASK_STORE": "memory"}, {"BGTASK_STORE": "sqlite"}]


def wait_for_threads() -> None:
    """Until none of ours is left."""
    for thread in threading.enumerate():
        if thread.name.startswith("bgtask-"):
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread.name


@pytest.mark.parametrize("config", STORES, ids=["memory", "sqlite"])
def test_schedules_and_recovery_end(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, str]
) -> None:
    """No tick makes a job any more, and no thread looks for one."""
    app, ticked = make_app(**config), threading.Event()
    bg.periodic(every=0.1)(bg.task(lambda: ticked.set(), name="tick"))
    bg.start(app)
    assert ticked.wait(PATIENCE)
    bg.shutdown(wait=False)
    wait_for_threads()
    with app.app_context():
        jobs = bg.jobs().items
        assert {job.state for job in jobs} <= {"succeeded", "queued"}
        assert len([job for job in jobs if job.state == "queued"]) <= 1


def test_what_runs_ends_and_files_are_closed(
    make_app: Apps, bg: BackgroundTasks, tmp_path: Path
) -> None:
    """Jobs go on to their end, retries included; after the last one no file is open."""
    app, gate, attempts = make_app(BGTASK_STORE="sqlite"), Gate(), []

    def again() -> int:
        attempts.append(gate())
        if len(attempts) == 1:
            raise ValueError
        return len(attempts)

    with app.app_context():
        handle = bg.using(retries=1, backoff=0.05).submit(again)
        assert gate.began()
        bg.shutdown(wait=False)
        with pytest.raises(RuntimeError, match="shutdown"):
            bg.submit(int)
        gate.open()
        assert handle.result(PATIENCE) == 2
    wait_for_threads()
    assert [path.name for path in (tmp_path / "instance").rglob("*.sqlite3-wal")] == []
    assert [path.name for path in (tmp_path / "instance").rglob("*.lock")] == []


def test_who_waits_for_other_processes_is_told(make_app: Apps, bg: BackgroundTasks) -> None:
    """A process that only submits has no workers to wait for; its handles are still live."""
    worker = make_app(BGTASK_STORE="sqlite")
    submitter = make_app(BGTASK_STORE="sqlite", BGTASK_RUN_WORKERS=False)
    with submitter.app_context():
        handle = bg.task(int, name="number").submit("3")
        bg.shutdown(wait=False)
        bg.start(worker)
        assert handle.result(PATIENCE) == 3
        del handle
    with worker.app_context():
        bg.shutdown()
    wait_for_threads()


def test_twice(make_app: Apps, bg: BackgroundTasks) -> None:
    """Whoever waits after all sees everything ended."""
    app, gate = make_app(BGTASK_STORE="sqlite"), Gate()
    with app.app_context():
        handle = bg.submit(gate, 3)
        assert gate.began()
        bg.shutdown(wait=False)
        bg.shutdown(wait=False)
        gate.open()
        bg.shutdown()
        assert handle.result(0) == 3
    wait_for_threads()
