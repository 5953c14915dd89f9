"""What all tests share: apps that are shut down, and guards against what leaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, has_app_context, has_request_context

from flask_bgtask import BackgroundTasks

#: Seconds after which a wait counts as a hang.
PATIENCE = 20.0

AppFactory = Callable[..., Flask]


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread running or a context pushed."""
    before = set(threading.enumerate())
    yield
    assert not has_app_context(), "the test left an app context pushed"
    assert not has_request_context(), "the test left a request context pushed"
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
    for thread in left:
        thread.join(5.0)
    left = [thread for thread in left if thread.is_alive()]
    assert not left, f"the test left threads running: {left}"


@pytest.fixture
def bg() -> Iterator[BackgroundTasks]:
    """An extension object whose apps are shut down at the end."""
    extension = BackgroundTasks()
    yield extension
    extension.shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def make_app(bg: BackgroundTasks, tmp_path: Any) -> AppFactory:
    """Makes apps on ``bg``: ``make_app("name", KEY=value)``."""

    def make(name: str = "tests", **config: Any) -> Flask:
        app = Flask(name, instance_path=str(tmp_path / "instance"), root_path=str(tmp_path))
        app.config.update(TESTING=True, SECRET_KEY="tests only", **config)
        bg.init_app(app)
        return app

    return make


@pytest.fixture
def app(make_app: AppFactory) -> Flask:
    """One app with one ``bg`` and four workers."""
    return make_app()
