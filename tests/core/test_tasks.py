"""``bg.task``: naming, calling and submitting registered functions; callables of every kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import cache, partial, wraps
from types import MethodType
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


# Submitting.


def test_map(app: Flask, bg: BackgroundTasks) -> None:
    """``Task.map`` submits a job for each group of items, and keeps their order."""
    task = bg.task(lambda a, b: a - b, name="minus", retries=1, backoff=0)
    with app.app_context():
        assert list(task.map(range(5), [1, 1, 1])) == [-1, 0, 1]
        assert list(task.using(queue="q").map([3], [1], timeout=PATIENCE)) == [2]
        assert list(bg.using(queue="r").map(double, [3], chunksize=5)) == [6]
        queues = [(job.queue, job.task) for job in bg.jobs(limit=2)]
        assert queues == [("r", "test_tasks:double"), ("q", "minus")]


def test_a_failure_in_map(app: Flask, bg: BackgroundTasks) -> None:
    """It comes out in its place."""
    task = bg.task(lambda n: 1 // n, name="inverse")
    with app.app_context():
        results = task.map([1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_map_that_ends_early(make_app: Apps, bg: BackgroundTasks) -> None:
    """What waits is cancelled; durable jobs stay in the store."""
    app, gate = make_app(BGTASK_WORKERS=1), Gate()
    task = bg.task(double, name="double")
    with app.app_context():
        bg.submit(gate)
        volatile, durable = bg.map(double, range(3), timeout=0), task.map(range(3), timeout=0)
        for results in (volatile, durable):
            with pytest.raises(TimeoutError):
                next(results)
        gate.open()
        bg.submit(int).result(PATIENCE)
        states = {(job.task, str(job.state)) for job in bg.jobs() if "double" in job.task}
    assert states == {("test_tasks:double", "cancelled"), ("double", "succeeded")}


def test_options_of_the_user_s_call_stay_there(app: Flask, bg: BackgroundTasks) -> None:
    """No keyword is taken out of what the function gets, however it is named."""
    everything = {"queue": 1, "retries": 2, "self": 3, "fn": 4, "name": 5, "task": 6}
    task = bg.task(lambda **kwargs: kwargs, name="keep")
    with app.app_context():
        assert task.submit(**everything).result(PATIENCE) == everything
        assert task.using(queue="q").submit(**everything).result(PATIENCE) == everything
        assert bg.using(queue="q").submit(dict, **everything).result(PATIENCE) == everything


def test_using_adds_up(app: Flask, bg: BackgroundTasks) -> None:
    """``using`` over ``using``, over a task's own; the nearest counts."""
    task = bg.task(double, name="double", queue="a", priority=1, label="l")
    with app.app_context():
        for submit in (
            task.using(queue="b").using(priority=2).submit,
            partial(bg.using(queue="b").using(priority=2).submit, task),
        ):
            job = submit(1).job
            assert (job.queue, job.priority, job.label, job.durable) == ("b", 2, "l", True)
        assert task.submit(1).job.queue == "a"
        assert bg.using(durable=False).submit(task, 1).job.durable is False


# Callables of every kind.


class Counter:
    """Something with methods."""

    def __init__(self, start: int) -> None:
        self.value = start

    def add(self, number: int) -> int:
        self.value += number
        return self.value

    @classmethod
    def made(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @staticmethod
    def static(number: int) -> int:
        return -number

    def __call__(self, number: int) -> int:
        return self.add(number)


class Meta(type):
    """A class of classes."""


class Made(Counter, metaclass=Meta):
    """A class with a metaclass of its own."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counter) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


@wraps(double)
def wrapper(number: int) -> int:
    return double(number) + 1


@cache
def cached(number: int) -> int:
    return number * 3


@pytest.mark.parametrize(
    ("fn", "result", "name"),
    [
        (double, 8, "test_tasks:double"),
        (wrapper, 9, "test_tasks:double"),
        (lambda number: number + 1, 5, "test_tasks:<lambda>"),
        (partial(double), 8, "test_tasks:double"),
        (partial(partial(pow, 2), 5), 0, "builtins:pow"),
        (Counter(1).add, 5, "test_tasks:Counter.add"),
        (Counter(1), 5, "test_tasks:Counter"),
        (Counter.made, "Counter 4", "test_tasks:Counter.made"),
        (Made.made, "Made 4", "test_tasks:Counter.made"),
        (Counter.static, -4, "test_tasks:Counter.static"),
        (Made, Made(4), "test_tasks:Made"),
        (abs, 4, "builtins:abs"),
        (str, "4", "builtins:str"),
        (range(5).index, 4, "builtins:range.index"),
        ((4).__add__, 8, "builtins:method-wrapper"),
        (cached, 12, "test_tasks:cached"),
        (cache(partial(double)), 8, "test_tasks:double"),
        (MethodType(partial(pow, 2), 3), 0, "builtins:pow"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:20]),
)
def test_every_kind_of_callable(
    app: Flask, bg: BackgroundTasks, fn: Any, result: Any, name: str
) -> None:
    """Each is called as it is, and shown by where it comes from."""
    with app.app_context():
        handle = bg.submit(fn, 4)
        assert handle.result(PATIENCE) == result
        assert handle.job.task == name


def test_a_method_changes_its_object(app: Flask, bg: BackgroundTasks) -> None:
    """The object of a bound method is the caller's own."""
    counter = Counter(1)
    with app.app_context():
        bg.submit(counter.add, 2).result(PATIENCE)
        bg.using(retries=1).submit(counter.add, 2).result(PATIENCE)
    assert counter.value == 5


def test_a_method_of_a_list(app: Flask, bg: BackgroundTasks) -> None:
    """Methods of built-in objects are no less callable, and have a name to show."""
    seen: list[int] = []
    with app.app_context():
        handle = bg.submit(seen.append, 3)
        handle.result(PATIENCE)
        assert handle.job.task == "builtins:list.append"
        handle = bg.submit(dict.fromkeys, "ab")
        assert handle.result(PATIENCE) == {"a": None, "b": None}
        assert handle.job.task == "builtins:dict.fromkeys"
    assert seen == [3]


def test_a_generator_function_gives_its_generator(app: Flask, bg: BackgroundTasks) -> None:
    """As in the standard library: it is made in the task, and runs where it is iterated."""

    def numbers() -> Any:
        yield from range(3)

    with app.app_context():
        assert list(bg.submit(numbers).result(PATIENCE)) == [0, 1, 2]


def test_what_is_no_callable(app: Flask, bg: BackgroundTasks) -> None:
    """``submit(fn(x))`` instead of ``submit(fn, x)`` is told at once."""
    with app.app_context():
        with pytest.raises(TypeError, match=r"fn \(int\) cannot be called"):
            bg.submit(double(2))  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            bg.submit()  # type: ignore[call-overload]
        assert bg.jobs().items == []
