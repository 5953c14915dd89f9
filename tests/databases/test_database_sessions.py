"""The Flask-SQLAlchemy session is given back after each task, whatever else goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask, appcontext_pushed
from flask.ctx import AppContext
from flask_sqlalchemy import SQLAlchemy

from flask_bgtask import databases


class Given:
    """An app with a database, and a list of what its teardown functions did."""

    def __init__(self, folder: Path) -> None:
        self.app = Flask("databases_app")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder / 'app.sqlite3'}"
        self.db = SQLAlchemy()
        self.db.init_app(self.app)
        self.torn_down: list[str] = []
        with self.app.app_context():
            self.engine = self.db.engine
            with self.engine.begin() as connection:
                connection.execute(sa.text("CREATE TABLE notes (text TEXT)"))

    def teardown(self, name: str, action: Callable[[], object] = lambda: None) -> None:
        """Register a teardown function; the one registered last runs first."""

        def function(_: BaseException | None) -> None:
            self.torn_down.append(name)
            action()

        self.app.teardown_appcontext(function)

    def in_use(self) -> int:
        """Connections that somebody holds."""
        return int(self.engine.pool.checkedout())  # type: ignore[attr-defined]

    def notes(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text("SELECT text FROM notes")).scalars())

    def run(self, task: Callable[[], object]) -> AppContext:
        """Do with a task what the runner does."""
        context = self.app.app_context()
        with databases.usable_connections():
            context.push()
            error: BaseException | None = None
            try:
                task()
            except Exception as caught:
                error = caught
            try:
                context.pop(error)
            except Exception:
                databases.give_back_sessions(context)
        return context

    def write(self) -> None:
        self.db.session.execute(sa.text("INSERT INTO notes VALUES ('hello')"))


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    given = Given(tmp_path)
    yield given
    given.engine.dispose()


def refuse(*_: object) -> None:
    raise RuntimeError("a teardown function that fails")


def test_the_session_is_given_back(given: Given) -> None:
    """A task that ended well leaves no connection in use."""
    given.run(given.write)
    assert given.in_use() == 0


def test_a_failed_task_gives_its_session_back(given: Given) -> None:
    """What it wrote is rolled back, so that the next task starts clean."""

    def task() -> None:
        given.write()
        raise ValueError("no")

    given.run(task)
    assert given.in_use() == 0
    assert given.notes() == []


def test_a_failing_teardown_function_does_not_keep_the_session(given: Given) -> None:
    """Flask 3.1 stops at it; the session is given back all the same, and nothing ran twice."""
    given.teardown("never reached by Flask 3.1")
    given.teardown("fails", refuse)
    given.teardown("first")
    given.run(given.write)
    assert given.in_use() == 0
    assert given.torn_down[:2] == ["first", "fails"]
    assert len(given.torn_down) == len(set(given.torn_down))


def test_a_failing_teardown_function_leaves_no_session_behind(given: Given) -> None:
    """The registry does not grow, and a later context finds no session of an earlier one."""
    given.teardown("fails", refuse)
    for _ in range(3):
        given.run(given.write)
    registry = given.db.session.registry
    assert isinstance(registry, sa.util.ScopedRegistry)
    assert registry.registry == {}


def test_a_failing_receiver_does_not_keep_the_session(given: Given) -> None:
    """Whoever hears of the context that is pushed to find the session may fail too."""

    def fail(*_: object, **__: object) -> None:
        if given.torn_down:
            raise RuntimeError("a receiver that fails")

    given.teardown("fails", refuse)
    with appcontext_pushed.connected_to(fail, given.app):
        given.run(given.write)
    assert given.torn_down == ["fails"]
    assert given.in_use() == 0


def test_a_session_that_cannot_be_given_back_is_logged(
    given: Given, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The task's own outcome must not suffer from it."""

    def broken() -> None:
        raise ValueError("a session that is beyond repair")

    given.teardown("fails", refuse)
    handler = logging.Handler()
    for handlers in ([], [handler]):  # nor from a handler of the app's log that fails too
        with monkeypatch.context() as patch:
            patch.setattr(given.db.session, "remove", broken)
            patch.setattr(handler, "emit", refuse)
            patch.setattr(given.app.logger, "handlers", handlers)
            given.run(given.write)
        assert "a session that is beyond repair" in caplog.text
        given.db.session.registry.registry.popitem()[1].close()


def test_a_teardown_function_may_still_use_the_session(given: Given) -> None:
    """One that commits what the task wrote gets the task's session: it is not taken too early."""
    given.teardown("commits", given.db.session.commit)
    given.run(given.write)
    assert given.notes() == ["hello"]


def test_an_app_without_a_database_has_nothing_to_give_back() -> None:
    """Nothing is looked for, nothing fails."""
    context = Flask("plain").app_context()
    context.push()
    context.pop(None)
    databases.give_back_sessions(context)


def test_the_context_stays_popped(given: Given) -> None:
    """Giving a session back leaves no app context on the thread."""
    given.teardown("fails", refuse)
    given.run(given.write)
    with pytest.raises(RuntimeError, match="outside of application context"):
        given.db.session.execute(sa.text("SELECT 1"))
