"""Database connections of a task: usable when it gets one, given back when it ends.

A database server drops connections that idle ("MySQL server has gone away"). In a task the pool's
connection is therefore asked for a sign of life before the task gets it, by a listener that
returns at once on every other thread: web requests keep the settings their author chose.

A connection that dies in the task's hands is the task's to know of. SQLAlchemy raises the error
(``connection_invalidated``) and takes another connection once the session is rolled back; no
statement is sent twice, because nobody can tell whether the server had carried it out.

SQLAlchemy is never imported here before the application did so.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any

from . import telling

if TYPE_CHECKING:
    from flask.ctx import AppContext

#: Whether a task runs in this context. A context variable, as it follows the task into its
#: coroutines and into threads that it starts with a copy of its context.
_in_task: ContextVar[bool] = ContextVar("flask_bgtask.in_task", default=False)

_listening = False
#: Guards ``_listening``: SQLAlchemy would call a listener that was added twice two times.
_install_lock = threading.Lock()


def install() -> None:
    """Watch SQLAlchemy's pools, if SQLAlchemy is imported by now. Costs nothing when repeated.

    Listening on the class reaches pools that exist and those still to come.
    """
    global _listening
    if _listening or "sqlalchemy" not in sys.modules:
        return
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    with _install_lock:
        if not _listening:
            # First in line: the application's listeners may send statements over the connection.
            event.listen(Pool, "checkout", _on_checkout, insert=True)
            _listening = True


class UsableConnections:
    """See :func:`usable_connections`; a class, as one is entered for every job."""

    __slots__ = ("_token",)

    _token: Token[bool]

    def __enter__(self) -> None:
        install()
        self._token = _in_task.set(True)

    def __exit__(self, *exc_info: object) -> None:
        _in_task.reset(self._token)


def usable_connections() -> UsableConnections:
    """Check each database connection that is taken from a pool within this ``with`` block.

    Goes around all that one attempt does, the teardown of its app context included.
    """
    return UsableConnections()


def give_back_sessions(context: AppContext) -> None:
    """Remove the Flask-SQLAlchemy session of an app context that ended with an error.

    Flask 3.1 stops at the first teardown function that raises, and the one that removes the
    session may come after it. Call this after ``context.pop()`` raised; removing twice is
    harmless. Raises nothing: what goes wrong is logged.
    """
    extension = context.app.extensions.get("sqlalchemy")
    if extension is None:
        return
    try:
        copy_context().run(_remove_session, context, extension)
    except Exception:
        text = "a task's database session could not be given back"
        telling.log(context.app, logging.ERROR, text, exc_info=True)


def _remove_session(context: AppContext, extension: Any) -> None:
    # The session is found by its app context, which has to be current for that. It is pushed in
    # a copy that is thrown away: popping it would run the teardown functions a second time.
    with suppress(Exception):  # by then it is pushed, but a receiver of Flask's signal failed
        context.push()
    extension.session.remove()


def _on_checkout(connection: Any, record: object, proxy: object) -> None:
    """Tell the pool to take another connection if this one is dead.

    Not only this one is replaced: what the server did to one it probably did to its neighbours
    in the pool, and SQLAlchemy gives up after three dead ones in a row.

    :raises sqlalchemy.exc.InvalidatePoolError: to the pool, which handles it (SQLAlchemy,
        ``PoolEvents.checkout``).
    """
    if _in_task.get() and not _alive(connection, _unchecked_dialect(proxy)):
        from sqlalchemy.exc import InvalidatePoolError

        raise InvalidatePoolError("the database server closed this connection")


def _unchecked_dialect(proxy: object) -> Any:
    """The dialect of a connection that nobody else checks, or ``None``.

    A listener is told the connection but not its dialect, which only private attributes lead to;
    where they are missing, connections go unchecked. With ``pool_pre_ping`` SQLAlchemy has asked
    already. SQLite has no server that could drop a connection, and one in memory must be kept.
    """
    pool = getattr(proxy, "_pool", None)
    dialect = getattr(pool, "_dialect", None)
    if getattr(pool, "_pre_ping", False) or getattr(dialect, "name", None) == "sqlite":
        return None
    return dialect


def _alive(connection: Any, dialect: Any) -> bool:
    """Ask the server for a sign of life.

    An error that the dialect does not call a disconnect says nothing: the task's own statement
    will meet it, if it matters.
    """
    if not hasattr(dialect, "do_ping"):
        return True
    try:
        return bool(dialect.do_ping(connection))
    except Exception as error:
        return not dialect.is_disconnect(error, connection, None)
