"""Arguments through ``bg.submit``: what arrives in the task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from core_helpers import PATIENCE, add_login, refused
from flask import Flask, current_app
from flask_login import current_user
from markupsafe import Markup
from werkzeug.local import LocalProxy

from flask_bgtask import BackgroundTasks, JobFailed, current_job

Apps = Callable[..., Flask]


def keep(*args: Any, **kwargs: Any) -> Any:
    """Gives back what it got."""
    return args, kwargs


async def fetch(url: str) -> str:
    return url


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
