"""What surrounds a task: an app context of its own and the submitter's context variables."""

from __future__ import annotations

import contextvars
import decimal
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask, current_app, g, has_app_context, has_request_context, request
from flask.signals import appcontext_pushed
from flask_mail import Mail, Message

from flask_bgtask import BackgroundTasks, current_job
from flask_bgtask.signals import job_succeeded

Apps = Callable[..., Flask]

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def test_the_task_has_the_real_app(app: Flask, bg: BackgroundTasks) -> None:
    """``current_app`` is the submitter's, captured as the object and not as a proxy."""
    with app.test_request_context():
        assert bg.submit(current_app._get_current_object).result(PATIENCE) is app


def test_the_app_is_that_of_the_submit(make_app: Apps, bg: BackgroundTasks) -> None:
    """Another app that is current when the task runs makes no difference."""
    one, two = make_app("one", BGTASK_WORKERS=1), make_app("two", BGTASK_WORKERS=1)
    gate = Gate()
    with one.app_context():
        bg.submit(gate)
        handle = bg.submit(lambda: current_app.name)
    with two.app_context():
        gate.open()
        assert handle.result(PATIENCE) == "one"


def send_async_email(app: Flask, message: Message) -> type:
    """The Flasky book's own function, which works with the app it is given."""
    with app.app_context():
        current_app.extensions["mail"].send(message)
    return type(app)


def test_the_book_s_own_code_works(make_app: Apps, bg: BackgroundTasks) -> None:
    """``bg.submit(send_async_email, current_app, msg)``, with the proxy given as the app."""
    app = make_app(MAIL_DEFAULT_SENDER="flasky@example.org")
    mail = Mail(app)

    @app.post("/register")
    def register() -> str:
        message = Message("Welcome", recipients=["ann@example.org"], body="Hello")
        return bg.submit(send_async_email, current_app, message).id

    with mail.record_messages() as outbox, hearing(job_succeeded, app) as heard:
        job_id = app.test_client().post("/register").text
        assert heard.wait()[0].id == job_id
    assert [message.recipients for message in outbox] == [["ann@example.org"]]
    with app.app_context():
        message = Message("Again", recipients=["bob@example.org"])
        assert bg.submit(send_async_email, current_app, message).result(PATIENCE) is Flask


def test_context_variables_are_copied(app: Flask, bg: BackgroundTasks) -> None:
    """The task sees them as they were at submit."""
    gate = Gate()

    def look() -> str:
        gate()
        return tenant.get()

    with app.app_context():
        token = tenant.set("ann")
        handle = bg.submit(look)
        tenant.set("bob")
        gate.open()
        assert handle.result(PATIENCE) == "ann"
        tenant.reset(token)


def test_flask_s_own_variables_are_not(app: Flask, bg: BackgroundTasks) -> None:
    """There is an app context in the task, and no request context."""

    def look() -> tuple[bool, bool, str]:
        try:
            request.path  # noqa: B018
        except RuntimeError as error:
            return has_app_context(), has_request_context(), str(error)
        return has_app_context(), has_request_context(), ""

    with app.test_request_context("/here"):
        with_app, with_request, message = bg.submit(look).result(PATIENCE)
    assert (with_app, with_request) == (True, False)
    assert "request" in message


@pytest.mark.parametrize("options", [{}, {"request": True}, {"retries": 1}, {"durable": True}])
def test_a_waiting_job_does_not_keep_the_request(
    make_app: Apps, bg: BackgroundTasks, options: dict[str, Any]
) -> None:
    """The request and its environment can be collected while the job still waits."""
    app = make_app(BGTASK_WORKERS=1)
    gate, collected, handles = Gate(), threading.Event(), []
    task = bg.task(len, name="length", **{"durable": False, **options})

    @app.post("/")
    def view() -> str:
        weakref.finalize(request._get_current_object(), collected.set)
        g.big = "kept by the context"
        handles.append(task.submit("abc"))
        return "ok"

    with app.app_context():
        bg.submit(gate)
        assert gate.began()
    assert app.test_client().post("/").text == "ok"
    gc.collect()
    assert collected.wait(PATIENCE)
    assert not handles[0].done()
    gate.open()
    assert handles[0].result(PATIENCE) == 3


def test_a_change_is_not_seen_by_others(make_app: Apps, bg: BackgroundTasks) -> None:
    """Neither by the submitter, nor by the next job on the same thread."""
    app = make_app(BGTASK_WORKERS=1)

    def change(name: str) -> tuple[int, str]:
        before = tenant.get()
        tenant.set(name)
        return threading.get_ident(), before

    def submit_with(name: str) -> tuple[int, str]:
        return bg.submit(change, name).result(PATIENCE)

    with app.app_context():
        first = submit_with("changed")
        assert tenant.get() == "nobody"
        second = submit_with("changed again")
        inside = contextvars.copy_context()
        inside.run(tenant.set, "ann")
        third = inside.run(submit_with, "and again")
    assert [first[1], second[1], third[1]] == ["nobody", "nobody", "ann"]
    assert first[0] == second[0] == third[0]


def test_the_decimal_context_is_the_task_s_own(make_app: Apps, bg: BackgroundTasks) -> None:
    """Its settings are those of the submitter; it is another object in each job."""
    app = make_app(BGTASK_WORKERS=1)

    def change(precision: int) -> tuple[int, int]:
        context = decimal.getcontext()
        before, context.prec = context.prec, precision
        return id(context), before

    def submitter() -> list[tuple[int, int]]:
        decimal.getcontext().prec = 7
        mine = (id(decimal.getcontext()), decimal.getcontext().prec)
        jobs = [bg.submit(change, prec).result(PATIENCE) for prec in (11, 13)]
        return [mine, *jobs, (0, decimal.getcontext().prec)]

    with app.app_context(), decimal.localcontext():
        mine, first, second, after = submitter()
    assert [first[1], second[1], after[1]] == [7, 7, 7]
    assert mine[0] not in (first[0], second[0])


def test_g_is_new(make_app: Apps, bg: BackgroundTasks) -> None:
    """Nothing of the submitter's ``g``, nor of an earlier job's."""
    app = make_app(BGTASK_WORKERS=1)

    def look() -> list[str]:
        found = list(g)
        g.mine = 1
        return found

    with app.app_context():
        g.theirs = 1
        assert bg.submit(look).result(PATIENCE) == []
        assert bg.submit(look).result(PATIENCE) == []
        assert list(g) == ["theirs"]


def test_teardown_once_and_before_the_result(app: Flask, bg: BackgroundTasks) -> None:
    """With the task's exception; the handle is not done until it has run."""
    error, gate, seen = ValueError("mine"), Gate(), []

    @app.teardown_appcontext
    def teardown(given: BaseException | None) -> None:
        if current_job:
            seen.append(given)
            gate()

    def fail() -> None:
        raise error

    with app.app_context():
        handle = bg.submit(fail)
        assert gate.began()
        assert not handle.done()
        gate.open()
        assert handle.exception(PATIENCE) is error
        assert seen == [error]
        bg.submit(int).result(PATIENCE)
        assert seen == [error, None]


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_a_failing_teardown_changes_no_result(
    app: Flask, bg: BackgroundTasks, caplog: Any, kind: type[BaseException]
) -> None:
    """Its error is logged, whatever it is, and the job ends as its task ended."""

    @app.teardown_appcontext
    def teardown(_: BaseException | None) -> None:
        if current_job:
            raise kind("teardown")

    def fail() -> None:
        raise ValueError("the task's own")

    with app.app_context(), caplog.at_level(logging.ERROR):
        assert bg.submit(int, "3").result(PATIENCE) == 3
        [record] = caplog.records
        assert "teardown" in record.getMessage()
        assert record.name == app.logger.name
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], kind)
        caplog.clear()
        handle = bg.submit(fail)
        assert isinstance(handle.exception(PATIENCE), ValueError)
        assert handle.job.state == "failed"
        assert len(caplog.records) == 2  # the teardown's error, and the job's failure


def test_a_context_that_cannot_be_pushed_fails_the_job(app: Flask, bg: BackgroundTasks) -> None:
    """What is connected to Flask's own signals may fail; the job ends with that error."""

    def refuse(sender: Flask, **_: Any) -> None:
        if current_job:
            raise LookupError("no such tenant")

    with app.app_context(), appcontext_pushed.connected_to(refuse, app):
        handle = bg.submit(int)
        assert isinstance(handle.exception(PATIENCE), LookupError)
        assert handle.job.state == "failed"
    with app.app_context():
        assert bg.submit(has_app_context).result(PATIENCE) is True


def test_a_task_that_leaves_a_context_pushed(make_app: Apps, bg: BackgroundTasks) -> None:
    """It keeps its result, and the next job on the thread does not see that context."""
    app, other = make_app(BGTASK_WORKERS=1), Flask("other")

    def careless() -> str:
        other.app_context().push()
        return current_app.name

    with app.app_context():
        assert bg.submit(careless).result(PATIENCE) == "other"
        assert bg.submit(lambda: current_app.name).result(PATIENCE) == "tests"


def test_nothing_is_left_on_a_thread(make_app: Apps, bg: BackgroundTasks) -> None:
    """Between jobs, and from their start on, the threads have an empty context."""
    app = make_app(BGTASK_WORKERS=1)
    left: list[set[str]] = []
    listened = threading.Event()

    def listen(sender: Flask, **_: Any) -> None:
        left.append({variable.name for variable in contextvars.copy_context()})
        listened.set()

    def change() -> None:
        tenant.set("the task's")
        decimal.getcontext().prec = 3
        g.left = 1

    token = tenant.set("of whoever started the thread")
    with app.test_request_context(), job_succeeded.connected_to(listen, app):
        bg.submit(change).result(PATIENCE)
        assert listened.wait(PATIENCE)
    tenant.reset(token)
    # A receiver has an app context of its own.
    assert left == [{"flask.app_ctx"}]
