"""No thread can be started for a while, as at a limit of the machine: what was accepted waits, the
log says why, and once there is room again it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks, Handle, JobState

#: Bytes of stack that no machine has for a thread.
TOO_MUCH = 1 << 47

Apps = Callable[..., Flask]


@contextmanager
def no_room() -> Iterator[None]:
    """No thread can be started within."""
    before = threading.stack_size(TOO_MUCH)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=int).start()
        yield
    finally:
        threading.stack_size(before)


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, make_app: Apps) -> Flask:
    return make_app(BGTASK_STORE=request.param, BGTASK_QUEUES={"narrow": 1})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"durable": True},
        {"durable": True, "serial": "key"},
        {"queue": "narrow"},
        {"durable": True, "queue": "narrow"},
        {"delay": 0.01},
        {"timeout": 60},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_what_was_accepted_runs_later(
    app: Flask, bg: BackgroundTasks, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    """``submit`` does not fail; without another word to the library the jobs run in the end."""
    with app.app_context():
        with no_room(), caplog.at_level(logging.ERROR):
            handles = [_submit(bg, options, number) for number in (1, 2)]
            assert not any(handle.done() for handle in handles)
        assert "can't start new thread" in caplog.text
        handles.append(_submit(bg, options, 3))
        assert [handle.result(PATIENCE) for handle in handles] == [1, 2, 3]


class Told(logging.Handler):
    """Hears that something is written to a log."""

    def __init__(self) -> None:
        super().__init__()
        self._told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._told.set()

    def wait(self) -> bool:
        return self._told.wait(PATIENCE)


def start_housekeeping(bg: BackgroundTasks) -> None:
    """Have the thread that tries again; a process without it does so with its next submit."""
    assert bg.using(delay=3600).submit(int).cancel()


def _submit(bg: BackgroundTasks, options: dict[str, Any], number: int) -> Handle[int]:
    return (bg.using(**options) if options else bg).submit(int, number)


def test_it_is_tried_again(app: Flask, bg: BackgroundTasks) -> None:
    """Also where nothing else happens in this process."""
    with app.app_context():
        start_housekeeping(bg)
        with no_room():
            handle = bg.submit(int, 2)
            assert handle.job.state is JobState.QUEUED
        assert handle.result(PATIENCE) == 2


def test_a_worker_that_waits_gets_its_answer(make_app: Apps, bg: BackgroundTasks) -> None:
    """The thread that is to run the awaited job meanwhile is started later."""
    app, gate, told = make_app(BGTASK_WORKERS=1), Gate(), Told()

    def outer() -> int:
        inner = bg.submit(int, 3)
        gate()
        return inner.result(PATIENCE)

    app.logger.addHandler(told)
    with app.app_context():
        start_housekeeping(bg)
        handle = bg.submit(outer)
        assert gate.began()
        with no_room():
            gate.open()
            assert told.wait()
        assert handle.result(PATIENCE) == 3
    app.logger.removeHandler(told)


def test_a_limited_queue_loses_no_place(make_app: Apps, bg: BackgroundTasks) -> None:
    """What could not begin is not counted among those that run."""
    app = make_app(BGTASK_QUEUES={"narrow": 1})
    with app.app_context():
        start_housekeeping(bg)
        handles = []
        with no_room():
            handles.append(bg.using(queue="narrow").submit(int, 4))
        handles += [bg.using(queue="narrow").submit(int, number) for number in (5, 6)]
        assert [handle.result(PATIENCE) for handle in handles] == [4, 5, 6]
