"""The housekeeping of a process goes on, whatever the system or users' code does to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from core_helpers import PATIENCE
from flask import Flask

from flask_bgtask import BackgroundTasks

Apps = Callable[..., Flask]

SHARED = {"BGTASK_STORE": "sqlite"}


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
