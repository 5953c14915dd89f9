"""Servers that loop in the process that was started: Werkzeug's and waitress."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

from flask import Flask
from werkzeug.local import LocalProxy
from werkzeug.serving import BaseWSGIServer

from .placing import attempt, first
from .watched import watches

#: Objects that are looked into when a Flask app is searched for behind WSGI middleware.
MOST_LOOKED_INTO = 500


def place_werkzeug() -> None:
    """``flask run`` and ``app.run()``; the reloader's parent never enters the loop."""
    if first("werkzeug"):
        _begin_before(BaseWSGIServer, "serve_forever")


def place_waitress() -> None:
    """``waitress-serve`` imports waitress before the app; a script may do so after it."""
    server = sys.modules.get("waitress.server")
    if server is not None and first("waitress"):
        _begin_before(server.BaseWSGIServer, "run")
        _begin_before(server.MultiSocketServer, "run")


def _begin_before(server: Any, loop: str) -> None:
    """Begin the apps that a server serves when it enters its loop.

    Not every app: in a test the server may stand in for a service that the app talks to.
    """
    original = getattr(server, loop)

    @functools.wraps(original)
    def serve(self: Any, *args: Any, **kwargs: Any) -> Any:
        attempt(functools.partial(_begin_behind, self))
        return original(self, *args, **kwargs)

    setattr(server, loop, serve)


def _begin_behind(server: object) -> None:
    watched = watches()
    for app in _flask_apps(server):
        for arranged in watched:
            if arranged.app is app:
                arranged.begin()


def _flask_apps(server: object) -> Iterator[Flask]:
    """The Flask apps that a server holds, behind whatever middleware; nearest first."""
    queue, seen = deque([server]), {id(server)}
    while queue and len(seen) < MOST_LOOKED_INTO:
        holder = queue.popleft()
        if issubclass(type(holder), Flask):
            yield cast(Flask, holder)
            continue
        new = [item for item in _held_by(holder) if id(item) not in seen]
        seen.update(map(id, new))
        queue.extend(new)


def _held_by(holder: Any) -> list[object]:
    """What middleware holds. Its type is asked, as proxies and mocks answer to anything."""
    kind = type(holder)
    if issubclass(kind, LocalProxy | ModuleType | type):
        return []
    if issubclass(kind, MethodType):
        return [holder.__self__]
    if issubclass(kind, FunctionType):
        return [cell.cell_contents for cell in holder.__closure__ or ()]
    if issubclass(kind, dict):
        return list(holder.values())
    try:
        return list(object.__getattribute__(holder, "__dict__").values())
    except AttributeError:
        return []
