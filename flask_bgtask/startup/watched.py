"""The apps that are watched in this process, and what is called for them.

Apps are held weakly: one that is dropped takes along what was arranged for it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from weakref import WeakSet

from flask import Flask, request_started

from .. import telling

#: Where an app keeps what was arranged for it, in ``app.extensions``.
KEY = "bgtask.startup"


class Once:
    """Says yes to the first who asks in each process.

    Without a lock, as one that another thread holds during a fork stays locked in the child.
    """

    def __init__(self) -> None:
        self._claims: dict[int, object] = {}

    def claim(self) -> bool:
        """Whether nobody asked before in this process."""
        claim = object()
        return self._claims.setdefault(os.getpid(), claim) is claim

    def claimed(self) -> bool:
        """Whether somebody asked, here or in the process that this one was forked from."""
        return bool(self._claims)

    def renew(self) -> None:
        """In a forked child: forget older claims, as the number of a dead process comes again."""
        self._claims.clear()


class Watch:
    """What was arranged for one app; kept alive by the app alone."""

    def __init__(self, app: Flask, start: Callable[[], object], stop: Callable[[], object]) -> None:
        self.app = app
        self._start = start
        self._stop = stop
        self._begun = Once()

    def wait_for_request(self) -> None:
        """Begin with the next request."""
        request_started.connect(self._on_request, sender=self.app)

    def _on_request(self, _app: Flask, **_: object) -> None:
        self.begin()

    def begin(self) -> None:
        """Start if nobody did in this process; from now on requests pay nothing."""
        if self._begun.claim():
            request_started.disconnect(self._on_request, sender=self.app)
            self._call(self._start)

    def end(self) -> None:
        """Stop what runs for the app in this process."""
        self._call(self._stop)

    def _call(self, function: Callable[[], object]) -> None:
        """A failure is the app's to know of, and not the server's to die of."""
        try:
            function()
        except Exception:
            text = "Background workers: %r failed"
            telling.log(self.app, logging.ERROR, text, function, exc_info=True)

    def after_fork(self, *, serves: bool) -> None:
        """In a forked child: begin if the parent had, else with the first request."""
        begun = self._begun.claimed()
        self._begun.renew()
        self.wait_for_request()
        if begun and serves:
            self.begin()

    def stay_out(self) -> None:
        """In a forked child that answers one request and ends: never begin."""
        self._begun.claim()
        request_started.disconnect(self._on_request, sender=self.app)


#: Every app that is watched in this process.
_watches: WeakSet[Watch] = WeakSet()
_finished = Once()


def add(app: Flask, start: Callable[[], object], stop: Callable[[], object]) -> None:
    """Keep what is to be called for an app; its first request begins."""
    arranged = app.extensions[KEY] = Watch(app, start, stop)
    _watches.add(arranged)
    arranged.wait_for_request()


def watches() -> list[Watch]:
    """What was arranged for the apps of this process that are still there."""
    return list(_watches)


def begin(app: Flask) -> None:
    """Say that this process serves the app; children that are forked off it will do so too."""
    arranged: Watch = app.extensions[KEY]
    arranged.begin()


def begin_all() -> None:
    """Say that this process serves every app that it has."""
    for arranged in watches():
        arranged.begin()


def finish() -> None:
    """Say that this process comes to its end: stop every app, side by side as each may take long.

    Called by whatever hook comes first; later calls in the same process do nothing.
    """
    if not _finished.claim():
        return
    apps = watches()
    waits = [_call_beside(app.end) for app in apps[1:]]
    for app in apps[:1]:
        app.end()
    for wait in waits:
        wait()


def _call_beside(function: Callable[[], None]) -> Callable[[], None]:
    """Call a function on a thread of its own; gives what waits until it is done.

    Late in the interpreter's end, from Python 3.12 on, no thread can be started any more.
    """
    thread = threading.Thread(target=function, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        function()
        return lambda: None
    return thread.join


def renew_finish() -> None:
    """In a forked child: its end is yet to come."""
    _finished.renew()
