"""Submitting: ``map``, ``using`` over ``using``, and callables of every kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from types import MethodType
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks

Apps = Callable[..., Flask]


def double(number: int) -> int:
    """Twice the number."""
    return number * 2


# Submitting.


def test_map(app: Flask, bg: BackgroundTasks) -> None:
    """``Task.map`` submits a job for each group of items, and keeps their order."""
    task = bg.task(lambda a, b: a - b, name="minus", retries=1, backoff=0)
    with app.app_context():
        assert list(task.map(range(5), [1, 1, 1])) == [-1, 0, 1]
        assert list(task.using(queue="q").map([3], [1], timeout=PATIENCE)) == [2]
        assert list(bg.using(queue="r").map(double, [3], chunksize=5)) == [6]
        queues = [(job.queue, job.task) for job in bg.jobs(limit=2)]
        assert queues == [("r", "test_callables:double"), ("q", "minus")]


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
    assert states == {("test_callables:double", "cancelled"), ("double", "succeeded")}


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
        (double, 8, "test_callables:double"),
        (wrapper, 9, "test_callables:double"),
        (lambda number: number + 1, 5, "test_callables:<lambda>"),
        (partial(double), 8, "test_callables:double"),
        (partial(partial(pow, 2), 5), 0, "builtins:pow"),
        (Counter(1).add, 5, "test_callables:Counter.add"),
        (Counter(1), 5, "test_callables:Counter"),
        (Counter.made, "Counter 4", "test_callables:Counter.made"),
        (Made.made, "Made 4", "test_callables:Counter.made"),
        (Counter.static, -4, "test_callables:Counter.static"),
        (Made, Made(4), "test_callables:Made"),
        (abs, 4, "builtins:abs"),
        (str, "4", "builtins:str"),
        (range(5).index, 4, "builtins:range.index"),
        ((4).__add__, 8, "builtins:method-wrapper"),
        (cached, 12, "test_callables:cached"),
        (cache(partial(double)), 8, "test_callables:double"),
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
