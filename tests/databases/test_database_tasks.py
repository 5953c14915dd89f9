"""The same through ``bg.submit``: what a user sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from database_servers import Server
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_bgtask import BackgroundTasks


@dataclass
class Project:
    """An app with a database and background tasks, as in a user's project."""

    app: Flask
    db: SQLAlchemy
    bg: BackgroundTasks
    server: Server

    def idle(self, count: int) -> list[int]:
        """Leave connections in the pool; the server's numbers of them."""
        return self.server.fill_pool(self.db.engine, count)

    def in_use(self) -> int:
        return int(self.db.engine.pool.checkedout())  # type: ignore[attr-defined]

    def one(self) -> int:
        return int(self.db.session.execute(sa.text("SELECT 1")).scalar_one())


@pytest.fixture
def project(server: Server) -> Iterator[Project]:
    app = Flask("project")
    app.config.update(TESTING=True, SQLALCHEMY_DATABASE_URI=server.url)
    db, bg = SQLAlchemy(), BackgroundTasks()
    db.init_app(app)
    bg.init_app(app)
    with app.app_context():
        yield Project(app, db, bg, server)
        bg.shutdown()
        db.session.remove()
        db.engine.dispose()


def test_tasks_survive_that_the_server_dropped_the_idle_connections(project: Project) -> None:
    """ "MySQL server has gone away" is no task's business; no pool setting was made."""
    project.server.kill(project.idle(5))
    handles = [project.bg.submit(project.one) for _ in range(20)]
    assert [handle.result(30) for handle in handles] == [1] * 20


@pytest.mark.parametrize("fails", [False, True])
def test_the_session_is_given_back_before_the_handle_is_done(project: Project, fails: bool) -> None:
    """After a task, also a failed one, the pool has all its connections."""

    def task() -> None:
        project.one()
        assert project.in_use() == 1
        if fails:
            raise ValueError("after the statement")

    error = project.bg.submit(task).exception(30)
    assert isinstance(error, ValueError) if fails else error is None
    assert project.in_use() == 0


def test_a_retry_gets_another_connection(project: Project) -> None:
    """A connection that died in one attempt is not there in the next; each statement went once."""
    sent: list[str] = []
    killed: list[int] = []

    @sa.event.listens_for(project.db.engine, "before_cursor_execute")
    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    def task() -> int:
        number = project.server.id_of(project.db.session)
        if not killed:
            killed.append(number)
            project.server.kill(killed)
        return int(project.db.session.execute(sa.text("SELECT 42")).scalar_one())

    assert project.bg.using(retries=1, backoff=0).submit(task).result(30) == 42
    assert sent.count("SELECT 42") == 2


def test_a_failing_teardown_function_keeps_no_connection(project: Project) -> None:
    """The task's result stands, the failure is logged, and the session is given back."""

    @project.app.teardown_appcontext
    def fail(_: BaseException | None) -> None:
        if project.app.extensions.get("broken"):
            raise RuntimeError("a teardown function that fails")

    project.app.extensions["broken"] = True
    try:
        assert project.bg.submit(project.one).result(30) == 1
        assert project.in_use() == 0
    finally:
        project.app.extensions["broken"] = False
