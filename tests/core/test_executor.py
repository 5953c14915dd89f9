"""``BackgroundTasks`` as a standard executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks, Handle


class Thing:
    """Something that can be weakly referred to."""


def square(number: int) -> int:
    return number * number


def fail(message: str) -> None:
    raise ValueError(message)


def test_it_is_an_executor(bg: BackgroundTasks) -> None:
    """``isinstance`` with the standard class holds."""
    assert isinstance(bg, concurrent.futures.Executor)


def test_submit_gives_a_future_of_the_result(app: Flask, bg: BackgroundTasks) -> None:
    """Positional and keyword arguments arrive, whatever their names."""
    with app.app_context():
        handle = bg.submit(dict, queue="mine", fn=1, self=2, name=3)
        assert isinstance(handle, concurrent.futures.Future)
        assert handle.result(PATIENCE) == {"queue": "mine", "fn": 1, "self": 2, "name": 3}


def test_a_failure_is_the_task_s_own_exception(app: Flask, bg: BackgroundTasks) -> None:
    """The very object that was raised comes out."""
    error = ValueError("mine")

    def task() -> None:
        raise error

    with app.app_context():
        handle = bg.submit(task)
        assert handle.exception(PATIENCE) is error
        with pytest.raises(ValueError, match="mine"):
            handle.result()


def test_map_keeps_the_order(app: Flask, bg: BackgroundTasks) -> None:
    """Results come in the order of the items."""
    with app.app_context():
        assert list(bg.map(square, range(50))) == [n * n for n in range(50)]


def test_map_submits_before_it_is_iterated(app: Flask, bg: BackgroundTasks) -> None:
    """As in the standard library, work begins with the call."""
    done = threading.Event()
    with app.app_context():
        bg.map(lambda _: done.set(), [1])
        assert done.wait(PATIENCE)


def test_map_times_out(app: Flask, bg: BackgroundTasks) -> None:
    """``timeout`` counts from the call."""
    gate = threading.Event()
    with app.app_context():
        results = bg.map(lambda _: gate.wait(PATIENCE), [1], timeout=0.05)
        with pytest.raises(TimeoutError):
            next(results)
        gate.set()


def test_wait_and_as_completed(app: Flask, bg: BackgroundTasks) -> None:
    """The module's functions work on handles."""
    gate = threading.Event()
    with app.app_context():
        slow = bg.submit(gate.wait, PATIENCE)
        quick = bg.submit(square, 3)
        first = concurrent.futures.wait([slow, quick], PATIENCE, concurrent.futures.FIRST_COMPLETED)
        assert quick in first.done
        assert slow in first.not_done
        gate.set()
        ended = set(concurrent.futures.as_completed([slow, quick], PATIENCE))
        assert ended == {slow, quick}


def test_wrap_future(app: Flask, bg: BackgroundTasks) -> None:
    """An event loop can await a handle."""

    async def main() -> int:
        with app.app_context():
            return await asyncio.wrap_future(bg.submit(square, 4))

    assert asyncio.run(main()) == 16


def test_a_queued_job_can_be_cancelled(make_app: Callable[..., Flask], bg: BackgroundTasks) -> None:
    """``cancel`` is true for what waits and false for what runs."""
    app = make_app(BGTASK_WORKERS=1)
    gate, began = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        gate.wait(PATIENCE)

    with app.app_context():
        running, waiting = bg.submit(hold), bg.submit(square, 2)
        assert began.wait(PATIENCE)
        assert waiting.cancel()
        assert waiting.cancelled()
        assert waiting.job.state == "cancelled"
        assert running.running()
        assert not running.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(PATIENCE)
        assert concurrent.futures.wait([waiting], PATIENCE).not_done == set()
        gate.set()
        running.result(PATIENCE)


def test_callbacks_run_also_for_a_dropped_handle(app: Flask, bg: BackgroundTasks) -> None:
    """``add_done_callback`` keeps the handle until it was called."""
    called: list[int] = []
    done = threading.Event()
    gate = threading.Event()

    def task() -> int:
        gate.wait(PATIENCE)
        return 5

    def callback(handle: concurrent.futures.Future[int]) -> None:
        called.append(handle.result())
        done.set()

    with app.app_context():
        bg.submit(task).add_done_callback(callback)
        gc.collect()
        gate.set()
        assert done.wait(PATIENCE)
    assert called == [5]


def test_waiting_inside_a_task_with_one_worker(
    make_app: Callable[..., Flask], bg: BackgroundTasks
) -> None:
    """A task may wait for what it submitted, however deep, and never blocks the pool."""
    app = make_app(BGTASK_WORKERS=1)

    def deeper(levels: int) -> int:
        return 0 if levels == 0 else 1 + bg.submit(deeper, levels - 1).result(PATIENCE)

    with app.app_context():
        assert bg.submit(deeper, 20).result(PATIENCE) == 20


@pytest.mark.parametrize("way", ["wait", "as_completed", "map", "exception", "wrap_future"])
def test_each_way_of_waiting_lends_the_place(
    make_app: Callable[..., Flask], bg: BackgroundTasks, way: str
) -> None:
    """Not only ``result``: whatever a task waits with, its place serves others meanwhile."""
    app = make_app(BGTASK_WORKERS=1)

    def wait_for(handles: list[Handle[int]]) -> list[int]:
        if way == "wait":
            concurrent.futures.wait(handles, PATIENCE)
        elif way == "as_completed":
            list(concurrent.futures.as_completed(handles, PATIENCE))
        elif way == "exception":
            assert [each.exception(PATIENCE) for each in handles] == [None] * len(handles)
        return [each.result(0) for each in handles]

    def outer() -> list[int]:
        if way == "map":
            return list(bg.map(square, range(3), timeout=PATIENCE))
        return wait_for([bg.submit(square, n) for n in range(3)])

    async def asynchronous() -> list[int]:
        return [await asyncio.wrap_future(bg.submit(square, n)) for n in range(3)]

    with app.app_context():
        handle: Any = bg.submit(asynchronous if way == "wrap_future" else outer)
        assert handle.result(PATIENCE) == [0, 1, 4]
        # The place came back: the pool still runs one job at a time.
        running = []
        most = []

        def count() -> None:
            running.append(1)
            most.append(len(running))
            running.pop()

        list(bg.map(lambda _: count(), range(50), timeout=PATIENCE))
        assert max(most) == 1


@pytest.mark.parametrize(
    ("queue", "config"),
    [("default", {"BGTASK_WORKERS": 1}), ("narrow", {"BGTASK_QUEUES": {"narrow": 1}})],
)
def test_a_place_is_lent_no_longer_than_the_attempt(
    make_app: Callable[..., Flask], bg: BackgroundTasks, queue: str, config: dict[str, Any]
) -> None:
    """Not until all has ended of which an ``async def`` task asked to be told."""
    app, gates = make_app(**config), [Gate() for _ in range(2)]
    told: list[Handle[int]] = []

    async def asks() -> Handle[int]:
        later = bg.using(delay=3600).submit(int)
        later.add_done_callback(lambda _: told.append(later))
        return later

    with app.app_context():
        submitter = bg.using(queue=queue)
        later = submitter.submit(asks).result(PATIENCE)
        running = submitter.submit(gates[0])
        assert gates[0].began()
        waiting = submitter.submit(gates[1])
        assert waiting.job.state == "queued"
        assert later.cancel()
        assert told == [later]
        assert waiting.job.state == "queued"
        gates[0].open()
        assert gates[1].began()
        assert running.result(PATIENCE) is None
        gates[1].open()
        assert waiting.result(PATIENCE) is None
        assert submitter.submit(square, 3).result(PATIENCE) == 9


def test_shutdown_waits_and_refuses(app: Flask, bg: BackgroundTasks) -> None:
    """All that was submitted ends; nothing more is accepted."""
    with app.app_context():
        handles = [bg.submit(square, n) for n in range(100)]
        bg.shutdown()
        assert all(handle.done() for handle in handles)
        with pytest.raises(RuntimeError, match="shutdown"):
            bg.submit(square, 1)


def test_shutdown_can_cancel(make_app: Callable[..., Flask], bg: BackgroundTasks) -> None:
    """``cancel_futures`` ends what waits, not what runs."""
    app = make_app(BGTASK_WORKERS=1)
    gate, began = threading.Event(), threading.Event()

    def hold() -> str:
        began.set()
        gate.wait(PATIENCE)
        return "ran"

    with app.app_context():
        running = bg.submit(hold)
        waiting = [bg.submit(square, n) for n in range(5)]
        assert began.wait(PATIENCE)
        bg.shutdown(wait=False, cancel_futures=True)
        assert all(handle.cancelled() for handle in waiting)
        gate.set()
        assert running.result(PATIENCE) == "ran"


def test_as_a_context_manager(make_app: Callable[..., Flask]) -> None:
    """``with bg`` shuts down at its end."""
    extension = BackgroundTasks()
    app = Flask("with")
    app.config["TESTING"] = True
    extension.init_app(app)
    with app.app_context(), extension as executor:
        handle = executor.submit(square, 7)
    assert handle.done()
    assert handle.result() == 49


def test_nothing_is_retained(app: Flask, bg: BackgroundTasks) -> None:
    """Function, arguments and result can be collected once the job ended and its handle is gone."""
    argument, collected = Thing(), threading.Event()
    ref = weakref.ref(argument, lambda _: collected.set())

    def task(thing: Thing) -> Thing:
        return thing

    with app.app_context():
        handle = bg.submit(task, argument)
        handle.result(PATIENCE)
        del argument, handle
        assert collected.wait(PATIENCE)
    assert ref() is None


def test_a_failure_is_not_retained(app: Flask, bg: BackgroundTasks, monkeypatch: Any) -> None:
    """Nor is what an exception's traceback refers to."""
    # The test run's own log handler keeps records, with exceptions. Loggers are for all tests.
    monkeypatch.setattr(app.logger, "disabled", True)
    collected = threading.Event()

    def task(thing: Thing) -> None:
        raise ValueError(thing)

    with app.app_context():
        thing = Thing()
        weakref.finalize(thing, collected.set)
        handle = bg.submit(task, thing)
        handle.exception(PATIENCE)
        del thing, handle
        gc.collect()
        assert collected.wait(PATIENCE)


def test_outside_a_context_it_says_what_to_write(app: Flask, bg: BackgroundTasks) -> None:
    """The message shows the line that is missing."""
    with pytest.raises(RuntimeError, match=r"with app\.app_context\(\):"):
        bg.submit(square, 1)


def test_an_app_that_is_dropped_is_collected() -> None:
    """Threads do not keep an app alive that nobody shut down."""
    extension = BackgroundTasks()
    app = Flask("dropped")
    app.config["TESTING"] = True
    extension.init_app(app)
    with app.app_context():
        extension.submit(square, 2).result(PATIENCE)
    gone = threading.Event()
    weakref.finalize(app, gone.set)
    del app
    for _ in range(100):
        gc.collect()
        if gone.wait(0.05):
            break
    assert gone.is_set()


def test_a_handle_has_all_that_a_standard_future_has(app: Flask, bg: BackgroundTasks) -> None:
    """Also what this Python's futures have and older ones did not; each handle its own."""
    with app.app_context():
        one, two = bg.submit(square, 2), bg.submit(square, 3)
        shared = ("_state", "_result", "_exception")
        for name, value in vars(concurrent.futures.Future()).items():
            assert isinstance(getattr(one, name), type(value)) or name in shared
            assert name in shared or getattr(one, name) is not getattr(two, name)
        assert (one.result(PATIENCE), two.result(PATIENCE)) == (4, 9)
