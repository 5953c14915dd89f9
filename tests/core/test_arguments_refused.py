"""Arguments that are refused at ``bg.submit``, before anything is queued."""

from __future__ import annotations

import io
import logging
import socket
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from core_helpers import PATIENCE, refused
from flask import Flask, g, request, session
from flask.globals import app_ctx
from werkzeug.datastructures import FileStorage

from flask_bgtask import ArgumentError, BackgroundTasks, current_job

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
        with refused(bg, "fn (test_arguments_refused:keep)", "SECRET_KEY", "@bg.task"):
            bg.using(durable=True).submit(keep)
        assert task.submit(1).result(PATIENCE) == ((1,), {})


def test_too_much_is_refused(app: Flask, bg: BackgroundTasks) -> None:
    """A row of the store takes a megabyte."""
    task = bg.task(len, name="length")
    with app.app_context():
        with refused(bg, "arguments", "pass its path or id"):
            task.submit("x" * 2_000_000)
        assert bg.submit(len, "x" * 2_000_000).result(PATIENCE) == 2_000_000
