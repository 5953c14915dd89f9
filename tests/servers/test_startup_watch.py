"""What is arranged for an app: called once, dropped with the app, and never in a server's way."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from types import ModuleType
from typing import Any

import pytest
from flask import Flask, request_started
from werkzeug.serving import make_server

from flask_bgtask import startup
from flask_bgtask.startup import placing, watched


def make_app(starts: list[str], name: str = "watched_app") -> Flask:
    """An app that notes each start under its name."""
    app = Flask(name)

    @app.route("/")
    def index() -> str:
        return "hello"

    startup.watch(app, lambda: starts.append(app.name), int)
    return app


def test_the_first_request_starts_once() -> None:
    """However many first requests come together."""
    starts: list[str] = []
    app = make_app(starts)
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait(10)
        assert app.test_client().get("/").text == "hello"

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert starts == ["watched_app"]


def test_later_requests_pay_nothing() -> None:
    """Nobody listens to an app's requests once it started."""
    app = make_app([])
    assert list(request_started.receivers_for(app))
    app.test_client().get("/")
    assert not list(request_started.receivers_for(app))


def test_the_start_comes_before_the_apps_own_functions() -> None:
    """A ``before_request`` function finds the workers started."""
    starts: list[str] = []
    app = make_app(starts)
    seen: list[list[str]] = []
    app.before_request(lambda: seen.append(list(starts)))
    app.test_client().get("/")
    assert seen == [["watched_app"]]


def test_an_app_starts_for_itself_alone() -> None:
    """A request to one app says nothing of another one."""
    starts: list[str] = []
    apps = [make_app(starts, name) for name in ("one", "two")]
    apps[1].test_client().get("/")
    assert starts == ["two"]


def test_a_start_that_fails_is_logged_and_the_request_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server must not die of it, and it is not tried with every request."""
    app = Flask("failing_app")
    app.add_url_rule("/", view_func=lambda: "hello")

    def fail() -> None:
        raise ValueError("no workers today")

    startup.watch(app, fail, int)
    for _ in range(2):
        assert app.test_client().get("/").text == "hello"
    [record] = caplog.records
    assert record.name == "failing_app"
    assert "no workers today" in caplog.text


def test_a_start_that_fails_with_the_log_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler of the app's log that raises ends no server either."""
    app = Flask("failing_app")
    app.add_url_rule("/", view_func=lambda: "hello")
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda _: 1 / 0)
    monkeypatch.setattr(app.logger, "handlers", [handler])
    startup.watch(app, lambda: 1 / 0, int)
    assert app.test_client().get("/").text == "hello"


def test_a_dropped_app_leaves_nothing_behind() -> None:
    """Hundreds of apps in a test session: no hook, no receiver and no app stays."""
    gc.collect()
    receivers, arranged = len(request_started.receivers), len(watched.watches())

    def make_and_drop() -> weakref.ref[Flask]:
        app = make_app([])
        startup.begin(app)
        return weakref.ref(app)

    dropped = [make_and_drop() for _ in range(100)]
    dropped += [weakref.ref(make_app([])) for _ in range(100)]
    gc.collect()
    assert not any(ref() for ref in dropped)
    assert len(request_started.receivers) == receivers
    assert len(watched.watches()) == arranged


def test_only_the_served_app_starts() -> None:
    """Werkzeug's server tells which app it serves; others of the process wait."""
    starts: list[str] = []
    served, other = (make_app(starts, name) for name in ("served", "other"))
    server = make_server("127.0.0.1", 0, served.wsgi_app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.shutdown()
    thread.join(10)
    assert starts == ["served"]
    assert list(request_started.receivers_for(other))


def test_a_server_of_another_make_leaves_the_first_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook that cannot be placed is noted for who debugs, and harms nobody."""
    monkeypatch.delitem(placing._placed, "waitress", raising=False)
    monkeypatch.setitem(sys.modules, "waitress.server", ModuleType("waitress.server"))
    caplog.set_level(logging.DEBUG)
    starts: list[str] = []
    app = make_app(starts)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "the first request tells" in caplog.text
    app.test_client().get("/")
    assert starts == ["watched_app"]


def test_middleware_that_cannot_be_looked_into_leaves_the_first_request() -> None:
    """The server serves, whatever it was given."""
    starts: list[str] = []
    app = make_app(starts)

    class Slots:
        __slots__ = ("inner",)

        def __init__(self, inner: Flask) -> None:
            self.inner = inner

        def __call__(self, environ: Any, start_response: Any) -> object:
            return self.inner(environ, start_response)

    server = make_server("127.0.0.1", 0, Slots(app))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.shutdown()
    thread.join(10)
    assert starts == []
    app.test_client().get("/")
    assert starts == ["watched_app"]


def test_begin_by_hand_starts_once() -> None:
    """``begin`` and a request after it: one start."""
    starts: list[str] = []
    app = make_app(starts)
    startup.begin(app)
    startup.begin(app)
    app.test_client().get("/")
    assert starts == ["watched_app"]


def test_the_number_of_a_dead_process_may_come_again() -> None:
    """What an earlier process of this number did counts for nothing in a forked child."""
    once = watched.Once()
    assert once.claim()
    assert not once.claim()
    assert once.claimed()
    once.renew()
    assert not once.claimed()
    assert once.claim()
