"""``after_commit``: the job exists only if the session commits."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any, ClassVar

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_bgtask import ArgumentError, BackgroundTasks, ConfigError, DuplicateJob, JobNotFound

PATIENCE = 20.0


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):  # type: ignore[name-defined,misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def name_of(user: User) -> str:
    return user.name


class AfterCommitContract:
    """Runs over every store, for durable and other jobs."""

    config: ClassVar[dict[str, Any]]

    @pytest.fixture
    def app(self, make_app: Any, tmp_path: Any) -> Iterator[Flask]:
        app: Flask = make_app(
            **self.config, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/app.sqlite3"
        )
        db.init_app(app)
        with app.app_context():
            db.create_all()
            yield app
            db.session.remove()
            db.engine.dispose()

    @pytest.fixture(params=[True, False], ids=["durable", "volatile"])
    def submitter(self, request: pytest.FixtureRequest, bg: BackgroundTasks) -> Any:
        return bg.task(name_of, name="name_of", durable=request.param).using(after_commit=True)

    def test_a_new_row_is_there(self, app: Flask, bg: BackgroundTasks, submitter: Any) -> None:
        """A row that was new at submit is found by the task; before the commit there is no job."""
        user = User(name="Ada")
        db.session.add(user)
        handle = submitter.submit(user)
        assert not bg.jobs().items
        with pytest.raises(JobNotFound):
            bg.get(handle.id)
        db.session.commit()
        assert handle.result(PATIENCE) == "Ada"
        assert bg.get(handle.id).state == "succeeded"

    def test_a_rollback_cancels(self, app: Flask, bg: BackgroundTasks, submitter: Any) -> None:
        """The job never existed."""
        user = User(name="Ada")
        db.session.add(user)
        handle = submitter.submit(user)
        db.session.rollback()
        with pytest.raises(CancelledError):
            handle.result(0)
        assert not bg.jobs().items
        db.session.commit()
        assert not bg.jobs().items

    def test_the_end_of_the_context_cancels(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """A session that is closed without a commit commits nothing."""
        with app.app_context():
            user = User(name="Ada")
            db.session.add(user)
            handle = submitter.submit(user)
        assert handle.cancelled()

    def test_a_context_that_touches_no_row_cancels(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """A session that is closed before it began a transaction commits nothing either."""
        with app.app_context():
            handle = submitter.submit("Ada")
            assert not handle.done()
        assert handle.cancelled()
        assert not bg.jobs().items
        assert not app.extensions["bgtask"].deferred

    def test_a_commit_that_touches_no_row(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """It is a commit."""
        with app.app_context():
            handle = bg.using(after_commit=True).submit(max, 1, 2)
            db.session.commit()
        assert handle.result(PATIENCE) == 2

    def test_a_session_that_outlasts_the_context(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """What it has begun counts, whenever it ends."""
        with Session(db.engine) as session:
            with app.app_context():
                handle = bg.using(after_commit=session).submit(max, 1, 2)
                session.add(User(name="Ada"))
            assert not handle.done()
            session.commit()
            assert handle.result(PATIENCE) == 2

    def test_savepoints(self, app: Flask, bg: BackgroundTasks, submitter: Any) -> None:
        """The rollback of a savepoint cancels what was submitted within it, and that alone."""
        users = [User(name=name) for name in ("outer", "kept", "undone", "deep")]
        db.session.add(users[0])
        handles = [submitter.submit(users[0])]
        with db.session.begin_nested():
            db.session.add(users[1])
            handles.append(submitter.submit(users[1]))
        with pytest.raises(ZeroDivisionError), db.session.begin_nested():
            db.session.add(users[2])
            handles.append(submitter.submit(users[2]))
            with db.session.begin_nested():
                db.session.add(users[3])
                handles.append(submitter.submit(users[3]))
            raise ZeroDivisionError
        assert [handle.cancelled() for handle in handles] == [False, False, True, True]
        assert not bg.jobs().items
        db.session.commit()
        assert [handle.result(PATIENCE) for handle in handles[:2]] == ["outer", "kept"]
        assert len(bg.jobs()) == 2

    def test_arguments_are_as_at_submit(self, app: Flask, bg: BackgroundTasks) -> None:
        """What is changed between submit and commit does not matter."""
        given = [1, 2]
        for durable in (True, False):
            task = bg.task(sum, name="sum", durable=durable)
            handle = task.using(after_commit=True).submit(given)
            given.append(3)
            db.session.commit()
            assert handle.result(PATIENCE) == 3
            given.pop()

    def test_what_cannot_travel_is_refused_at_submit(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """As without the option; the commit is not disturbed."""
        with pytest.raises(ArgumentError, match=r"args\[0\]"):
            submitter.submit(n for n in range(3))
        db.session.commit()
        assert not bg.jobs().items

    def test_trouble_after_the_commit(
        self,
        app: Flask,
        bg: BackgroundTasks,
        submitter: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It ends the handle and is logged; ``commit()`` raises nothing."""
        unique = submitter.using(unique="one", delay=3600)
        first, second = User(name="Ada"), User(name="Grace")
        db.session.add_all([first, second])
        handles = [unique.submit(first), unique.submit(second)]
        with caplog.at_level(logging.ERROR):
            db.session.commit()
        assert isinstance(handles[1].exception(0), DuplicateJob)
        assert "not accepted after the commit" in caplog.text
        handles[0].cancel()

    def test_a_failing_log_handler_stops_no_commit(
        self, app: Flask, submitter: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It hears of a job that was not accepted, and what it raises ends there."""
        heard: list[str] = []

        def emit(record: logging.LogRecord) -> None:
            heard.append(record.getMessage())
            raise ConnectionError("no log today")

        handler = logging.Handler()
        monkeypatch.setattr(handler, "emit", emit)
        monkeypatch.setattr(app.logger, "handlers", [handler])
        unique = submitter.using(unique="one", delay=3600)
        first, second = User(name="Ada"), User(name="Grace")
        db.session.add_all([first, second])
        handles = [unique.submit(first), unique.submit(second)]
        db.session.commit()
        assert isinstance(handles[1].exception(0), DuplicateJob)
        assert [handles[1].id in message for message in heard] == [True]
        handles[0].cancel()

    def test_a_duplicate_may_stand_for_it(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """``on_duplicate="return"``: both handles end as the one job ends."""
        unique = submitter.using(unique="one", on_duplicate="return", delay=0.2)
        user = User(name="Ada")
        db.session.add(user)
        handles = [unique.submit(user), unique.submit(user)]
        db.session.commit()
        assert [handle.result(PATIENCE) for handle in handles] == ["Ada", "Ada"]
        assert len(bg.jobs()) == 1

    def test_cancel_before_the_commit(
        self, app: Flask, bg: BackgroundTasks, submitter: Any
    ) -> None:
        """A handle can be cancelled while it waits for the commit."""
        user = User(name="Ada")
        db.session.add(user)
        handle = submitter.submit(user)
        assert handle.cancel()
        db.session.commit()
        assert handle.cancelled()
        assert not bg.jobs().items

    @pytest.mark.parametrize("commits", [True, False])
    def test_callbacks(
        self, app: Flask, bg: BackgroundTasks, submitter: Any, commits: bool
    ) -> None:
        """They are called though nobody keeps the handle, which nobody does afterwards either."""
        user, called = User(name="Ada"), threading.Event()
        db.session.add(user)
        handle = submitter.submit(user)
        handle.add_done_callback(lambda _: called.set())
        kept = weakref.ref(handle)
        del handle
        gc.collect()
        if commits:
            db.session.commit()
        else:
            db.session.rollback()
        assert called.wait(PATIENCE)
        bg.shutdown()
        gc.collect()
        assert kept() is None

    def test_a_mail_after_the_commit(self, app: Flask, bg: BackgroundTasks) -> None:
        """The welcome mail goes only if there is somebody to welcome."""
        from flask_mail import Mail, Message

        app.config["MAIL_DEFAULT_SENDER"] = "us@example.com"
        mail = Mail(app)
        message = Message("Welcome", recipients=["you@example.com"], body="Hi")
        with mail.record_messages() as outbox:
            db.session.add(User(name="Ada"))
            lost = bg.using(after_commit=True).send_mail(message)
            db.session.rollback()
            assert lost.cancelled()
            db.session.add(User(name="Ada"))
            sent = bg.using(after_commit=True).send_mail(message)
            assert not outbox
            db.session.commit()
            sent.result(PATIENCE)
            assert len(outbox) == 1

    def test_another_session(self, app: Flask, bg: BackgroundTasks, submitter: Any) -> None:
        """The session itself can be given."""
        with Session(db.engine) as session:
            handle = bg.using(after_commit=session).submit(max, 1, 2)
            db.session.commit()
            assert not handle.done()
            session.commit()
            assert handle.result(PATIENCE) == 2


class TestMemory(AfterCommitContract):
    config: ClassVar[dict[str, Any]] = {"BGTASK_STORE": "memory"}


class TestSQLite(AfterCommitContract):
    config: ClassVar[dict[str, Any]] = {"BGTASK_STORE": "sqlite"}


def test_a_teardown_function_may_commit(bg: BackgroundTasks, tmp_path: Any) -> None:
    """Also one that is called after those of this library."""
    app = Flask("commits", instance_path=str(tmp_path))
    app.config.update(TESTING=True, SQLALCHEMY_DATABASE_URI="sqlite://")
    db.init_app(app)

    @app.teardown_appcontext
    def commit(_: BaseException | None) -> None:
        db.session.commit()

    bg.init_app(app)
    with app.app_context():
        handle = bg.using(after_commit=True).submit(max, 1, 2)
    assert handle.result(PATIENCE) == 2
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("durable", [True, False])
def test_a_process_that_runs_no_jobs(make_app: Any, bg: BackgroundTasks, durable: bool) -> None:
    """What could run in this process alone is refused at submit, not after the commit."""
    app, session = make_app(BGTASK_RUN_WORKERS=False), Session()
    submitter = bg.using(after_commit=session, durable=durable)
    with app.app_context():
        if durable:
            assert submitter.submit(max, 1, 2).cancel()
        else:
            with pytest.raises(ConfigError, match="BGTASK_RUN_WORKERS"):
                submitter.submit(max, 1, 2)


def test_without_flask_sqlalchemy(app: Flask, bg: BackgroundTasks) -> None:
    """The message says what to give instead."""
    with app.app_context(), pytest.raises(ArgumentError, match="after_commit=session"):
        bg.using(after_commit=True).submit(max, 1, 2)


def test_no_session(app: Flask, bg: BackgroundTasks) -> None:
    """Something else is refused where it is given."""
    with app.app_context(), pytest.raises(ArgumentError, match="no SQLAlchemy session"):
        bg.using(after_commit=object()).submit(max, 1, 2)
