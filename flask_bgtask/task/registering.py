"""Giving tasks their names."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from ..naming import callable_name, origin
from ..options import Options
from ..runtime import Registry
from .task import Owner, Task

P = ParamSpec("P")
T = TypeVar("T")


class Decorator(Protocol):
    """What ``bg.task(...)`` with options gives."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Task[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Task[P, T]: ...


def register(
    owner: Owner,
    registry: Registry,
    fn: Callable[..., Any],
    name: str | None,
    options: Options,
) -> Task[..., Any]:
    """Make a task of a function.

    :raises TypeError: it is no function.
    :raises ValueError: the name is taken by another function, or there is none.
    """
    if isinstance(fn, Task):
        raise TypeError(f"{fn.name} is a task already; give its options where it is made")
    if not callable(fn):
        raise TypeError(f"a function is expected, not {fn!r}; options are given by keyword")
    name = _name(fn) if name is None else _checked(name)
    known = registry.tasks.get(name)
    if known is not None and origin(known.fn) != origin(fn):
        raise ValueError(
            f"the task name {name!r} is taken by {callable_name(known.fn)}; give this one another "
            "with name="
        )
    task: Task[..., Any] = Task(owner, fn, name, options)
    registry.tasks[name] = task
    registry.codec.trusted.add(origin(fn)[0].partition(".")[0])
    return task


def _name(fn: Callable[..., Any]) -> str:
    module, qualname = origin(fn)
    if qualname.endswith("<lambda>") or not hasattr(fn, "__qualname__"):
        raise ValueError(f"{fn!r} has no name of its own: give it one with name=")
    return f"{module}.{qualname}"


def _checked(name: str) -> str:
    if not 0 < len(name) <= 200 or ":" in name:
        raise ValueError(f"name={name!r}: 1 to 200 characters without a colon are expected")
    return name
