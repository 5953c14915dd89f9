"""The housekeeping of a process goes on, whatever the system or users' code does to it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask, current_app

from flask_bgtask import BackgroundTasks, Handle, JobTimeout
from flask_bgtask.signals import job_failed

Apps = Callable[..., Flask]

SHARED = {"BGTASK_STORE": "sqlite"}

#: Seconds for what is to happen while a gate, which gives up after PATIENCE, is closed.
MEANWHILE = PATIENCE / 2


@contextmanager
def no_housekeeping_thread() -> Iterator[None]:
    """The system has no thread left for it."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("-keeper"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


def test_a_thread_that_was_refused_is_asked_for_again(
    make_app: Apps, bg: BackgroundTasks, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever needed it fails at nothing; with the next one, all hear of their jobs' ends."""
    worker, submitter = make_app(**SHARED), make_app(**SHARED, BGTASK_RUN_WORKERS=False)
    task = bg.task(int, name="number")
    bg.start(worker)
    with submitter.app_context():
        with no_housekeeping_thread(), caplog.at_level(logging.ERROR):
            handles = [task.submit("3")]
        assert "can't start new thread" in caplog.text
        handles.append(task.submit("4"))
        assert [handle.result(PATIENCE) for handle in handles] == [3, 4]


def test_jobs_run_without_housekeeping(make_app: Apps, bg: BackgroundTasks) -> None:
    """A thread that is there for the job itself is enough."""
    app = make_app(**SHARED)
    with app.app_context(), no_housekeeping_thread():
        assert [bg.submit(int, "3").result(PATIENCE) for _ in range(3)] == [3, 3, 3]
        assert [job.state for job in bg.jobs()] == ["succeeded"] * 3


# Code of users', which hears of what housekeeping found out.


class Thing:
    """Travels by reference."""


@pytest.fixture
def away(make_app: Apps, bg: BackgroundTasks) -> Flask:
    """What runs the jobs of the queue "away", as another process would."""
    app = make_app(**SHARED, BGTASK_QUEUES={"here": 0})
    bg.start(app)
    return app


@pytest.fixture
def here(make_app: Apps, away: Flask) -> Flask:
    """An app with workers, which hears of the jobs of "away" from the store."""
    return make_app(**SHARED, BGTASK_QUEUES={"away": 0})


def housekeeping_goes_on(bg: BackgroundTasks) -> None:
    """Times come, attempts take too long, and jobs of other processes end."""
    task, opened = bg.task(int, name="number", queue="away"), threading.Event()
    local = bg.using(queue="here", timeout=0.05)
    late = local.submit(opened.wait, MEANWHILE)
    try:
        assert isinstance(late.exception(MEANWHILE), JobTimeout)
        assert bg.using(queue="here", delay=0.01).submit(int, "3").result(MEANWHILE) == 3
        assert task.submit("4").result(MEANWHILE) == 4
    finally:
        opened.set()


def held_callback(bg: BackgroundTasks, gate: Gate, stack: ExitStack) -> None:
    """A callback of a handle whose job ran elsewhere."""
    handle = bg.task(int, name="first", queue="away", delay=0.01).submit()
    handle.add_done_callback(gate)


def held_receiver(bg: BackgroundTasks, gate: Gate, stack: ExitStack) -> None:
    """A receiver that is told of a timeout."""

    here: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def receive(sender: Flask, job: Any) -> None:
        if job.label == "first":
            gate()

    stack.enter_context(job_failed.connected_to(receive, here))
    opened = threading.Event()
    stack.callback(opened.set)
    bg.using(queue="here", label="first", timeout=0.01).submit(opened.wait, PATIENCE)


def held_load(bg: BackgroundTasks, gate: Gate, stack: ExitStack) -> None:
    """A function that finds the object of a result."""
    bg.reference(Thing, dump=lambda _: "thing", load=gate)
    handle = bg.task(Thing, name="first", queue="away").submit()
    stack.callback(lambda: handle.result(PATIENCE))


@pytest.mark.parametrize("hold", [held_callback, held_receiver, held_load])
def test_users_code_does_not_hold_it_up(
    here: Flask, bg: BackgroundTasks, hold: Callable[..., None]
) -> None:
    """Flushes, timeouts, promotions and the ends of other jobs go on beside it."""
    gate = Gate()
    with here.app_context(), ExitStack() as stack:
        hold(bg, gate, stack)
        stack.callback(gate.open)
        assert gate.began()
        housekeeping_goes_on(bg)


def test_a_callback_may_wait_for_another_handle(here: Flask, bg: BackgroundTasks) -> None:
    """Also for one that ends after it began to wait, and whose own callbacks are called then."""
    gate, called = Gate(), threading.Event()
    results: list[Any] = []
    with here.app_context():
        second = bg.task(gate, name="second", queue="away").submit("second")
        first = bg.task(int, name="first", queue="away").submit("1")
        waits = threading.Event()

        def callback(handle: Any) -> None:
            waits.set()
            results.extend([handle.result(), second.result(MEANWHILE)])
            called.set()

        first.add_done_callback(callback)
        assert waits.wait(PATIENCE)
        gate.open()
        assert called.wait(PATIENCE)
    assert results == [1, "second"]


def test_shutdown_lets_callbacks_end(here: Flask, bg: BackgroundTasks) -> None:
    """All that waited for the ends of jobs have heard of them when it returns."""
    gate, called = Gate(), []

    def callback(handle: Handle[int]) -> None:
        gate()
        called.append(handle.result())

    task = bg.task(int, name="number", queue="away")
    with here.app_context():
        handles = [task.using(delay=0.01).submit(n) for n in range(3)]
        for handle in handles:
            handle.add_done_callback(callback)
        assert [handle.result(PATIENCE) for handle in handles] == [0, 1, 2]
        shutdown = threading.Thread(target=bg.shutdown)
        shutdown.start()
        gate.open()
        shutdown.join(PATIENCE)
        assert sorted(called) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_its_own(here: Flask, bg: BackgroundTasks) -> None:
    """What holds up callbacks in the parent holds up nothing in the child."""
    gate = Gate()
    with here.app_context(), ExitStack() as stack:
        held_callback(bg, gate, stack)
        stack.callback(gate.open)
        assert gate.began()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                local = bg.using(queue="here", timeout=0.05)
                late = local.submit(threading.Event().wait, MEANWHILE)
                called = threading.Event()
                late.add_done_callback(lambda _: called.set())
                code = 0 if called.wait(MEANWHILE) else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
