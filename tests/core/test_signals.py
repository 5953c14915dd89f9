"""Signals, and what is logged: who is told of a job, when, and with what."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask, current_app, g, has_request_context
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from flask_bgtask import BackgroundTasks, Job, JobLost, current_job, signals
from flask_bgtask.signals import (
    job_cancelled,
    job_failed,
    job_lost,
    job_progressed,
    job_retrying,
    job_started,
    job_submitted,
    job_succeeded,
    mail_sent,
)

Apps = Callable[..., Flask]

ALL = [
    *(job_submitted, job_started, job_progressed, job_retrying),
    *(job_succeeded, job_failed, job_cancelled, job_lost, mail_sent),
]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)


def fail() -> None:
    raise ValueError("always")


class Diary:
    """What all signals told, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards the entries
        self.entries: list[tuple[str, Job]] = []
        self.senders: list[Any] = []
        self.apps: list[Any] = []
        self.requests: list[bool] = []

    def listen(self, stack: ExitStack) -> Diary:
        """Listen to every signal until the stack is unwound."""
        for signal in ALL:
            stack.enter_context(signal.connected_to(self._note(signal.name)))
        return self

    def _note(self, name: str) -> Callable[..., None]:
        def note(sender: Any, job: Job, **data: Any) -> None:
            with self._changed:
                self.entries.append((name, job))
                self.senders.append(sender)
                self.apps.append(current_app._get_current_object())
                self.requests.append(has_request_context())
                self._changed.notify_all()

        return note

    def names(self, last: str) -> list[str]:
        """The names of the signals, once the last one has come."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(name == last for name, _ in self.entries), PATIENCE
            ), f"no {last} among {self.entries}"
            return [name for name, _ in self.entries]


@pytest.fixture
def diary() -> Iterator[Diary]:
    with ExitStack() as stack:
        yield Diary().listen(stack)


def test_all_signals_are_there() -> None:
    """By the names of the contract; others may not be missing here."""
    found = {name for name in vars(signals) if name.startswith(("job_", "mail_"))}
    assert found == {signal.name.replace("-", "_") for signal in ALL}


def test_a_job_s_good_way(app: Flask, bg: BackgroundTasks, diary: Diary) -> None:
    """Submitted, started, progressed, succeeded, in this order."""
    with app.app_context():
        handle = bg.submit(lambda: current_job.progress(1, 2))
        names = diary.names("job-succeeded")
    assert names == ["job-submitted", "job-started", "job-progressed", "job-succeeded"]
    jobs = [job for _, job in diary.entries]
    assert all(isinstance(job, Job) and job.id == handle.id for job in jobs)
    assert [job.state for job in jobs][1:] == ["running", "running", "succeeded"]
    assert jobs[2].progress.percent == 50
    assert jobs[3].finished_at is not None


def test_submitted_comes_first(app: Flask, bg: BackgroundTasks, diary: Diary) -> None:
    """Whoever keeps a list of jobs hears of each before anything else is said of it.

    A durable job that has to wait can be taken by another thread, or process, as soon as it is
    in the store.
    """
    with app.app_context():
        handles = [bg.submit(int) for _ in range(200)]
        for handle in handles:
            handle.result(PATIENCE)
    told: dict[str, list[str]] = {}
    for name, job in list(diary.entries):
        told.setdefault(job.id, []).append(name)
    assert len(told) == 200
    assert {names[0] for names in told.values()} == {"job-submitted"}


def test_a_failure_s_way(app: Flask, bg: BackgroundTasks, diary: Diary) -> None:
    """Each attempt is started; a retry is told of, and the failure once."""
    with app.app_context():
        bg.using(retries=1, backoff=0).submit(fail)
        names = diary.names("job-failed")
    assert names == [
        *("job-submitted", "job-started", "job-retrying", "job-started", "job-failed"),
    ]
    jobs = [job for _, job in diary.entries]
    assert [job.attempt for job in jobs][1:] == [1, 1, 2, 2]
    assert jobs[-1].error.type == "ValueError"
    assert "raise ValueError" in jobs[-1].error.traceback


def test_a_cancelled_job_s_way(make_app: Apps, bg: BackgroundTasks, diary: Diary) -> None:
    """A job that never ran was never started."""
    app, gate = make_app(BGTASK_WORKERS=1), Gate()
    with app.app_context():
        bg.submit(gate)
        assert gate.began()
        handle = bg.submit(int)
        handle.cancel()
        diary.names("job-cancelled")
        gate.open()
    mine = [(name, str(job.state)) for name, job in diary.entries if job.id == handle.id]
    assert mine == [("job-submitted", "queued"), ("job-cancelled", "cancelled")]


def test_a_lost_job_s_way(make_app: Apps, bg: BackgroundTasks, diary: Diary, caplog: Any) -> None:
    """What a process that is told to stop cannot end, and nobody else could, is lost."""
    app, gate = make_app(BGTASK_WORKERS=1), Gate()
    with app.app_context():
        running, waiting = bg.submit(gate), bg.submit(int)
        assert gate.began()
        assert bg.drain(app, timeout=0) is False
        for handle in (running, waiting):
            assert isinstance(handle.exception(PATIENCE), JobLost)
            assert handle.job.state == "lost"
        gate.open()
    lost = [job.id for name, job in diary.entries if name == "job-lost"]
    assert sorted(lost) == sorted([running.id, waiting.id])
    assert [name for name, _ in diary.entries].count("job-succeeded") == 0
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2


def test_nothing_of_what_is_refused(app: Flask, bg: BackgroundTasks, diary: Diary) -> None:
    """A submit that raised is not told of."""
    with app.app_context(), pytest.raises(TypeError):
        bg.submit(3)  # type: ignore[call-overload]
    assert diary.entries == []


def test_the_sender_is_the_app(make_app: Apps, bg: BackgroundTasks, diary: Diary) -> None:
    """The object, so that a receiver can ask for one app; receivers run in its context."""
    one, two = make_app("one"), make_app("two")
    with hearing(job_succeeded, one) as only_one:
        for app in (one, two):
            with app.test_request_context():
                bg.submit(int).result(PATIENCE)
        [job] = only_one.wait()
        bg.shutdown()
    assert len(only_one.jobs) == 1
    assert diary.senders == diary.apps
    assert set(diary.senders) == {one, two}
    assert type(diary.senders[0]) is Flask
    assert [sender for sender, (_, told) in zip(diary.senders, diary.entries) if told == job] == [
        one
    ]


def test_receivers_of_the_worker_have_no_request(app: Flask, bg: BackgroundTasks) -> None:
    """They run on the thread where it happened, which has none; nor is there a current job."""
    seen: list[tuple[bool, bool]] = []
    heard = threading.Event()

    def receiver(sender: Any, **_: Any) -> None:
        seen.append((has_request_context(), bool(current_job)))
        heard.set()

    with app.test_request_context(), job_succeeded.connected_to(receiver, app):
        bg.submit(int)
        assert heard.wait(PATIENCE)
    assert seen == [(False, False)]


def test_a_receiver_s_end_is_not_the_view_s(app: Flask, bg: BackgroundTasks, tmp_path: Any) -> None:
    """A session by thread, given up by a teardown function, outlives the signals in a view.

    It is Flask's own recipe for SQLAlchemy. A row that was added before the submit is committed.
    """
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'users.sqlite3'}")
    session = scoped_session(sessionmaker(engine))
    app.teardown_appcontext(lambda _: session.remove())
    Base.metadata.create_all(engine)

    @app.post("/users")
    def add() -> str:
        session.add(User())
        bg.submit(int).result(PATIENCE)
        session.commit()
        return str(session.query(User).count())

    try:
        assert app.test_client().post("/users").text == "1"
        with hearing(job_submitted, app) as heard:
            assert app.test_client().post("/users").text == "2"
        assert len(heard.jobs) == 1
    finally:
        bg.shutdown()
        engine.dispose()


def test_receivers_share_the_context_of_who_did_it(app: Flask, bg: BackgroundTasks) -> None:
    """Teardown functions run once for each view and task, however much is told meanwhile."""
    told: list[Any] = []
    torn_down: list[str] = []
    app.teardown_appcontext(lambda _: torn_down.append(g.get("where", "else")))

    def receiver(sender: Any, **_: Any) -> None:
        told.append(g.get("where"))

    def work() -> list[str]:
        g.where = "task"
        current_job.progress(1)
        return list(torn_down)

    with ExitStack() as stack:
        for signal in (job_submitted, job_progressed):
            stack.enter_context(signal.connected_to(receiver, app))
        stack.enter_context(app.test_request_context())
        g.where = "view"
        assert bg.submit(work).result(PATIENCE) == []
        assert torn_down == ["task"]
    assert told == ["view", "task"]
    assert torn_down == ["task", "view"]


def test_a_failing_receiver_harms_nothing(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """It is logged; the job, the submit and the other receivers go on."""

    def refuse(sender: Any, **_: Any) -> None:
        raise LookupError("receiver")

    with ExitStack() as stack, app.app_context(), caplog.at_level(logging.INFO):
        for signal in ALL:
            stack.enter_context(signal.connected_to(refuse))
        heard = stack.enter_context(hearing(job_succeeded, app))
        handle = bg.submit(lambda: current_job.progress(1))
        assert handle.result(PATIENCE) is None
        assert heard.wait()[0].id == handle.id
        failed = bg.using(retries=1, backoff=0).submit(fail)
        assert isinstance(failed.exception(PATIENCE), ValueError)
        bg.shutdown()
    told = [record for record in caplog.records if "receiver" in record.getMessage()]
    names = [next(s.name for s in ALL if s.name in record.getMessage()) for record in told]
    assert sorted(names) == sorted(
        [
            *("job-submitted", "job-started", "job-progressed", "job-succeeded"),
            *("job-submitted", "job-started", "job-retrying", "job-started", "job-failed"),
        ]
    )
    assert all(isinstance(record.exc_info[1], LookupError) for record in told if record.exc_info)
    assert all(record.exc_info for record in told)


def test_a_muted_signal_is_silent(app: Flask, bg: BackgroundTasks) -> None:
    """blinker's ``muted()`` holds, for as long as its block lasts."""
    with app.app_context(), hearing(job_submitted, app) as heard:
        with job_submitted.muted():
            bg.submit(int).result(PATIENCE)
        handle = bg.submit(int)
    assert [job.id for job in heard.jobs] == [handle.id]


def test_async_receivers(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """An ``async def`` receiver has done its work, in the app's context, when the others go on.

    Also where a thread tells that runs an event loop, as that of an ``async def`` view.
    """
    told: list[tuple[str, str | None]] = []

    async def receiver(sender: Any, job: Job, **_: Any) -> None:
        await asyncio.sleep(0)
        told.append((current_app.name, g.get("where")))

    async def fails(sender: Any, job: Job, **_: Any) -> None:
        raise LookupError("receiver")

    async def view() -> None:
        bg.submit(int).result(PATIENCE)

    with ExitStack() as stack:
        for each in (fails, receiver):
            stack.enter_context(job_submitted.connected_to(each, app))
        stack.enter_context(app.app_context())
        g.where = "view"
        bg.submit(int).result(PATIENCE)
        assert told == [(app.name, "view")]
        asyncio.run(view())
        assert told == [(app.name, "view")] * 2
    assert [type(record.exc_info[1]) for record in caplog.records] == [LookupError] * 2


def test_a_receiver_may_submit(app: Flask, bg: BackgroundTasks) -> None:
    """It is in an app context, and a job that follows another is a usual thing to want."""
    done = threading.Event()

    def follow(sender: Any, job: Job, **_: Any) -> None:
        if job.label == "first":
            bg.using(label="second").submit(done.set)

    with app.app_context(), job_succeeded.connected_to(follow, app):
        bg.using(label="first").submit(int)
        assert done.wait(PATIENCE)


# Logging.


def test_one_record_for_each_failure(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """An error with the traceback, through the app's logger, whoever asks for the result."""

    def inner() -> None:
        raise ValueError("deep inside")

    with app.app_context(), caplog.at_level(logging.DEBUG), hearing(job_failed, app) as heard:
        bg.submit(inner)  # nobody keeps the handle
        [job] = heard.wait()
        handle = bg.task(inner, name="inner").submit()
        for _ in range(3):
            assert isinstance(handle.exception(PATIENCE), ValueError)
    assert [(record.levelname, record.name) for record in caplog.records] == [
        ("ERROR", app.logger.name)
    ] * 2
    for record, (job_id, name) in zip(caplog.records, [(job.id, job.task), (handle.id, "inner")]):
        assert job_id in record.getMessage()
        assert name in record.getMessage()
        text = logging.Formatter().format(record)
        assert "ValueError: deep inside" in text
        assert "in inner" in text


def test_success_is_not_logged(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """Nothing to say about a job that ended well, or that was cancelled."""
    with app.app_context(), caplog.at_level(logging.INFO):
        bg.submit(int).result(PATIENCE)
        bg.using(delay=60).submit(int).cancel()
    assert caplog.records == []


class Broken(logging.Handler):
    """A handler that fails, as one that writes to a lost database does."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError("no log today")


@pytest.mark.parametrize("retries", [0, 1])
def test_a_failing_log_handler_harms_nothing(app: Flask, bg: BackgroundTasks, retries: int) -> None:
    """The job ends as it ended, and whoever waits for it gets to know."""
    handler = Broken()
    app.logger.addHandler(handler)
    try:
        with app.app_context(), hearing(job_failed, app) as heard:
            handle = bg.using(retries=retries, backoff=0).submit(fail)
            assert isinstance(handle.exception(PATIENCE), ValueError)
            assert heard.wait()[0].state == "failed"
            assert bg.submit(int, "3").result(PATIENCE) == 3
    finally:
        app.logger.removeHandler(handler)


def test_a_failing_log_handler_hinders_no_drain(make_app: Apps, bg: BackgroundTasks) -> None:
    """All that is cut short ends as lost, and all that is to be closed is closed."""
    app, gate, handler = make_app(BGTASK_WORKERS=1), Gate(), Broken()
    app.logger.addHandler(handler)
    try:
        with app.app_context():
            handles = [bg.submit(gate), bg.submit(int)]
            assert gate.began()
            assert bg.drain(app, timeout=0) is False
            assert all(isinstance(handle.exception(PATIENCE), JobLost) for handle in handles)
            gate.open()
    finally:
        app.logger.removeHandler(handler)


class Unprintable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_exception_that_cannot_be_shown(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """The job fails with it all the same."""

    def refuse() -> None:
        raise Unprintable

    with app.app_context():
        handle = bg.using(retries=1, backoff=0).submit(refuse)
        assert isinstance(handle.exception(PATIENCE), Unprintable)
        assert handle.job.error.type == "Unprintable"
        assert "Unprintable" in handle.job.error.message
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "ERROR"]


def test_long_errors_are_cut(app: Flask, bg: BackgroundTasks) -> None:
    """A store is no place for megabytes of message."""

    def refuse() -> None:
        raise ValueError("x" * 1_000_000 + "\ud800")

    with app.app_context():
        handle = bg.submit(refuse)
        assert isinstance(handle.exception(PATIENCE), ValueError)
        assert len(handle.job.error.message) <= 10_000
        assert len(json.dumps(handle.job.error.traceback)) < 200_000
