"""``bg.task``: naming and calling registered functions, ``async def`` ones too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask, current_app, has_app_context

from flask_bgtask import BackgroundTasks, Handle, Task, current_job

Apps = Callable[..., Flask]


def double(number: int) -> int:
    """Twice the number."""
    return number * 2


async def double_later(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def fail() -> None:
    raise ValueError("always")


# Registering.


def test_with_and_without_parentheses(app: Flask, bg: BackgroundTasks) -> None:
    """``@bg.task`` and ``@bg.task(…)`` both give a ``Task``."""
    plain = bg.task(double)
    named = bg.task(name="named", queue="mine")(double)
    empty = bg.task()(fail)
    assert all(isinstance(task, Task) for task in (plain, named, empty))
    assert (plain.name, named.name, empty.name) == ("test_tasks.double", "named", "test_tasks.fail")
    assert bg.tasks == {**bg.tasks, plain.name: plain, "named": named, empty.name: empty}
    with app.app_context():
        handle = named.submit(4)
        assert isinstance(handle, Handle)
        assert handle.result(PATIENCE) == 8
        assert (handle.job.task, handle.job.queue) == ("named", "mine")
        assert handle.job.durable


def test_it_looks_like_its_function(bg: BackgroundTasks) -> None:
    """Name, documentation and the function itself."""
    task = bg.task(double)
    assert task.__name__ == "double"  # type: ignore[attr-defined]
    assert task.__doc__ == "Twice the number."
    assert task.__wrapped__ is task.fn is double  # type: ignore[attr-defined]
    assert "test_tasks.double" in repr(task)


def test_attributes_of_the_function_change_nothing(app: Flask, bg: BackgroundTasks) -> None:
    """A function, or an object, may have a ``name`` and ``options`` of its own."""

    class Worker:
        def __init__(self) -> None:
            self.name, self.options, self.fn = "the worker's", {"a": 1}, None

        def __call__(self) -> str:
            return self.name

    def function() -> str:
        return "function's"

    function.name, function.submit = "the function's", None  # type: ignore[attr-defined]
    called: dict[str, Callable[[], str]] = {"first": Worker(), "second": function}
    with app.app_context():
        for name, fn in called.items():
            handle = bg.task(fn, name=name, queue="q").submit()
            assert handle.result(PATIENCE) == fn()
            assert (handle.job.task, handle.job.queue) == (name, "q")


def test_the_same_definition_again_replaces(app: Flask, bg: BackgroundTasks) -> None:
    """A factory that runs twice, a reloaded module, a notebook's cell."""

    def create(result: int) -> Task[[], int]:
        @bg.task
        def made() -> int:
            return result

        return made

    first, second = create(1), create(2)
    assert first.name == second.name
    assert bg.tasks[first.name] is second
    with app.app_context():
        assert second.submit().result(PATIENCE) == 2


def test_a_taken_name_is_refused(bg: BackgroundTasks) -> None:
    """Another function under the name of a task would get its jobs; the error names both."""
    bg.task(double, name="mine")
    with pytest.raises(ValueError, match=r"'mine' is taken by test_tasks:double.*name="):
        bg.task(fail, name="mine")
    assert bg.tasks["mine"].fn is double
    bg.task(partial(double, 1), name="partial")
    with pytest.raises(ValueError, match="taken"):
        bg.task(partial(fail), name="partial")


@pytest.mark.parametrize("fn", [lambda: 1, partial(double, 1), Gate()])
def test_what_has_no_name_needs_one(bg: BackgroundTasks, fn: Any) -> None:
    """The name is how the store knows it."""
    with pytest.raises(ValueError, match="name="):
        bg.task(fn)
    assert bg.task(fn, name="given").name == "given"


@pytest.mark.parametrize("name", ["", "x" * 201, "module:function"])
def test_a_wrong_name(bg: BackgroundTasks, name: str) -> None:
    """Empty, too long, or one that a bare function could have."""
    with pytest.raises(ValueError, match="name="):
        bg.task(double, name=name)


def test_wrong_uses_of_the_decorator(bg: BackgroundTasks) -> None:
    """Something that is no function, and a task once more."""
    with pytest.raises(TypeError, match="by keyword"):
        bg.task("reports")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="is a task already"):
        bg.task(bg.task(double))
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        bg.task(retires=3)
    assert "test_tasks.fail" not in bg.tasks


def test_a_decorator_can_be_kept(bg: BackgroundTasks) -> None:
    """One decorator in a variable serves several functions."""
    mine = bg.task(queue="mine", retries=2)
    first, second = mine(double), mine(fail)
    assert (first.fn, second.fn) == (double, fail)
    assert first.options.queue == second.options.queue == "mine"


def test_tasks_belong_to_one_bg(app: Flask, bg: BackgroundTasks) -> None:
    """Another ``BackgroundTasks`` may use the same name for something else."""
    other = BackgroundTasks()
    bg.task(double, name="mine")
    other.task(fail, name="mine")
    assert bg.tasks["mine"].fn is double
    assert other.tasks["mine"].fn is fail


def test_a_task_of_any_app(make_app: Apps, bg: BackgroundTasks) -> None:
    """Registered once, it runs for the app whose context is current at submit."""

    @bg.task(name="app_name")
    def app_name() -> str:
        return current_app.name

    for app in (make_app("one"), make_app("two")):
        with app.app_context():
            assert app_name.submit().result(PATIENCE) == app.name


def test_a_task_in_a_class_body(app: Flask, bg: BackgroundTasks) -> None:
    """It does not know its object, and says what to write; a static method may be a task."""

    class Reports:
        @bg.task
        def write(self, number: int) -> int:
            return number

        @staticmethod
        @bg.task
        def count(number: int) -> int:
            return number + 1

    with pytest.raises(TypeError, match=r"bg\.task\(obj\.method, name="):
        Reports().write  # noqa: B018
    assert isinstance(Reports.write, Task)
    with app.app_context():
        assert Reports.count.submit(1).result(PATIENCE) == 2
        assert Reports().count(1) == 2


# Calling.


def test_a_direct_call_runs_here_and_now(bg: BackgroundTasks) -> None:
    """On this thread, with no app context of its own, and the exception comes out."""
    task = bg.task(lambda: (threading.get_ident(), has_app_context()), name="where")
    assert task() == (threading.get_ident(), False)
    with pytest.raises(ValueError, match="always"):
        bg.task(fail)()


def test_a_parameter_may_be_called_self(app: Flask, bg: BackgroundTasks) -> None:
    """No name is taken out of the arguments, however the task is run."""
    task = bg.task(lambda self: self * 2, name="double")
    with app.app_context():
        assert task(self=1) == task.submit(self=1).result(PATIENCE) == 2
        assert task.using(priority=1).submit(self=1).result(PATIENCE) == 2


def test_a_direct_call_has_a_null_current_job(bg: BackgroundTasks) -> None:
    """Progress, logs and checkpoints do nothing, and the job has no id."""

    @bg.task(name="talk")
    def talk() -> tuple[Any, ...]:
        current_job.progress(1, 2, "note")
        current_job.log("line")
        current_job.checkpoint()
        items = list(current_job.track(iter("abc")))
        return items, current_job.id, current_job.attempt, current_job.cancel_requested

    assert talk() == (["a", "b", "c"], None, 1, False)
    assert not current_job


def test_a_direct_call_in_a_job(app: Flask, bg: BackgroundTasks) -> None:
    """It has the null job too: its progress is not the job's; afterwards the job's is back."""
    inner = bg.task(lambda: (current_job.id, current_job.progress(1, 1)), name="inner")

    def outer() -> list[Any]:
        return [inner()[0], current_job.id]

    with app.app_context():
        handle = bg.submit(outer)
        assert handle.result(PATIENCE) == [None, handle.id]
        assert handle.job.progress is None


# async def.


def test_async_functions_are_run_to_their_end(app: Flask, bg: BackgroundTasks) -> None:
    """Bare or as a task; the handle is of their result."""
    task = bg.task(double_later)
    with app.app_context():
        assert bg.submit(double_later, 4).result(PATIENCE) == 8
        assert task.submit(4).result(PATIENCE) == 8
        assert bg.submit(partial(double_later, 4)).result(PATIENCE) == 8
        assert list(bg.map(double_later, range(3))) == [0, 2, 4]


def test_async_functions_have_the_context(app: Flask, bg: BackgroundTasks) -> None:
    """The app, and ``current_job``, also after an ``await`` and in a child of the event loop."""

    async def child() -> tuple[str, str | None]:
        await asyncio.sleep(0)
        return current_app.name, current_job.id

    async def main() -> list[tuple[str, str | None]]:
        return [await child(), *await asyncio.gather(child(), child())]

    with app.app_context():
        handle = bg.submit(main)
        assert handle.result(PATIENCE) == [("tests", handle.id)] * 3


def test_async_failures(app: Flask, bg: BackgroundTasks) -> None:
    """They are those of the task, with retries as for any other."""
    attempts: list[int] = []

    async def flaky() -> str:
        await asyncio.sleep(0)
        attempts.append(current_job.attempt)
        if len(attempts) < 3:
            raise ValueError("again")
        return "done"

    with app.app_context():
        assert bg.using(retries=2, backoff=0).submit(flaky).result(PATIENCE) == "done"
    assert attempts == [1, 2, 3]


def test_an_async_task_called_directly(bg: BackgroundTasks) -> None:
    """It runs to its end; within an event loop it gives what is awaited."""
    task = bg.task(double_later)
    assert task(4) == 8

    async def main() -> int:
        return await task(5)  # type: ignore[misc]

    assert asyncio.run(main()) == 10


def test_an_async_task_called_directly_has_a_null_job(bg: BackgroundTasks) -> None:
    """Also where it is awaited, which is later than the call."""

    @bg.task(name="talk")
    async def talk() -> tuple[str | None, int]:
        current_job.progress(1)
        await asyncio.sleep(0)
        current_job.checkpoint()
        return current_job.id, current_job.attempt

    async def main() -> list[Any]:
        pending = talk()
        return [await pending, *await asyncio.gather(talk(), talk())]  # type: ignore[misc]

    assert talk() == (None, 1)
    assert asyncio.run(main()) == [(None, 1)] * 3
