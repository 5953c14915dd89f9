"""What no job can carry: refused at submit, with its path and what to do instead."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from argument_models import Address, Point, User, db, keep
from flask import Flask, g, request, session
from flask.globals import app_ctx
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import Codec


def refused(codec: Codec, *args: Any, **kwargs: Any) -> ArgumentError:
    """The error of a call; the same whether the job stays here or leaves."""
    with pytest.raises(ArgumentError) as kept:
        codec.prepare(keep, args, kwargs)
    with pytest.raises(ArgumentError) as sent:
        codec.encode_arguments(args, kwargs)
    assert str(kept.value) == str(sent.value)
    return kept.value


@pytest.fixture
def in_request() -> Iterator[Flask]:
    app = Flask(__name__)
    app.secret_key = "tests only"
    with app.test_request_context("/", method="POST", data={"file": (io.BytesIO(b"x"), "a.txt")}):
        yield app


def test_the_request_is_refused(codec: Codec, in_request: Flask) -> None:
    """As a proxy and as the object: it ends with the response."""
    real = request._get_current_object()
    for given in (request, real, Request(EnvironBuilder().get_environ())):
        error = refused(codec, given)
        assert str(error) == (
            "args[0] is the request, which ends with the response: pass the values you need, such "
            "as request.form['name'], or submit with using(request=True)"
        )


def test_the_session_and_g_are_refused(codec: Codec, in_request: Flask) -> None:
    """As proxies and as the objects, also those of an application's own class."""
    real = session._get_current_object()
    for given in (session, real):
        assert "session['cart']" in str(refused(codec, [given]))
    real = g._get_current_object()
    for given in (g, real):
        error = refused(codec, options={"g": given})
        assert error.path == "kwargs['options']['g']"
        assert "such as g.tenant" in error.why
    in_request.app_ctx_globals_class = type("Own", (), {})
    with in_request.app_context():
        assert "is g" in str(refused(codec, g))


def test_contexts_are_refused(codec: Codec, in_request: Flask) -> None:
    """A task has contexts of its own."""
    assert "ends with the request" in refused(codec, app_ctx).why


def test_uploads_are_refused(codec: Codec, in_request: Flask) -> None:
    """A file upload closes with the request, wherever it is among the arguments."""
    error = refused(codec, [Address(Point(1, request.files["file"]))])
    assert error.path == "args[0][0].street.y"
    assert error.why.startswith("(FileStorage) is an uploaded file")
    assert "save it and pass its path" in error.why
    with pytest.raises(ArgumentError) as caught:
        codec.prepare(keep, (MultiDict({"f": FileStorage(io.BytesIO())}),), {})
    assert caught.value.path == "args[0]['f'][0]"
    assert "request.get_data()" in refused(codec, request.stream).why


def _numbers() -> Iterator[int]:
    yield 1


async def _fetch() -> None: ...


async def _pages() -> AsyncIterator[int]:
    yield 1


def test_generators_and_coroutines_are_refused(codec: Codec) -> None:
    """They would run in another thread's context, or never."""
    assert "pass a list" in refused(codec, (number for number in "abc")).why
    assert refused(codec, k=_numbers()).path == "kwargs['k']"
    assert "pass a list" in refused(codec, _pages()).why
    coroutine = _fetch()
    assert "submit(fetch, url)" in refused(codec, coroutine).why
    with pytest.raises(ArgumentError) as caught:
        codec.prepare(coroutine, (), {})
    assert caught.value.path == "fn"
    coroutine.close()


def test_database_sessions_are_refused(codec: Codec, shop: Flask) -> None:
    """Two threads in one session can crash the interpreter."""
    factory = sessionmaker(db.engine)
    with factory() as own, Session(db.engine) as plain:
        for given in (db.session, own, plain, scoped_session(factory), AsyncSession()):
            error = refused(codec, {"s": given})
            assert error.path == "args[0]['s']"
            assert "such as db.session" in error.why
    assert "list(…)" in refused(codec, User.query).why
    assert "list(…)" in refused(codec, db.session.execute(select(User))).why
    assert "list(…)" in refused(codec, db.session.scalars(select(User))).why


def test_database_connections_are_refused(codec: Codec, shop: Flask) -> None:
    """SQLAlchemy's and the driver's own; an engine may be shared, in this process."""
    with db.engine.connect() as connection:
        assert "pass the engine" in refused(codec, connection).why
    raw = sqlite3.connect(":memory:")
    try:
        assert "(Connection) is a database connection" in str(refused(codec, raw))
        assert "(Cursor) is a database connection" in str(refused(codec, raw.cursor()))
        with pytest.raises(ArgumentError) as caught:
            codec.prepare(raw.execute, ("select 1",), {})
        assert caught.value.path == "fn.__self__"
    finally:
        raw.close()
    engine = create_engine("sqlite://")
    assert codec.prepare(keep, (engine,), {}).attempt()[1][0] is engine


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pymysql.connections", "Connection"),
        ("pymysql.cursors", "Cursor"),
        ("psycopg", "Connection"),
        ("psycopg", "Cursor"),
    ],
)
def test_drivers_are_recognised(codec: Codec, module: str, name: str) -> None:
    """By the classes of whatever driver is loaded, and their subclasses."""
    base = getattr(pytest.importorskip(module), name)
    derived = type(
        "Derived", (base,), {"__init__": lambda self: None, "__del__": lambda self: None}
    )
    assert "(Derived) is a database connection" in str(refused(codec, derived()))


def test_paths_lead_into_the_function(codec: Codec, in_request: Flask) -> None:
    """Partials at any depth, and the object of a bound method."""
    real: Any = request._get_current_object()
    cases = {
        "fn.args[0]": partial(partial(keep, request)),
        "fn.keywords['form']['a'][0]": partial(keep, form={"a": [request]}),
        "fn.__self__": real.get_data,
        "fn.func.__self__": partial(real.get_data),
    }
    for path, fn in cases.items():
        with pytest.raises(ArgumentError) as caught:
            codec.prepare(fn, (), {})
        assert caught.value.path == path


def test_paths_show_keys(codec: Codec, in_request: Flask) -> None:
    """Plain keys as they are, long ones cut, of others the class; keys and members of sets too."""
    cases: list[tuple[str, Any]] = [
        ("args[0][1]", {1: g}),
        ("args[0][<Point>]", {Point(1, 2): g}),
        ("args[0].keys()[1]", {1: 2, request: 3}),
        ("args[0]{…}", {request}),
        ("args[0][0][0]", [(g,)]),
    ]
    for path, given in cases:
        assert refused(codec, given).path == path
    long = refused(codec, {"x" * 500: g}).path
    assert len(long) < 80
    assert long.endswith("…]")


def test_long_paths_are_cut(codec: Codec, in_request: Flask) -> None:
    """The beginning and the end say where to look."""
    deep: Any = g
    for level in range(60):
        deep = {str(level): deep}
    path = refused(codec, deep).path
    assert path.startswith("args[0]['59']")
    assert path.endswith("['0']")
    assert len(path) < 150
