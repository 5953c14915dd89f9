"""A periodic task: which task, when, with what."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MethodType
from typing import Any

from ..options import Options
from ..runtime import Registry
from ..task import Task
from .rules import Rule

#: What to do about ticks that were missed while no process ran.
CATCH_UP = ("latest", "all", "skip")

#: Options that say what a schedule says itself, or are of a request.
_MEANINGLESS = frozenset({"delay", "eta", "after_commit", "request"})

# Schedules are of no app.
logger = logging.getLogger("flask_bgtask")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What ``bg.periodic`` registered."""

    id: str
    task: Task[..., Any]
    rule: Rule
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Options
    catch_up: str
    jitter: float
    "Seconds by which a job starts later than its tick, at most."

    def delay(self) -> float:
        """Seconds from a tick to the start of its job."""
        return random.uniform(0, self.jitter) if self.jitter else 0.0


def plan(
    registry: Registry,
    task: Task[..., Any],
    rule: Rule,
    *,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    catch_up: str,
    jitter: float | timedelta,
    id: str | None,
    before: Mapping[str, Schedule],
) -> Schedule:
    """Register a schedule; one of the same id is replaced, as a factory makes it again.

    :param before: the schedules that there were when the decorator was made. One that came since
        then stands below it, on the same task.
    :raises TypeError: a value is of a wrong type.
    :raises ValueError: a value is wrong, or two decorators on one task have no id of their own.
    :raises ArgumentError: what the task is called with cannot be stored.
    """
    if catch_up not in CATCH_UP:
        raise ValueError(f"catch_up={catch_up!r}: one of {', '.join(map(repr, CATCH_UP))}")
    seconds = jitter.total_seconds() if isinstance(jitter, timedelta) else float(jitter)
    if seconds < 0:
        raise ValueError(f"jitter={jitter!r}: 0 or more seconds are expected")
    _check_options(options)
    _check_id(id)
    _check_call(args, kwargs)
    _check_target(registry, task, args, dict(kwargs or {}))
    schedule = Schedule(
        id=task.name if id is None else id,
        task=task,
        rule=rule,
        args=tuple(args),
        kwargs=dict(kwargs or {}),
        options=task.options.merged({**options, "durable": True}),
        catch_up=catch_up,
        jitter=seconds,
    )
    known = registry.schedules.get(schedule.id)
    if known is not None:
        is_new = before.get(schedule.id) is not known
        _check_replaced(known, schedule, by_id=id is not None, is_new=is_new)
    registry.schedules[schedule.id] = schedule
    return schedule


def _check_options(options: Mapping[str, Any]) -> None:
    refused = _MEANINGLESS & options.keys()
    if refused:
        raise TypeError(f"{', '.join(sorted(refused))}: has no meaning on a schedule")
    if options.get("durable", True) is not True:
        raise ValueError(f"durable={options['durable']!r}: the jobs of a schedule are durable")


def _check_id(id: object) -> None:
    if id is not None and not isinstance(id, str):
        raise TypeError(f"id={id!r}: a text is expected")
    if id == "":
        raise ValueError("id='': a name is expected; by default it is that of the task")


def _check_call(args: object, kwargs: object) -> None:
    if not isinstance(args, tuple | list):
        raise TypeError(f"args={args!r}: a tuple is expected, such as ('daily',)")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs={kwargs!r}: a dictionary is expected")


def _check_replaced(known: Schedule, new: Schedule, *, by_id: bool, is_new: bool) -> None:
    """Refuse to replace what is meant to stand beside.

    :param by_id: the new one was given an id.
    :param is_new: the known one was made by a decorator right below.
    :raises ValueError: both are meant.
    """
    if known.task.name != new.task.name:
        raise ValueError(
            f"the schedule {new.id!r} runs {known.task.name}; give this one another id="
        )
    if by_id or known.task is not new.task or _are_alike(known, new):
        return
    if is_new:
        raise ValueError(
            f"the task {new.task.name!r} has the schedule {str(known.rule)!r} already, under the "
            f"task's name; give this one ({str(new.rule)!r}) an id="
        )
    # A factory may read the rule from each app's configuration.
    logger.warning(
        "the schedule %r is %s from now on, in place of %s; if both are meant, give one an id=",
        *(new.id, new.rule, known.rule),
    )


def _are_alike(one: Schedule, other: Schedule) -> bool:
    # Of a trigger each is another object; it is told by what it says of itself.
    return (
        str(one.rule) == str(other.rule) and one.args == other.args and one.kwargs == other.kwargs
    )


def _check_target(
    registry: Registry, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Fail where the schedule is made rather than at its first tick."""
    if isinstance(task.fn, MethodType):
        registry.codec.encode_call(task.fn, args, kwargs)
    else:
        registry.codec.encode_arguments(args, kwargs)
