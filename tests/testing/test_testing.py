"""The helpers for the tests of applications."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask, current_app, has_request_context
from flask_mail import Mail, Message

from flask_bgtask import BackgroundTasks, current_job, testing

PATIENCE = 20.0
THREADS: list[str] = []


def where() -> tuple[str, bool]:
    return threading.current_thread().name, has_request_context()


def test_immediate_runs_inside_submit(app: Flask, bg: BackgroundTasks) -> None:
    """The job has ended when ``submit`` returns, on the same thread, in a context of its own."""
    with app.test_request_context(), testing.immediate(app):
        handle = bg.submit(where)
        assert handle.done()
        assert handle.result() == (threading.current_thread().name, False)
        assert has_request_context()


def test_immediate_skips_every_wait(app: Flask, bg: BackgroundTasks) -> None:
    """Delays and the waits before retries are skipped; attempts are counted as always."""
    attempts: list[int] = []

    @bg.task(retries=3, backoff=3600, timeout=0.001, delay=3600)
    def fails_twice() -> str:
        attempts.append(current_job.attempt)
        if len(attempts) < 3:
            raise OSError("not yet")
        return "done"

    with app.app_context(), testing.immediate(app):
        handle = fails_twice.submit()
        assert handle.result(0) == "done"
        assert handle.job.attempt == 3
    assert attempts == [1, 2, 3]


def test_immediate_encodes_and_decodes(app: Flask, bg: BackgroundTasks) -> None:
    """A durable task gets what the store gives back, not the caller's own objects."""
    seen: list[object] = []

    @bg.task
    def keep(value: list[datetime]) -> None:
        seen.append(value)

    given = [datetime(2030, 1, 1, tzinfo=UTC)]
    with app.app_context(), testing.immediate(app):
        keep.submit(given).result(0)
    assert seen == [given]
    assert seen[0] is not given


def test_immediate_runs_coroutines_within_a_loop(app: Flask, bg: BackgroundTasks) -> None:
    """Also in an ``async def`` view, whose thread runs an event loop."""
    import asyncio

    async def task() -> int:
        await asyncio.sleep(0)
        return 7

    async def view() -> int:
        with app.app_context(), testing.immediate(app):
            return bg.submit(task).result(0)

    assert asyncio.run(view()) == 7


def test_immediate_by_configuration(make_app, bg: BackgroundTasks) -> None:  # type: ignore[no-untyped-def]
    """``BGTASK_IMMEDIATE`` does the same for the whole application."""
    app = make_app(BGTASK_IMMEDIATE=True)
    with app.app_context():
        assert bg.submit(where).result(0)[0] == threading.current_thread().name


def test_capture_records_and_runs_nothing(app: Flask, bg: BackgroundTasks) -> None:
    """Jobs can be looked at with their arguments, and run by hand in order."""
    ran: list[str] = []

    @bg.task
    def note(word: str, *, times: int = 1) -> None:
        ran.extend([word] * times)

    with app.app_context(), testing.capture(app) as captured:
        note.submit("a")
        note.using(delay=timedelta(days=1)).submit("b", times=2)
        bg.submit(ran.append, "c")
        assert ran == []
        assert [job.task for job in captured.jobs][:2] == [note.name, note.name]
        assert captured.jobs[1].state == "scheduled"
        assert captured.arguments(captured.jobs[1]) == (("b",), {"times": 2})
        assert captured.arguments(captured.jobs[2]) == (("c",), {})
        captured.run_all()
        assert ran == ["a", "b", "b", "c"]
        assert {job.state for job in captured.jobs} == {"succeeded"}


def test_capture_runs_what_jobs_submit(app: Flask, bg: BackgroundTasks) -> None:
    """``run_all`` goes on until nothing is left."""
    ran: list[int] = []

    def chain(left: int) -> None:
        ran.append(left)
        if left:
            bg.submit(chain, left - 1)

    with app.app_context(), testing.capture(app) as captured:
        bg.submit(chain, 3)
        captured.run_all()
    assert ran == [3, 2, 1, 0]


def test_capture_cancels_the_rest(app: Flask, bg: BackgroundTasks) -> None:
    """What was not run does not run after the block."""
    with app.app_context():
        with testing.capture(app):
            handle = bg.submit(where)
        assert handle.cancelled()


def test_drain_waits_for_the_workers(app: Flask, bg: BackgroundTasks) -> None:
    """All jobs have ended, and the workers take new ones."""
    with app.app_context():
        handles = [bg.submit(where) for _ in range(50)]
        handles.append(bg.using(delay=0.05).submit(where))
        far = bg.using(delay=3600).submit(where)
        assert testing.drain(app)
        assert all(handle.done() for handle in handles)
        assert not far.done()
        assert bg.submit(where).result(PATIENCE)
        far.cancel()


def test_drain_names_what_does_not_end(app: Flask, bg: BackgroundTasks) -> None:
    """A hang fails the test with the task's name."""
    gate = threading.Event()
    with app.app_context():
        handle = bg.using(label="stuck").submit(gate.wait, PATIENCE)
        with pytest.raises(TimeoutError, match=handle.id):
            testing.drain(app, timeout=0.05)
        gate.set()
        testing.drain(app)


def test_record_messages_sees_mail(app: Flask, bg: BackgroundTasks) -> None:
    """Flask-Mail's own test helper works."""
    app.config["MAIL_DEFAULT_SENDER"] = "us@example.com"
    mail = Mail(app)
    with app.app_context(), testing.immediate(app), mail.record_messages() as outbox:
        bg.send_mail(Message("Hello", recipients=["you@example.com"], body="Hi")).result(0)
        assert [message.subject for message in outbox] == ["Hello"]


def test_the_current_app_is_the_real_one(app: Flask, bg: BackgroundTasks) -> None:
    """No proxy is handed to the job."""
    with app.app_context(), testing.immediate(app):
        assert bg.submit(lambda given: given is app, current_app).result(0)
