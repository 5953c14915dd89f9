"""Commands that change jobs: cancel, retry, purge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_bgtask import BackgroundTasks, current_job
from flask_bgtask.job import JobState
from flask_bgtask.store import BATCH

PATIENCE = 20.0


def test_cancel_a_waiting_job(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result]
) -> None:
    """It ends at once."""
    with app.app_context():
        handle = bg.using(delay=3600).submit(int)
        assert command("cancel", handle.id).output == f"{handle.id} is cancelled.\n"
        assert bg.get(handle.id).state == JobState.CANCELLED
    assert handle.cancelled()


def test_cancel_a_running_job(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result]
) -> None:
    """It is asked to stop, and does at its next checkpoint."""
    began = threading.Event()

    @bg.task(name="endless")
    def endless() -> None:
        began.set()
        while not threading.Event().wait(0.01):
            current_job.checkpoint()

    with app.app_context():
        handle = endless.submit()
        assert began.wait(PATIENCE)
        assert "was asked to stop" in command("cancel", handle.id).output
        with pytest.raises(BaseException):  # noqa: B017 - CancelledError is no Exception
            handle.result(PATIENCE)
    assert handle.cancelled()


def test_an_ended_job_cannot_be_cancelled(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result]
) -> None:
    """The state forbids it: status 1, one line."""
    with app.app_context():
        handle = bg.using(durable=True).submit(int)
        handle.result(PATIENCE)
    result = command("cancel", handle.id, status=1)
    assert result.output == f"Error: job {handle.id} is succeeded: it has ended already\n"


def test_retry(
    bg: BackgroundTasks,
    app: Flask,
    command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failed job is queued again; here, where its process is this one, it runs."""
    outcomes: list[Any] = [OSError("not now"), "done"]

    @bg.task(name="flaky")
    def flaky() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(app.logger, "disabled", True)
    with app.app_context():
        first = flaky.submit()
        assert isinstance(first.exception(PATIENCE), OSError)
        assert command("retry", first.id).output == f"{first.id} is queued again.\n"
        assert bg.handle(first.id).result(PATIENCE) == "done"
        result = command("retry", first.id, status=1)
    assert "is succeeded: only a failed, cancelled or lost job" in result.output


def fill(app: Flask, bg: BackgroundTasks, count: int, ttl: float) -> None:
    """Put finished jobs into the store."""
    with app.app_context():
        list(bg.using(durable=True, result_ttl=ttl).map(int, [0] * count))


def test_purge(bg: BackgroundTasks, app: Flask, command: Callable[..., Result]) -> None:
    """What expired goes; with ``--all`` every finished job; what waits stays."""
    fill(app, bg, 3, ttl=0)
    fill(app, bg, 2, ttl=3600)
    with app.app_context():
        waiting = bg.using(delay=3600, durable=True).submit(int)
        assert command("purge").output == "3 jobs deleted.\n"
        assert command("purge").output == "0 jobs deleted.\n"
        assert command("purge", "--all").output == "2 jobs deleted.\n"
        assert [job.id for job in bg.jobs()] == [waiting.id]
        assert waiting.cancel()


def test_purge_goes_in_steps(
    bg: BackgroundTasks,
    app: Flask,
    command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than one batch goes too, with a step for each, so that others can write in between."""
    fill(app, bg, BATCH + 1, ttl=0)
    store = app.extensions["bgtask"].store
    steps: list[int] = []
    original = store.purge
    monkeypatch.setattr(store, "purge", lambda now: steps.append(original(now)) or steps[-1])
    assert command("purge").output == f"{BATCH + 1} jobs deleted.\n"
    assert steps == [BATCH, 1]
