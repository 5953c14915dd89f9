"""``bg.shutdown`` waits for what ends here, and for nothing else; without ``wait`` too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask

from flask_bgtask import BackgroundTasks, Handle, JobLost, JobState
from flask_bgtask.signals import job_retrying

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


# What is not waited for.


def refuse() -> None:
    raise ValueError("not yet")


def delayed(app: Flask, bg: BackgroundTasks, durable: bool) -> Handle[Any]:
    return bg.using(durable=durable, delay=3600).submit(int)


def in_backoff(app: Flask, bg: BackgroundTasks, durable: bool) -> Handle[Any]:
    with hearing(job_retrying, app) as heard:
        handle = bg.using(durable=durable, retries=1, backoff=3600).submit(refuse)
        heard.wait()
    return handle


def paused(app: Flask, bg: BackgroundTasks, durable: bool) -> Handle[Any]:
    bg.pause("slow")
    return bg.using(durable=durable, queue="slow").submit(int)


def left_to_others(app: Flask, bg: BackgroundTasks, durable: bool) -> Handle[Any]:
    return bg.using(durable=True, queue="others").submit(int)


WAYS = [delayed, in_backoff, paused, left_to_others]


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "later"])
@pytest.mark.parametrize("durable", [False, True], ids=["volatile", "durable"])
@pytest.mark.parametrize("submit", WAYS)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_what_begins_too_late(
    make_app: Apps,
    bg: BackgroundTasks,
    store: str,
    submit: Callable[[Flask, BackgroundTasks, bool], Handle[Any]],
    durable: bool,
    wait: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is lost, and the log says so, or stays in a store that others share."""
    config = {"BGTASK_STORE": store, "BGTASK_QUEUES": {"others": 0}, "BGTASK_DRAIN_TIMEOUT": 0}
    app = make_app(**config)
    with app.app_context():
        handle = submit(app, bg, durable)
        ends_here = store == "memory" or not handle.durable
        bg.shutdown(wait=wait)
        if ends_here:
            assert isinstance(handle.exception(PATIENCE), JobLost)
            assert handle.job.state is JobState.LOST
        else:
            assert not handle.done()
            assert handle.job.state in (JobState.SCHEDULED, JobState.QUEUED)
    told = [each for each in caplog.messages if f"job {handle.id}" in each and "is lost" in each]
    assert len(told) == ends_here
    del handle
    wait_for_threads()


@pytest.mark.parametrize("config", STORES, ids=["memory", "sqlite"])
def test_what_begins_soon_is_waited_for(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, str]
) -> None:
    """Within ``BGTASK_DRAIN_TIMEOUT``, where no other process could run it."""
    app, attempts = make_app(**config), [1, 0]

    with app.app_context():
        late = bg.using(delay=0.2).submit(int, "3")
        again = bg.using(retries=1, backoff=0.2).submit(lambda: 6 // attempts.pop())
        bg.shutdown()
        assert (late.result(0), again.result(0)) == (3, 6)


@pytest.mark.parametrize("config", STORES, ids=["memory", "sqlite"])
def test_what_waits_behind_a_late_one_runs(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, str]
) -> None:
    """The serial key is free once the job that comes first is given up."""
    app = make_app(BGTASK_DRAIN_TIMEOUT=0, **config)
    serial = bg.using(serial="key")
    with app.app_context():
        late, behind = bg.using(serial="key", delay=3600).submit(int), serial.submit(int, "3")
        bg.shutdown()
        assert isinstance(late.exception(0), JobLost)
        assert behind.result(0) == 3


@pytest.mark.parametrize("config", STORES, ids=["memory", "sqlite"])
def test_a_line_of_serial_jobs_is_waited_for(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, str]
) -> None:
    """However long it is: each can run here when its turn comes."""
    app, pause = make_app(BGTASK_DRAIN_TIMEOUT=0, **config), threading.Event()
    with app.app_context():
        handles = [bg.using(serial="key").submit(pause.wait, 0.02) for _ in range(30)]
        bg.shutdown()
        assert all(handle.done() and handle.exception(0) is None for handle in handles)


def test_what_waits_behind_a_job_of_others_is_lost(make_app: Apps, bg: BackgroundTasks) -> None:
    """That stays in the shared store, and has the serial key for as long as it likes."""
    app = make_app(BGTASK_STORE="sqlite", BGTASK_DRAIN_TIMEOUT=0)
    with app.app_context():
        first = bg.using(durable=True, serial="key", delay=3600).submit(int)
        behind = bg.using(serial="key").submit(int)
        bg.shutdown()
        assert isinstance(behind.exception(0), JobLost)
        assert first.job.state is JobState.SCHEDULED


def test_a_job_cannot_wait_for_itself(app: Flask, bg: BackgroundTasks) -> None:
    """Within a job there is only ``wait=False``."""

    def stop(wait: bool) -> str:
        bg.shutdown(wait)
        return "went on"

    with app.app_context():
        with pytest.raises(RuntimeError, match="wait=False"):
            bg.submit(stop, True).result(PATIENCE)
        assert bg.submit(stop, False).result(PATIENCE) == "went on"
    wait_for_threads()


@pytest.mark.parametrize("end", ["runs", "waits", "tried again"])
def test_durable_jobs_in_memory_end_with_the_process(
    make_app: Apps, bg: BackgroundTasks, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As all others there: each is lost, and the log says so."""
    app, gate = make_app(BGTASK_STORE="memory"), Gate()
    hold = bg.task(gate, name="hold")
    with app.app_context():
        if end == "runs":
            handle = hold.submit()
            assert gate.began()
        else:
            handle = hold.using(delay=3600).submit()
        if end == "tried again":
            bg.pause("default")
            bg.cancel(handle.id)
            handle = bg.handle(bg.retry(handle.id).id)
        assert bg.drain(app, timeout=0.05) is (end != "runs")
        assert isinstance(handle.exception(PATIENCE), JobLost)
        assert handle.job.state is JobState.LOST
    assert [f"job {handle.id} (hold) is lost" in each for each in caplog.messages].count(True) == 1
    gate.open()


# Opened again.


ENDS = {
    "drain": lambda bg, app: bg.drain(app),
    "shutdown": lambda bg, app: bg.shutdown(),
    "later": lambda bg, app: bg.shutdown(wait=False),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("config", STORES, ids=["memory", "sqlite"])
def test_start_opens_the_app_again(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, str], end: Callable[..., Any]
) -> None:
    """As often as one likes: earlier jobs are known, new ones run, schedules tick."""
    app, ticked = make_app(**config), threading.Event()
    bg.periodic(every=0.1)(bg.task(lambda: ticked.set(), name="tick"))
    with app.app_context():
        before = bg.submit(int, "3")
        assert before.result(PATIENCE) == 3
        for _ in range(3):
            end(bg, app)
            with pytest.raises(RuntimeError, match="shutdown"):
                bg.submit(int)
            wait_for_threads()
            ticked.clear()
            bg.start(app)
            assert bg.submit(int, "4").result(PATIENCE) == 4
            assert ticked.wait(PATIENCE)
            assert before.job.state is JobState.SUCCEEDED


def test_what_waited_goes_on(make_app: Apps, bg: BackgroundTasks) -> None:
    """Handles of jobs that stayed in the store are live again, and a paused queue is paused."""
    app = make_app(BGTASK_STORE="sqlite")
    with app.app_context():
        bg.pause("slow")
        handle = bg.task(int, name="number").using(queue="slow").submit("3")
        bg.shutdown()
        bg.start(app)
        assert bg.submit(int, "4").result(PATIENCE) == 4
        assert handle.job.state is JobState.QUEUED
        bg.resume("slow")
        assert handle.result(PATIENCE) == 3


@pytest.mark.parametrize("config", STORES, ids=["memory", "sqlite"])
def test_not_while_jobs_run_that_were_given_up(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, str]
) -> None:
    """They would run beside new ones, past every limit: it is said, and works once they ended."""
    app, gate = make_app(**config), Gate()
    with app.app_context():
        handle = bg.task(gate, name="hold").submit()
        assert gate.began()
        assert not bg.drain(app, timeout=0)
        with pytest.raises(RuntimeError, match="1 run"):
            bg.start(app)
        gate.open()
        for thread in threading.enumerate():
            if thread.name.startswith("bgtask-tests-") and not thread.name.endswith("-keeper"):
                thread.join(PATIENCE)
        bg.start(app)
        assert bg.submit(int, "4").result(PATIENCE) == 4
        state = JobState.LOST if config["BGTASK_STORE"] == "memory" else JobState.SUCCEEDED
        assert handle.job.state is state
