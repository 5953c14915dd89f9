"""``bg.periodic``: each tick becomes one job."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from flask import Flask

from flask_bgtask import ArgumentError, BackgroundTasks

PATIENCE = 20.0


class Clock:
    """Counts runs and lets tests wait for them."""

    def __init__(self) -> None:
        self.ran: list[float] = []
        self._more = threading.Condition()

    def __call__(self) -> None:
        with self._more:
            self.ran.append(time.time())
            self._more.notify_all()

    def wait_for(self, count: int) -> None:
        with self._more:
            assert self._more.wait_for(lambda: len(self.ran) >= count, PATIENCE)


class PeriodicContract:
    """Runs over every store; subclasses give the configuration of one."""

    config: ClassVar[dict[str, Any]]

    @pytest.fixture
    def app(self, make_app: Any) -> Flask:
        app: Flask = make_app(**self.config)
        return app

    def test_each_tick_runs_once(self, app: Flask, bg: BackgroundTasks) -> None:
        """At its time, give or take 100 ms."""
        clock = Clock()
        bg.periodic(every=0.5)(bg.task(clock, name="clock"))
        bg.start(app)
        clock.wait_for(3)
        late = [moment % 0.5 for moment in clock.ran[:3]]
        assert max(late) < 0.1
        assert [round(moment / 0.5) for moment in clock.ran[:3]] == [
            round(clock.ran[0] / 0.5) + n for n in range(3)
        ]

    def test_only_serving_processes_tick(self, app: Flask, bg: BackgroundTasks) -> None:
        """A script that submits a job does not run schedules."""
        clock = Clock()
        bg.periodic(every=0.1)(bg.task(clock, name="clock"))
        with app.app_context():
            bg.submit(threading.Event().wait, 0.4).result(PATIENCE)
        assert clock.ran == []

    def test_arguments_and_options(self, app: Flask, bg: BackgroundTasks) -> None:
        """They reach the job."""
        got: list[Any] = []
        came = threading.Event()

        def work(*args: Any, **kwargs: Any) -> None:
            got.append((args, kwargs))
            came.set()

        task = bg.task(work, name="work")
        bg.periodic(every=0.2, args=(1,), kwargs={"b": 2}, queue="nightly", label="Digest")(task)
        bg.start(app)
        assert came.wait(PATIENCE)
        assert got[0] == ((1,), {"b": 2})
        with app.app_context():
            job = bg.jobs().items[0]
            assert (job.queue, job.label, job.durable) == ("nightly", "Digest", True)

    def test_a_unique_task_skips_ticks_while_it_runs(self, app: Flask, bg: BackgroundTasks) -> None:
        """A tick that finds the job of an earlier one unfinished gets none."""
        gate, came = threading.Event(), threading.Event()

        def work() -> None:
            came.set()
            gate.wait(PATIENCE)

        bg.periodic(every=0.1, unique="one")(bg.task(work, name="work"))
        bg.start(app)
        assert came.wait(PATIENCE)
        store = app.extensions["bgtask"].store
        first = store.schedules()[0].last_tick
        pause = threading.Event()
        while store.schedules()[0].last_tick < first + 0.3:
            pause.wait(0.02)
        with app.app_context():
            assert len(bg.jobs()) == 1
        gate.set()


class TestMemory(PeriodicContract):
    config: ClassVar[dict[str, Any]] = {"BGTASK_STORE": "memory"}


class TestSQLite(PeriodicContract):
    config: ClassVar[dict[str, Any]] = {"BGTASK_STORE": "sqlite"}


@pytest.mark.parametrize(("catch_up", "jobs"), [("latest", 1), ("all", 5), ("skip", 0)])
def test_missed_ticks(make_app: Any, bg: BackgroundTasks, catch_up: str, jobs: int) -> None:
    """What was missed while nothing ran is made up for by the rule that was chosen."""
    app = make_app(BGTASK_STORE="sqlite")
    ran = Clock()
    task = bg.task(ran, name="hourly")
    bg.periodic(every=3600, catch_up=catch_up)(task)
    store = app.extensions["bgtask"].store
    newest = time.time() // 3600 * 3600
    if time.time() - newest > 3590:
        pytest.skip("the hour is about to end")
    from flask_bgtask.store import ScheduleState

    assert store.tick(ScheduleState("hourly", "hourly", "", newest - 5 * 3600, None), None, None)
    bg.start(app)
    ran.wait_for(jobs)
    pause = threading.Event()
    while store.schedules()[0].last_tick != newest:
        pause.wait(0.01)
    with app.app_context():
        assert len(bg.jobs()) == jobs


def test_a_bound_method_with_an_open_file_is_refused(
    app: Flask, bg: BackgroundTasks, tmp_path: Path
) -> None:
    """The message names the attribute; with a reference it works."""

    class Worker:
        def __init__(self, path: Path) -> None:
            self.log = path.open("a")

        def run(self) -> None:
            self.log.write("ran\n")
            self.log.flush()
            came.set()

    came = threading.Event()
    worker = Worker(tmp_path / "log")
    try:
        task = bg.task(worker.run, name="worker")
        with pytest.raises(ArgumentError, match=r"fn\.__self__\.log \(TextIOWrapper\)"):
            bg.periodic(every=0.1)(task)
        bg.reference(Worker, dump=lambda _: "the worker", load=lambda _: worker)
        bg.periodic(every=0.1)(task)
        bg.start(app)
        assert came.wait(PATIENCE)
        bg.shutdown()
    finally:
        worker.log.close()


def test_a_plain_function_is_refused(bg: BackgroundTasks) -> None:
    """The message shows the order of the decorators."""
    with pytest.raises(TypeError, match=r"@bg\.task below @bg\.periodic"):
        bg.periodic(every=1)(print)  # type: ignore[arg-type]


def test_options_without_meaning_are_refused(bg: BackgroundTasks) -> None:
    """A schedule has its own times."""
    task = bg.task(lambda: None, name="task")
    with pytest.raises(TypeError, match="delay"):
        bg.periodic(every=1, delay=5)(task)
    with pytest.raises(TypeError, match="retries"):
        bg.periodic(every=1, retrys=5)(task)
    with pytest.raises(ValueError, match="catch_up"):
        bg.periodic(every=1, catch_up="some")(task)


def test_two_schedules_of_a_task(bg: BackgroundTasks) -> None:
    """Each has its id; the same one again replaces the first, as a factory makes it again."""
    task = bg.task(lambda: None, name="task")
    other = bg.task(lambda: None, name="other")
    bg.periodic(every=1)(task)
    bg.periodic(every=2)(task)
    bg.periodic(every=3, id="slow")(task)
    with pytest.raises(ValueError, match="another id"):
        bg.periodic(every=1, id="slow")(other)


def test_two_schedules_above_each_other(bg: BackgroundTasks) -> None:
    """Neither is lost in silence: the second needs an id, unless it is the same one again."""
    every_second, every_minute = bg.periodic(every=1), bg.periodic(every=60)
    task = every_second(bg.task(lambda: None, name="task"))
    with pytest.raises(ValueError, match=r"'task'.*every 0:00:01.*every 0:01:00.*id="):
        every_minute(task)
    with pytest.raises(ValueError, match="id="):
        bg.periodic(every=1, args=("a",))(bg.periodic(every=1)(task))

    named = bg.periodic(every=60, id="slow")
    named(bg.periodic(every=1)(bg.task(lambda: None, name="another")))
    again = bg.periodic(every=60, id="slow")
    with pytest.raises(ValueError, match="another id"):
        again(task)
    bg.periodic(every=5)(bg.periodic(every=5)(bg.task(lambda: None, name="third")))


def test_a_factory_may_change_the_rule(bg: BackgroundTasks, caplog: Any) -> None:
    """A task that it makes anew has the new rule; for one that stays, the log says so."""
    for seconds in (1, 2):
        bg.periodic(every=seconds)(bg.task(lambda: None, name="made"))
    stays = bg.task(lambda: None, name="stays")
    for trigger in (IntervalTrigger(seconds=5), IntervalTrigger(seconds=5)):
        bg.periodic(trigger=trigger)(stays)
    assert caplog.records == []
    bg.periodic(every=2)(stays)
    [record] = caplog.records
    assert "'stays' is every 0:00:02 from now on" in record.getMessage()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"id": ""}, ValueError, "id='': a name"),
        ({"id": 3}, TypeError, "id=3: a text"),
        ({"args": "x"}, TypeError, "args='x': a tuple"),
        ({"kwargs": "x"}, TypeError, "kwargs='x': a dictionary"),
        ({"durable": False}, ValueError, "durable=False"),
    ],
)
def test_wrong_values_are_refused(
    bg: BackgroundTasks, wrong: Any, error: type[Exception], message: str
) -> None:
    """The message names the argument and what was expected."""
    with pytest.raises(error, match=message):
        bg.periodic(every=1, **wrong)(bg.task(lambda: None, name="task"))


def test_a_single_date(app: Flask, bg: BackgroundTasks) -> None:
    """A trigger for one date runs its task then, once, while others tick on."""
    once, good = Clock(), Clock()
    date = datetime.now(UTC) + timedelta(seconds=0.3)
    bg.periodic(trigger=DateTrigger(date))(bg.task(once, name="once"))
    bg.periodic(every=0.2)(bg.task(good, name="good"))
    bg.start(app)
    good.wait_for(4)
    once.wait_for(1)
    bg.shutdown()
    assert len(once.ran) == 1


class Broken:
    """A trigger of the application's that fails."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        raise ValueError("no such day")


class Thing:
    """Travels by reference."""


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """The errors in the log that name a schedule."""
    lines = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return [line.getMessage() for line in lines if f"{name!r}" in line.getMessage()]


def test_a_broken_schedule_stops_no_other(
    app: Flask, bg: BackgroundTasks, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names it, once in a while; it ticks again as soon as it can."""
    broken: list[bool] = []

    def dump(thing: Thing) -> int:
        if broken:
            raise LookupError("the database is down")
        return 1

    bg.reference(Thing, dump=dump, load=lambda _: None)
    mended, good = Clock(), Clock()
    bg.periodic(trigger=Broken(), id="trigger")(bg.task(lambda: None, name="bad"))
    bg.periodic(every=0.2, args=(Thing(),), id="dump")(bg.task(lambda _: mended(), name="mended"))
    bg.periodic(every=0.2)(bg.task(good, name="good"))
    broken.append(True)
    bg.start(app)
    good.wait_for(4)
    assert [len(told(caplog, name)) for name in ("trigger", "dump")] == [1, 1]
    assert mended.ran == []
    broken.clear()
    mended.wait_for(1)
