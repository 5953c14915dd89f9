"""Arguments through ``bg.submit``: what arrives, and what is refused before anything is queued."""

from __future__ import annotations

import io
import logging
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from core_helpers import PATIENCE, add_login
from flask import Flask, current_app, g, request, session
from flask.globals import app_ctx
from flask_login import current_user
from markupsafe import Markup
from werkzeug.datastructures import FileStorage
from werkzeug.local import LocalProxy

from flask_bgtask import ArgumentError, BackgroundTasks, JobFailed, current_job

Apps = Callable[..., Flask]


def keep(*args: Any, **kwargs: Any) -> Any:
    """Gives back what it got."""
    return args, kwargs


async def fetch(url: str) -> str:
    return url


class Machine:
    """An object with an open file, which no other process could use."""

    def __init__(self, path: Path) -> None:
        self.log = path.open("w", encoding="utf-8")

    def run(self) -> str:
        return "ran"


@contextmanager
def refused(bg: BackgroundTasks, path: str, *advice: str) -> Iterator[None]:
    """The submit within raises, names the path, says what to do, and queues nothing."""
    before = [job.id for job in bg.jobs()]
    with pytest.raises(ArgumentError) as caught:
        yield
    error = caught.value
    assert isinstance(error, TypeError)
    assert error.path == path
    assert str(error) == f"{error.path} {error.why}"
    for text in advice:
        assert text in error.why
    assert [job.id for job in bg.jobs()] == before
    assert current_app.extensions["bgtask"].calls == {}


# Refused in every job.


@pytest.mark.parametrize("durable", [False, True])
def test_what_ends_with_the_request_is_refused(
    app: Flask, bg: BackgroundTasks, durable: bool
) -> None:
    """As a proxy and as the object, at any depth, in functions and tasks."""
    task = bg.task(keep, name="keep", durable=durable)
    upload = {"file": (io.BytesIO(b"x"), "a.txt")}
    with app.test_request_context("/", method="POST", data=upload):
        for given, advice in (
            (request, "request.form['name']"),
            (request._get_current_object(), "using(request=True)"),
            (session, "session['cart']"),
            (session._get_current_object(), "session['cart']"),
            (g, "such as g.tenant"),
            (g._get_current_object(), "such as g.tenant"),
            (app_ctx._get_current_object(), "an application context of its own"),
            (request.files["file"], "save it and pass its path"),
            (FileStorage(io.BytesIO()), "pass file.read()"),
            (request.stream, "request.get_data()"),
        ):
            with refused(bg, "args[0]", advice):
                task.submit(given)
            with refused(bg, "kwargs['deep'][0]['a'][1]", advice):
                task.submit(1, deep=[{"a": (1, given)}])


def test_generators_and_coroutines_are_refused(app: Flask, bg: BackgroundTasks) -> None:
    """They would run in another thread's context, or never."""
    pending = fetch("url")
    with app.app_context():
        with refused(bg, "args[0]", "pass a list"):
            bg.submit(keep, (n for n in range(3)))
        with refused(bg, "args[0]", "submit(fetch, url)"):
            bg.submit(keep, pending)
        with refused(bg, "fn", "submit(fetch, url)"):
            bg.submit(pending)  # type: ignore[call-overload]
    pending.close()


def test_connections_are_refused(app: Flask, bg: BackgroundTasks) -> None:
    """Two threads must not share one; also as the object of a method."""
    connection = sqlite3.connect(":memory:")
    try:
        with app.app_context():
            with refused(bg, "kwargs['db']", "open one in the task"):
                bg.submit(keep, db=connection)
            with refused(bg, "fn.__self__", "open one in the task"):
                bg.submit(connection.execute, "select 1")
    finally:
        connection.close()


def test_paths_lead_into_the_function(app: Flask, bg: BackgroundTasks) -> None:
    """Partials at any depth, and the object of a bound method."""
    with app.test_request_context():
        real: Any = request._get_current_object()
        for path, fn in {
            "fn.args[0]": partial(partial(keep, request)),
            "fn.keywords['form']['a'][0]": partial(keep, form={"a": [request]}),
            "fn.__self__": request.get_json,
            "fn.func.__self__": partial(real.get_data),
        }.items():
            with refused(bg, path, "is the request"):
                bg.submit(fn)


def test_a_proxy_that_stands_for_nothing(app: Flask, bg: BackgroundTasks) -> None:
    """Such as ``request`` outside a request, or ``current_job`` outside a job."""
    with app.app_context():
        with refused(bg, "args[0]", "is the request"):
            bg.submit(keep, request)
        with refused(bg, "args[0]", "stands for nothing here"):
            bg.submit(keep, current_job)


def test_map_refuses_too(app: Flask, bg: BackgroundTasks) -> None:
    """The items before the refused one were submitted, and their jobs end as they end."""
    with app.test_request_context():
        with pytest.raises(ArgumentError) as caught:
            bg.map(keep, [1, request])
        assert caught.value.path == "args[0]"
        assert len(bg.jobs()) == 1


def test_what_is_copied_for_retries_is_checked_first(app: Flask, bg: BackgroundTasks) -> None:
    """The order of options makes no difference to what is refused."""
    with app.test_request_context():
        for options in ({"retries": 1}, {"delay": 60}, {"serial": "s"}, {"request": True}):
            with refused(bg, "args[0]", "such as g.tenant"):
                bg.using(**options).submit(keep, g)


# Refused in a job that may leave the process.


def test_what_cannot_leave_is_refused(app: Flask, bg: BackgroundTasks, tmp_path: Path) -> None:
    """In a durable job alone; one that stays gets the object itself."""
    task = bg.task(keep, name="keep")
    with (tmp_path / "file").open("w") as file, socket.socket() as sock, app.app_context():
        for given, advice in (
            (threading.Lock(), "using(serial=…)"),
            (threading.Event(), "task's module"),
            (file, "pass its path"),
            (sock, "open it in the task"),
            (logging.getLogger("x"), "logging.getLogger(name)"),
            (object(), "bg.reference(object"),
            (lambda: 1, "pass a name"),
            (range(3), "pass list"),
        ):
            with refused(bg, "args[0]['x']", "cannot leave this process", advice):
                task.submit({"x": given})
            args, _ = task.using(durable=False).submit({"x": given}).result(PATIENCE)
            assert args[0]["x"] is given


def test_functions_that_cannot_leave(app: Flask, bg: BackgroundTasks, tmp_path: Path) -> None:
    """A bare function of a durable job has to be found by its name; a method by its object."""
    machine = Machine(tmp_path / "log")

    def local() -> None: ...

    durable = bg.using(durable=True)
    try:
        with app.app_context():
            with refused(bg, "fn", "defined inside a function"):
                durable.submit(local)
            with refused(bg, "fn", "a lambda has no name"):
                durable.submit(lambda: 1)
            with refused(bg, "fn.__self__.log", "pass its path"):
                durable.submit(machine.run)
            with refused(bg, "fn.func", "defined inside a function"):
                durable.submit(partial(local))
            assert bg.submit(machine.run).result(PATIENCE) == "ran"
    finally:
        machine.log.close()


def test_a_signature_needs_a_secret_key(make_app: Apps, bg: BackgroundTasks) -> None:
    """A bare function in a store is signed; a task needs no signature."""
    app = make_app()
    app.secret_key = None
    task = bg.task(keep, name="keep")
    with app.app_context():
        with refused(bg, "fn (test_arguments_in_jobs:keep)", "SECRET_KEY", "@bg.task"):
            bg.using(durable=True).submit(keep)
        assert task.submit(1).result(PATIENCE) == ((1,), {})


def test_too_much_is_refused(app: Flask, bg: BackgroundTasks) -> None:
    """A row of the store takes a megabyte."""
    task = bg.task(len, name="length")
    with app.app_context():
        with refused(bg, "arguments", "pass its path or id"):
            task.submit("x" * 2_000_000)
        assert bg.submit(len, "x" * 2_000_000).result(PATIENCE) == 2_000_000


# Proxies.


def test_proxies_are_unwrapped_at_any_depth(app: Flask, bg: BackgroundTasks) -> None:
    """The task gets what they stood for at submit; the caller's containers are not changed."""
    add_login(app)
    mine = LocalProxy(lambda: "the thing")
    given = {"list": [current_app, (mine, {"user": current_user})], "set": frozenset({mine})}

    def kinds(found: Any, *, app: Any) -> list[Any]:
        first, (second, third) = found["list"]
        user = third["user"]
        return [type(first), type(second), type(user).__name__, user.id, found["set"], type(app)]

    with app.test_request_context(headers={"X-User": "7"}):
        result = bg.submit(kinds, given, app=current_app).result(PATIENCE)
    assert result == [Flask, str, "User", "7", frozenset({"the thing"}), Flask]
    assert type(given["list"][0]) is LocalProxy  # type: ignore[index]


def test_proxies_in_the_function(app: Flask, bg: BackgroundTasks) -> None:
    """The function itself, what a method is bound to, and a partial's arguments."""
    with app.test_request_context():
        function = LocalProxy(lambda: keep)
        assert bg.submit(function, 1).result(PATIENCE) == ((1,), {})
        assert bg.submit(current_app.ensure_sync, keep).result(PATIENCE) is keep
        (given,), _ = bg.submit(partial(keep, current_app)).result(PATIENCE)
        assert given is app


def test_the_app_in_a_durable_job(app: Flask, bg: BackgroundTasks) -> None:
    """``current_app`` travels as "the job's app"; another app does not."""
    task = bg.task(lambda given: given is current_app._get_current_object(), name="is_current")
    with app.app_context():
        assert task.submit(current_app).result(PATIENCE) is True
        with refused(bg, "args[0]", "another app"):
            task.submit(Flask("other"))


# What arrives.


def test_one_attempt_gets_the_objects_themselves(app: Flask, bg: BackgroundTasks) -> None:
    """As in the standard library: nothing is copied that need not be."""
    thing, numbers = object(), [1]
    with app.app_context():
        (first, second), _ = bg.submit(keep, thing, numbers).result(PATIENCE)
    assert first is thing
    assert second is numbers


def test_durable_arguments_keep_their_values(app: Flask, bg: BackgroundTasks) -> None:
    """Exactly, with their types; and so do results."""
    given: tuple[Any, ...] = (
        (1, [2, {3}], frozenset({4})),
        {1: "a", (2, 3): b"b", None: 1.5},
        datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        [date(2030, 1, 2), timedelta(microseconds=1), Decimal("1.10"), UUID(int=7)],
        Path("/srv/files"),
        Markup("<b>"),
    )
    task = bg.task(keep, name="keep")
    with app.app_context():
        handle = task.submit(*given, word="ü")
        assert handle.result(PATIENCE) == (given, {"word": "ü"})
        stored = handle.job.result
        assert stored == (given, {"word": "ü"})
        assert [type(value) for value in stored[0]] == [type(value) for value in given]


# References.


class Customer:
    """Something that is found again by its number."""

    known: dict[int, Customer] = {}

    def __init__(self, number: int) -> None:
        self.number = number
        self.known[number] = self

    def greet(self, word: str) -> str:
        return f"{word} {self.number} in {current_app.name}"


@pytest.fixture
def customer(bg: BackgroundTasks) -> Customer:
    bg.reference(Customer, dump=lambda found: found.number, load=Customer.known.__getitem__)
    return Customer(7)


@pytest.mark.parametrize("durable", [False, True])
def test_a_reference(app: Flask, bg: BackgroundTasks, customer: Customer, durable: bool) -> None:
    """The object is dumped at submit and loaded in the task's context, wherever it is."""
    task = bg.task(keep, name="keep", durable=durable)
    with app.app_context():
        args, kwargs = task.submit([customer], deep={"a": (customer,)}).result(PATIENCE)
    assert args == ([customer],)
    assert kwargs == {"deep": {"a": (customer,)}}


@pytest.mark.parametrize("durable", [False, True])
def test_a_method_by_reference(
    app: Flask, bg: BackgroundTasks, customer: Customer, durable: bool
) -> None:
    """It travels as its object and its name."""
    with app.app_context():
        handle = bg.using(durable=durable).submit(customer.greet, "hello")
        assert handle.result(PATIENCE) == "hello 7 in tests"
        assert handle.job.task == "test_arguments_in_jobs:Customer.greet"
        handle = bg.using(durable=durable).submit(partial(customer.greet, word="bye"))
        assert handle.result(PATIENCE) == "bye 7 in tests"


def test_a_task_of_a_bound_method(app: Flask, bg: BackgroundTasks, customer: Customer) -> None:
    """``bg.task(obj.method, name=…)`` is how a method becomes a task."""
    task = bg.task(customer.greet, name="greet")
    with app.app_context():
        assert task.submit("hi").result(PATIENCE) == "hi 7 in tests"


@pytest.mark.parametrize("durable", [False, True])
def test_a_reference_that_is_gone(
    app: Flask, bg: BackgroundTasks, customer: Customer, durable: bool
) -> None:
    """What ``load`` raises is the job's failure."""
    gone = Customer(8)
    task = bg.task(keep, name="keep", durable=durable)
    with app.app_context():
        handle = task.using(delay=0.05).submit(gone)
        del Customer.known[8]
        assert isinstance(handle.exception(PATIENCE), KeyError)
        assert handle.job.state == "failed"


def test_each_attempt_loads_anew(app: Flask, bg: BackgroundTasks) -> None:
    """An attempt gets the object as it is then, as a row from a session of its own."""
    loaded: list[int] = []
    bg.reference(Customer, dump=lambda found: found.number, load=lambda n: loaded.append(n) or n)

    def flaky(number: Any) -> Any:
        if current_job.attempt < 3:
            raise ValueError
        return number

    with app.app_context():
        handle = bg.using(retries=2, backoff=0).submit(flaky, Customer(7))
        assert handle.result(PATIENCE) == 7
    assert loaded == [7, 7, 7]


def test_a_dump_that_fails(app: Flask, bg: BackgroundTasks) -> None:
    """It is an argument that cannot travel, refused at submit."""
    bg.reference(Customer, dump=lambda found: 1 // 0, load=lambda data: data)
    with app.app_context(), refused(bg, "args[0]", "ZeroDivisionError"):
        bg.submit(keep, Customer(7))


# Rows that were tampered with.


def test_a_row_without_its_signature(app: Flask, bg: BackgroundTasks) -> None:
    """A stored row that names a function which ``submit`` did not sign is not executed."""
    runtime = app.extensions["bgtask"]
    with app.app_context():
        handle = bg.using(durable=True, delay=60).submit(keep, 1)
        other = bg.using(durable=True, delay=60).submit(keep, 1)
        for job, columns in (
            (handle, {"task": "test_arguments_in_jobs:fetch"}),
            (other, {"signature": None}),
        ):
            runtime.store.change(job.id, {**columns, "run_at": 0.0})
            runtime.promote()
            error = job.exception(PATIENCE)
            assert "signature" in str(error)
            assert job.job.state == "failed"
            assert isinstance(bg.handle(job.id).exception(), JobFailed)
