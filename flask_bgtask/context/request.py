"""A frozen snapshot of a request, and what is left of the request in a task."""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn

from flask import Flask, Request, session
from flask.sessions import SessionMixin

from .flasks import current_request_context

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Headers that a durable job leaves out: a stored row must not log anybody in.
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})

#: Keys of a WSGI environment (PEP 3333) that say where the application is reached.
_WHERE = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")
_where: Callable[[WSGIEnvironment], tuple[str, ...]] = itemgetter(*_WHERE)


def request_of(app: Flask) -> Request | None:
    """The current request, if it is one of this app.

    Another app's context may be pushed within a request; its tasks have no part in it.
    """
    context = current_request_context()
    if context is None or context.app is not app:
        return None
    request: Request = context.request
    return request


def where_reached(request: Request) -> Sequence[str]:
    """Scheme, host, server, port and script root by which a request came."""
    environ = request.environ
    try:
        return _where(environ)  # one call, as every submit in a request pays for it
    except KeyError:  # a server may leave out what is empty, and a client the host
        return [environ.get(key, "") for key in _WHERE]


def environ_at(where: Sequence[str]) -> WSGIEnvironment:
    """The environment (PEP 3333) of a request to the root, reached as another one was."""
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    environ.update(zip(_WHERE, where, strict=True))
    if not environ["HTTP_HOST"]:
        del environ["HTTP_HOST"]
    return environ


def freeze_request(request: Request, *, credentials: bool) -> dict[str, Any]:
    """Method, URL, headers, client address and session of the current request; not its body.

    :param credentials: whether cookies and authorization headers come along.
    """
    headers = [
        [name, value]
        for name, value in request.headers.items()
        if credentials or name.lower() not in CREDENTIALS
    ]
    return {
        "method": request.method,
        "path": request.environ.get("PATH_INFO", "/"),
        "query": request.environ.get("QUERY_STRING", ""),
        "where": where_reached(request),
        "headers": headers,
        "address": request.remote_addr,
        "session": _private(session) if session else {},
    }


def _private(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session whose lists and dictionaries nobody else changes."""
    values = dict(session)
    try:
        return copy.deepcopy(values)
    except Exception:
        return values  # a session that is kept on the server may hold anything


class FrozenSession(dict[str, Any], SessionMixin):
    """The session as it was when the job was submitted; it cannot be changed."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "the session of a background task is a snapshot and cannot be changed: the response "
            "with its cookie is gone; keep what the task finds in the database or its result"
        )

    __setitem__ = __delitem__ = clear = pop = popitem = update = _refuse
    setdefault = __ior__ = _refuse


@contextmanager
def thaw_request(app: Flask, frozen: dict[str, Any], failed: Callable[[], None]) -> Iterator[None]:
    """Work as if within the frozen request.

    :param failed: called where a teardown function of the request failed, to log that.
    """
    environ = environ_at(frozen["where"])
    environ["REQUEST_METHOD"] = frozen["method"]
    environ["PATH_INFO"] = frozen["path"]
    environ["QUERY_STRING"] = frozen["query"]
    if frozen["address"] is not None:
        environ["REMOTE_ADDR"] = frozen["address"]
    for name, value in frozen["headers"]:
        key = name.upper().replace("-", "_")
        if key == "CONTENT_LENGTH":
            continue  # the body did not come along
        if key != "CONTENT_TYPE":
            key = "HTTP_" + key
        environ.setdefault(key, value)
    context = app.request_context(environ)
    _give_session(context, FrozenSession(_private(frozen["session"])))
    context.push()
    try:
        yield
    finally:
        _pop(context, sys.exc_info()[1], failed)


def _pop(context: Any, error: BaseException | None, failed: Callable[[], None]) -> None:
    """Run the teardown functions of the request; an error of theirs changes no result."""
    try:
        context.pop(error)
    except BaseException:
        failed()


def _give_session(context: Any, frozen: FrozenSession) -> None:
    """Set the session before the context would open one from a cookie.

    Flask has no public way to open a context with a given session: the attribute is ``_session``
    from 3.1.1 on, ``session`` before.
    """
    name = "_session" if "_session" in vars(context) else "session"
    setattr(context, name, frozen)
