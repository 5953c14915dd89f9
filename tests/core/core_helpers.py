"""What the tests of the core share: gates that hold workers, ears for signals, apps with users."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blinker import NamedSignal
from flask import Flask, current_app
from flask_login import LoginManager, UserMixin

from flask_bgtask import ArgumentError, BackgroundTasks

#: Seconds after which a wait counts as a hang.
PATIENCE = 20.0


class Gate:
    """A job that keeps its worker busy until it is opened."""

    def __init__(self) -> None:
        self._began = threading.Event()
        self._opened = threading.Event()

    def __call__(self, result: Any = None) -> Any:
        self._began.set()
        if not self._opened.wait(PATIENCE):
            raise TimeoutError("the gate was never opened")
        return result

    def began(self) -> bool:
        """Whether a worker is held, after waiting for it."""
        return self._began.wait(PATIENCE)

    def open(self) -> None:
        """Let the worker go on."""
        self._opened.set()


class Heard:
    """Jobs that a signal told of, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards the list
        self.jobs: list[Any] = []

    def __call__(self, sender: Any, *, job: Any, **data: Any) -> None:
        with self._changed:
            self.jobs.append(job)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[Any]:
        """The jobs, once there are ``count``."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.jobs) >= count, PATIENCE)
            assert enough, f"{count} were expected, and there are {self.jobs}"
            return list(self.jobs)


@contextmanager
def hearing(signal: NamedSignal, app: Flask) -> Iterator[Heard]:
    """Collect what a signal of an app tells."""
    heard = Heard()
    with signal.connected_to(heard, app):
        yield heard


@contextmanager
def refused(bg: BackgroundTasks, path: str, *advice: str) -> Iterator[None]:
    """The submit within raises, names the path, says what to do, and queues nothing."""
    before = [job.id for job in bg.jobs()]
    with pytest.raises(ArgumentError) as caught:
        yield
    error = caught.value
    assert isinstance(error, TypeError)
    assert error.path == path
    assert str(error) == f"{error.path} {error.why}"
    for text in advice:
        assert text in error.why
    assert [job.id for job in bg.jobs()] == before
    assert current_app.extensions["bgtask"].calls == {}


class User(UserMixin):
    """A user of whom only the id is known."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id


def add_login(app: Flask) -> None:
    """Flask-Login, by a header ``X-User`` or a token that is the id, or by the session."""
    manager = LoginManager(app)
    manager.user_loader(User)

    @manager.request_loader
    def load(request: Any) -> User | None:
        token = request.authorization and request.authorization.token
        name = request.headers.get("X-User") or token
        return User(name) if name else None
