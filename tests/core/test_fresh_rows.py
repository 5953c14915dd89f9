"""Jobs whose rows are made after ``submit`` returned: nobody can tell by looking."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask, request

from flask_bgtask import BackgroundTasks, Handle, JobCancelled, JobState, Progress, current_job
from flask_bgtask.errors import StoreError
from flask_bgtask.signals import job_progressed, job_submitted

Apps = Callable[..., Flask]

THREADS = 8


def square(number: int) -> int:
    return number * number


def until_stopped() -> None:
    """Runs until it is asked to stop."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        current_job.checkpoint()
        pause.wait(0.01)
    raise TimeoutError("nobody asked")


def together(count: int, function: Callable[[int], Any]) -> list[Any]:
    """Call a function on several threads at once; their results."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait(PATIENCE)
        return function(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count), timeout=60))


@contextmanager
def busy(bg: BackgroundTasks) -> Iterator[None]:
    """All four workers are held."""
    gates = [Gate() for _ in range(4)]
    handles = [bg.submit(gate) for gate in gates]
    try:
        assert all(gate.began() for gate in gates)
        yield
    finally:
        for gate in gates:
            gate.open()
    for handle in handles:
        handle.result(PATIENCE)


@pytest.fixture(autouse=True)
def _threads_often_change() -> Iterator[None]:
    """What two threads can do to each other they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, make_app: Apps, bg: BackgroundTasks) -> Flask:
    """An app whose store took a row already, and whose workers are idle."""
    app = make_app(BGTASK_STORE=request.param)
    with app.app_context():
        list(bg.map(square, range(8), timeout=PATIENCE))
    return app


# Looking.


def test_who_submitted_sees_the_job_at_once(app: Flask, bg: BackgroundTasks) -> None:
    """``get`` right after ``submit``, on many threads at once, and after the end."""

    def submit_and_look(first: int) -> None:
        with app.app_context():
            for number in range(first * 1000, first * 1000 + 100):
                handle = bg.submit(square, number)
                assert bg.get(handle.id).task == "test_fresh_rows:square"
                assert handle.result(PATIENCE) == number * number
                assert handle.job.state is JobState.SUCCEEDED

    together(THREADS, submit_and_look)


def test_other_threads_see_the_job_at_once(app: Flask, bg: BackgroundTasks) -> None:
    """Whoever is told of an id may ask for it."""
    told: list[Handle[int]] = []
    done = threading.Event()

    def submit() -> None:
        with app.app_context():
            told.extend(bg.submit(square, number) for number in range(500))
        done.set()

    def look() -> int:
        seen = 0
        with app.app_context():
            while not done.is_set() or seen < len(told):
                if seen < len(told):
                    assert bg.get(told[seen].id).id == told[seen].id
                    seen += 1
        return seen

    assert together(3, lambda number: submit() if number == 0 else look()) == [None, 500, 500]


def test_a_listing_misses_nothing_and_has_nothing_twice(app: Flask, bg: BackgroundTasks) -> None:
    """Whatever was submitted before a listing is in it, once."""
    told: list[Handle[int]] = []
    done = threading.Event()

    def submit() -> None:
        with app.app_context():
            told.extend(bg.submit(square, number) for number in range(300))
        done.set()

    def look() -> None:
        with app.app_context():
            while not done.is_set():
                expected = {handle.id for handle in list(told)}
                listed = [job.id for job in bg.jobs(limit=500)]
                assert len(listed) == len(set(listed))
                assert expected <= set(listed)

    together(2, lambda number: submit() if number == 0 else look())
    with app.app_context():
        assert {job.id for job in bg.jobs(limit=300)} == {handle.id for handle in told}


def test_the_order_is_that_of_the_submits(make_app: Apps, bg: BackgroundTasks) -> None:
    """Also where the one that came first ends last."""
    app, gate = make_app(BGTASK_STORE="memory"), Gate()
    with app.app_context():
        bg.submit(square, 1).result(PATIENCE)
        handles = [bg.submit(gate), *(bg.submit(square, number) for number in range(20))]
        for handle in handles[1:]:
            handle.result(PATIENCE)
        listed = [job.id for job in bg.jobs(limit=21)]
        gate.open()
        handles[0].result(PATIENCE)
    assert listed == [handle.id for handle in reversed(handles)]


def test_a_waiting_job_is_shown_waiting_and_runs(app: Flask, bg: BackgroundTasks) -> None:
    """Looking at a job that has no thread yet changes nothing for it."""
    with app.app_context():
        with busy(bg):
            seen, unseen = bg.submit(square, 2), bg.submit(square, 3)
            assert seen.job.state is JobState.QUEUED
            assert seen.job.started_at is None
            later = bg.submit(square, 4)
        assert [each.result(PATIENCE) for each in (seen, unseen, later)] == [4, 9, 16]
        assert {each.job.state for each in (seen, unseen, later)} == {JobState.SUCCEEDED}
        assert {each.job.attempt for each in (seen, unseen, later)} == {1}


def test_other_processes_see_it_when_the_context_ends(make_app: Apps, bg: BackgroundTasks) -> None:
    """The response has not left yet, and a job that waits or runs is in the file."""
    app = make_app(BGTASK_STORE="sqlite")
    other = BackgroundTasks()
    reader = Flask("tests", instance_path=app.instance_path)
    reader.config["BGTASK_STORE"] = "sqlite"
    other.init_app(reader)
    gate = Gate()
    with app.app_context():
        bg.submit(square, 1).result(PATIENCE)
    with app.app_context(), busy(bg):
        with app.app_context():
            waiting = bg.submit(square, 2)
        with reader.app_context():
            assert other.get(waiting.id).state is JobState.QUEUED
    with app.app_context():
        waiting.result(PATIENCE)
    with app.app_context():
        running = bg.submit(gate)
    with reader.app_context():
        assert other.get(running.id).state is JobState.RUNNING
    gate.open()
    running.result(PATIENCE)
    other.shutdown()


def test_receivers_get_the_job_before_it_begins(app: Flask, bg: BackgroundTasks) -> None:
    """``job_submitted`` comes with a job that others can ask for."""
    with app.app_context(), hearing(job_submitted, app) as heard:
        handle = bg.submit(square, 2)
        [job] = heard.wait()
        assert job.id == handle.id
        assert bg.get(job.id).id == handle.id
        handle.result(PATIENCE)


def test_progress_and_log_lines_are_seen(app: Flask, bg: BackgroundTasks) -> None:
    """Of each job, while it runs and afterwards, though nobody looked before."""
    gate = Gate()

    def report() -> None:
        current_job.progress(1, 2, "halfway")
        current_job.log("began")
        gate()

    with app.app_context(), hearing(job_progressed, app) as heard:
        handle = bg.submit(report)
        assert gate.began()
        [told] = heard.wait()
        assert (told.id, told.progress) == (handle.id, Progress(1, 2, "halfway"))
        assert handle.job.progress == Progress(1, 2, "halfway")
        gate.open()
        handle.result(PATIENCE)
        assert handle.job.progress == Progress(1, 2, "halfway")
        assert [line.message for line in handle.job.logs] == ["began"]


def test_what_a_store_cannot_take_is_written_with_the_end(
    app: Flask, bg: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress and log lines are not lost because the disk was full for a while."""
    store = app.extensions["bgtask"].store

    def change(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    def report() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(store, "change", change)
            current_job.log("began")
            current_job.progress(1, 2)

    with app.app_context():
        handle = bg.submit(report)
        handle.result(PATIENCE)
        assert handle.job.progress == Progress(1, 2, "")
        assert [line.message for line in handle.job.logs] == ["began"]


# Steering.


def test_cancel_right_after_submit(app: Flask, bg: BackgroundTasks) -> None:
    """A request to stop is not lost because the job's thread has not begun yet."""

    def submit_and_cancel(_: int) -> None:
        with app.app_context():
            for _ in range(25):
                handle = bg.submit(until_stopped)
                bg.cancel(handle.id)
                with pytest.raises((CancelledError, JobCancelled)):
                    handle.result(PATIENCE)
                assert handle.job.state is JobState.CANCELLED

    together(4, submit_and_cancel)


def test_a_waiting_job_can_be_cancelled(app: Flask, bg: BackgroundTasks) -> None:
    """Many threads cancel jobs while the workers take them: each either ran or is cancelled."""
    ran: list[int] = []

    def submit_and_cancel(first: int) -> list[tuple[int, Handle[None]]]:
        with app.app_context():
            handles = [(n, bg.submit(ran.append, n)) for n in range(first * 100, first * 100 + 50)]
            for _, handle in handles:
                handle.cancel()
        return handles

    for pairs in together(THREADS, submit_and_cancel):
        for number, handle in pairs:
            try:
                handle.result(PATIENCE)
            except CancelledError:
                assert number not in ran
            else:
                assert number in ran
    assert len(ran) == len(set(ran))


def test_a_paused_queue_begins_nothing(app: Flask, bg: BackgroundTasks) -> None:
    """Idle workers that hold a place ready give it up, and hold none while the queue is paused."""
    with app.app_context():
        bg.submit(square, 1).result(PATIENCE)
        bg.pause("default")
        waiting = [bg.submit(square, 2)]
        assert bg.using(queue="other").submit(square, 3).result(PATIENCE) == 9
        waiting.append(bg.submit(square, 4))
        assert {handle.job.state for handle in waiting} == {JobState.QUEUED}
        bg.resume("default")
        assert [handle.result(PATIENCE) for handle in waiting] == [4, 16]


def test_a_worker_that_takes_its_place_back(make_app: Apps, bg: BackgroundTasks) -> None:
    """Whoever had it meanwhile leaves none for others."""
    app = make_app(BGTASK_WORKERS=1)

    def outer() -> JobState:
        bg.submit(square, 1).result(PATIENCE)
        other = bg.submit(square, 2)
        state = other.job.state
        other.result(PATIENCE)
        return state

    with app.app_context():
        for _ in range(50):
            assert bg.submit(outer).result(PATIENCE) is JobState.QUEUED


def test_no_more_run_at_a_time_than_there_are_workers(app: Flask, bg: BackgroundTasks) -> None:
    """Also with jobs that wait for others, and lend and take back their places."""
    lock, running, most = threading.Lock(), 0, 0  # the lock guards the two numbers

    def count(change: int) -> None:
        nonlocal running, most
        with lock:
            running += change
            most = max(most, running)

    def leaf() -> None:
        count(1)
        count(-1)

    def outer() -> None:
        count(1)
        inner = bg.submit(leaf)
        count(-1)
        inner.result(PATIENCE)

    def submit(_: int) -> None:
        with app.app_context():
            handles = [bg.submit(outer if n % 5 == 0 else leaf) for n in range(60)]
            for handle in handles:
                handle.result(PATIENCE)

    together(THREADS, submit)
    assert most <= 4


@pytest.mark.parametrize("again", range(5))
def test_shutdown_while_submitting(make_app: Apps, bg: BackgroundTasks, again: int) -> None:
    """A submit either raises or its job ends; none is left waiting."""
    app = make_app()
    enough = threading.Event()

    def submit(first: int) -> list[Handle[int]]:
        handles: list[Handle[int]] = []
        with app.app_context():
            while True:
                try:
                    handles.append(bg.submit(square, len(handles)))
                except RuntimeError:
                    return handles
                if first == 0 and len(handles) == 50:
                    enough.set()
                if len(handles) % 20 == 0:
                    handles[-1].result(PATIENCE)

    def end() -> list[Handle[int]]:
        assert enough.wait(PATIENCE)
        with app.app_context():
            bg.shutdown()
        return []

    for handles in together(THREADS, lambda number: end() if number == 7 else submit(number)):
        for number, handle in enumerate(handles):
            assert handle.done()
            assert handle.cancelled() or handle.result() == number * number
    assert app.extensions["bgtask"].calls == {}


# What is kept, and trouble.


@pytest.mark.parametrize("waits", [False, True], ids=["begins", "waits"])
def test_the_request_is_not_kept_alive(app: Flask, bg: BackgroundTasks, waits: bool) -> None:
    """Neither by a job that runs nor by one that waits for a thread."""
    collected, gate = threading.Event(), Gate()

    def submit() -> Handle[Any]:
        with app.test_request_context():
            weakref.finalize(request._get_current_object(), collected.set)  # type: ignore[attr-defined]
            return bg.submit(gate)

    with app.app_context():
        if waits:
            with busy(bg):
                handle = submit()
                gc.collect()
                assert collected.wait(PATIENCE)
        else:
            handle = submit()
            assert gate.began()
            gc.collect()
            assert collected.wait(PATIENCE)
        gate.open()
        handle.result(PATIENCE)


def test_a_store_that_fails_meanwhile(
    app: Flask, bg: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted ends once the store works again; until then submit says what is wrong."""
    store = app.extensions["bgtask"].store
    tried = threading.Event()

    def add(record: Any) -> None:
        tried.set()
        raise StoreError("the disk is full")

    with app.app_context():
        with monkeypatch.context() as patch:
            patch.setattr(store, "add", add)
            handle = bg.submit(square, 3)
            assert tried.wait(PATIENCE)
            with pytest.raises(StoreError, match="full"):
                while True:  # the first may come before the failure is noted
                    bg.submit(square, 4)
        assert handle.result(PATIENCE) == 9
        assert handle.job.state is JobState.SUCCEEDED
        assert bg.submit(square, 5).result(PATIENCE) == 25


def test_a_store_that_fails_while_a_job_waits(
    app: Flask, bg: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody looked for it and the store could not take its row: it runs all the same."""
    store = app.extensions["bgtask"].store

    def add(record: Any) -> None:
        raise StoreError("the disk is full")

    with app.app_context():
        with busy(bg), monkeypatch.context() as patch:
            assert len(bg.jobs(state=JobState.RUNNING).items) == 4  # those rows are there
            patch.setattr(store, "add", add)
            handle = bg.submit(square, 3)
            assert handle.id not in {job.id for job in bg.jobs()}
        assert handle.result(PATIENCE) == 9
        assert handle.job.state is JobState.SUCCEEDED
