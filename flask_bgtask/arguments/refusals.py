"""What is refused in every job, and what it says to do instead."""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

import flask.ctx
from flask.sessions import SessionMixin
from werkzeug.datastructures import FileStorage
from werkzeug.sansio.request import Request
from werkzeug.wsgi import LimitedStream

from .kinds import G_ENDS, REQUEST_ENDS, SESSION_ENDS, derives, loaded

_SESSION = (
    "({name}) is a database session, which two threads must not share: the task has a session of "
    "its own, such as db.session"
)
_CONNECTION = (
    "({name}) is a database connection, which two threads must not share: open one in the task, or "
    "pass the engine (or the URL)"
)
_RESULT = (
    "({name}) reads from a database session, which two threads must not share: pass what it finds, "
    "such as list(…), or query in the task"
)
_CONTEXT = "({name}) ends with the request: the task has an application context of its own"
_UPLOAD = (
    "({name}) is an uploaded file, which closes with the request: save it and pass its path, or "
    "pass file.read()"
)
_BODY = "({name}) is the request's body, which ends with the request: pass request.get_data()"
_GENERATOR = (
    "({name}) would run in the context of another thread: pass a list of what it gives, or make it "
    "in the task"
)
_COROUTINE = (
    "({name}) belongs to where it was made: submit the async function and its arguments, "
    "submit(fetch, url) rather than submit(fetch(url))"
)


def _members(*names: str) -> tuple[type, ...]:
    # Flask is merging its two contexts; a name that is gone, or only left as a deprecated alias,
    # is not asked for.
    return tuple(found for name in names if (found := vars(flask.ctx).get(name)) is not None)


_REQUIRED: tuple[tuple[tuple[type, ...], str], ...] = (
    ((Request,), REQUEST_ENDS),
    ((SessionMixin,), SESSION_ENDS),
    # The class of g has no public name but this one.
    ((flask.Flask.app_ctx_globals_class,), G_ENDS),
    (_members("AppContext", "RequestContext"), _CONTEXT),
    ((FileStorage,), _UPLOAD),
    ((LimitedStream,), _BODY),
    ((GeneratorType, AsyncGeneratorType), _GENERATOR),
    ((CoroutineType,), _COROUTINE),
)

_OPTIONAL: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("sqlalchemy.orm", ("Session", "scoped_session"), _SESSION),
    ("sqlalchemy.ext.asyncio", ("AsyncSession", "async_scoped_session"), _SESSION),
    ("sqlalchemy.engine", ("Connection",), _CONNECTION),
    ("sqlalchemy.ext.asyncio", ("AsyncConnection",), _CONNECTION),
    ("sqlalchemy.engine", ("Result", "ScalarResult", "MappingResult"), _RESULT),
    ("sqlalchemy.orm", ("Query",), _RESULT),
    ("sqlite3", ("Connection", "Cursor"), _CONNECTION),
    ("pymysql.connections", ("Connection",), _CONNECTION),
    ("pymysql.cursors", ("Cursor",), _CONNECTION),
    ("MySQLdb.connections", ("Connection",), _CONNECTION),
    ("MySQLdb.cursors", ("BaseCursor",), _CONNECTION),
    ("psycopg2.extensions", ("connection", "cursor"), _CONNECTION),
    ("psycopg", ("Connection", "AsyncConnection", "Cursor", "AsyncCursor"), _CONNECTION),
)


def refusal(kind: type) -> str | None:
    """Why objects of the type are refused in every job; ``None`` if they are not."""
    for classes, why in _REQUIRED:
        if derives(kind, *classes):
            return why.format(name=kind.__name__)
    for module, names, why in _OPTIONAL:
        if derives(kind, *(loaded(module, name) for name in names)):
            return why.format(name=kind.__name__)
    return None
