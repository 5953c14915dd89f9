"""Attempts: what each of them gets, and what is known of a job between them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask, g

from flask_bgtask import BackgroundTasks, current_job
from flask_bgtask.signals import job_failed, job_retrying, job_started

Apps = Callable[..., Flask]


def fail(text: str = "always") -> None:
    raise ValueError(text)


# What an attempt gets.


@dataclass
class Order:
    """An argument that a task may change."""

    lines: list[str] = field(default_factory=list)


class Basket:
    """The same, and no dataclass."""

    def __init__(self) -> None:
        self.items = ["apple"]


def spoil(
    numbers: list[int], table: dict[str, list[int]], order: Order, *, basket: Basket
) -> tuple[Any, ...]:
    """Shows its arguments, changes them and fails twice."""
    seen = (list(numbers), {k: list(v) for k, v in table.items()}, order.lines[:], basket.items[:])
    numbers.append(9)
    table["a"].append(9)
    table["new"] = []
    order.lines.clear()
    basket.items.append("worm")
    if current_job.attempt < 3:
        raise ValueError("again")
    return seen


def test_each_attempt_gets_the_arguments_of_the_submit(make_app: Apps, bg: BackgroundTasks) -> None:
    """Lists, dictionaries, dataclasses, other objects: whatever attempts or callers change."""
    app = make_app(BGTASK_WORKERS=1)
    numbers, table, order, basket = [1], {"a": [1]}, Order(["x"]), Basket()
    gate = Gate()
    with app.app_context():
        bg.submit(gate)
        using = bg.using(retries=2, backoff=0)
        handle = using.submit(spoil, numbers, table, order, basket=basket)
        numbers.append(2)
        table["a"].append(2)
        order.lines.append("y")
        basket.items.append("pear")
        gate.open()
        assert handle.result(PATIENCE) == ([1], {"a": [1]}, ["x"], ["apple"])
    assert (numbers, table, order.lines) == ([1, 2], {"a": [1, 2]}, ["x", "y"])
    assert basket.items == ["apple", "pear"]


def spoil_plain(numbers: list[int], *, order: Order) -> tuple[Any, ...]:
    seen = (list(numbers), order.lines[:])
    numbers.append(9)
    order.lines.clear()
    if current_job.attempt < 3:
        raise ValueError("again")
    return seen


def test_so_does_a_durable_job(make_app: Apps, bg: BackgroundTasks) -> None:
    """Its arguments are encoded at submit."""
    app = make_app(BGTASK_WORKERS=1)
    numbers, order, gate = [1], Order(["x"]), Gate()
    task = bg.task(spoil_plain, retries=2, backoff=0)
    with app.app_context():
        bg.submit(gate)
        handle = task.submit(numbers, order=order)
        numbers.append(2)
        order.lines.append("y")
        gate.open()
        assert handle.result(PATIENCE) == ([1], ["x"])


def test_a_lock_is_the_same_in_each_attempt(app: Flask, bg: BackgroundTasks) -> None:
    """What refuses to be copied is shared."""
    lock = threading.Lock()
    seen: list[Any] = []

    def look(given: Any) -> None:
        seen.append(given)
        raise ValueError

    with app.app_context():
        bg.using(retries=1, backoff=0).submit(look, lock).exception(PATIENCE)
    assert seen == [lock, lock]


def test_teardown_and_g_for_each_attempt(app: Flask, bg: BackgroundTasks) -> None:
    """Each attempt has an app context of its own, torn down with its own exception."""
    seen: list[Any] = []
    errors = [ValueError("first"), ValueError("second")]

    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        if current_job:
            seen.append(error)

    def task() -> list[str]:
        before = list(g)
        g.left = 1
        if current_job.attempt <= 2:
            raise errors[current_job.attempt - 1]
        return before

    with app.app_context():
        assert bg.using(retries=2, backoff=0).submit(task).result(PATIENCE) == []
    assert seen == [*errors, None]


# What is known meanwhile.


@pytest.mark.parametrize("durable", [False, True])
def test_a_handle_is_pending_while_retries_remain(
    app: Flask, bg: BackgroundTasks, durable: bool
) -> None:
    """It is not done, the job shows as scheduled with its attempts, and can be cancelled."""
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=1, backoff=300, durable=durable).submit(fail)
        heard.wait()
        assert not handle.done()
        assert not handle.running()
        job = handle.job
        assert (job.state, job.attempt, job.finished_at) == ("scheduled", 1, None)
        assert job.error.message == "always"
        with pytest.raises(TimeoutError):
            handle.result(0.01)
        assert handle.cancel()
        assert handle.cancelled()
        assert handle.job.state == "cancelled"


def test_retries_wait_outside_of_the_pool(make_app: Apps, bg: BackgroundTasks) -> None:
    """A job that waits for its next attempt keeps no thread from others."""
    app = make_app(BGTASK_WORKERS=1)
    with app.app_context(), hearing(job_retrying, app) as heard:
        waiting = [bg.using(retries=1, backoff=300).submit(fail) for _ in range(3)]
        heard.wait(3)
        assert bg.submit(int, "3").result(PATIENCE) == 3
        assert all(handle.cancel() for handle in waiting)


def test_each_retry_is_logged_as_a_warning(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """With the job's id and task, the attempt and the error; the failure itself as an error."""
    with app.app_context(), caplog.at_level(logging.INFO):
        handle = bg.using(retries=2, backoff=0).submit(fail, "the text")
        handle.exception(PATIENCE)
    records = [record for record in caplog.records if record.name == app.logger.name]
    assert [record.levelname for record in records] == ["WARNING", "WARNING", "ERROR"]
    for attempt, record in enumerate(records, 1):
        text = record.getMessage()
        assert handle.id in text
        assert "test_attempts:fail" in text
        assert f"attempt {attempt} of 3" in text
    assert "ValueError: the text" in records[0].getMessage()
    assert records[2].exc_info is not None


def test_signals_of_the_attempts(app: Flask, bg: BackgroundTasks) -> None:
    """Each attempt is started, each failure but the last is followed by a retry."""
    with (
        app.app_context(),
        hearing(job_started, app) as started,
        hearing(job_retrying, app) as retrying,
        hearing(job_failed, app) as failed,
    ):
        bg.using(retries=2, backoff=0).submit(fail)
        assert [job.attempt for job in failed.wait()] == [3]
        assert [job.attempt for job in started.wait(3)] == [1, 2, 3]
        assert [job.attempt for job in retrying.wait(2)] == [1, 2]


def test_logs_are_kept_per_attempt(app: Flask, bg: BackgroundTasks) -> None:
    """All attempts' lines stay, each with its attempt and time."""

    def talk() -> None:
        current_job.log(f"in attempt {current_job.attempt}")
        if current_job.attempt < 3:
            raise ValueError

    with app.app_context():
        handle = bg.using(retries=2, backoff=0).submit(talk)
        handle.result(PATIENCE)
        logs = handle.job.logs
    assert [(line.attempt, line.message) for line in logs] == [
        (1, "in attempt 1"),
        (2, "in attempt 2"),
        (3, "in attempt 3"),
    ]
    assert all(line.at.tzinfo is UTC for line in logs)
    assert sorted(line.at for line in logs) == [line.at for line in logs]
