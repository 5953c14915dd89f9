"""A periodic task: which task, when, with what."""

from __future__ import annotations

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
) -> Schedule:
    """Register a schedule; one of the same id is replaced, as a factory makes it again.

    :raises ValueError: a value is wrong.
    :raises ArgumentError: what the task is called with cannot be stored.
    """
    if catch_up not in CATCH_UP:
        raise ValueError(f"catch_up={catch_up!r}: one of {', '.join(map(repr, CATCH_UP))}")
    seconds = jitter.total_seconds() if isinstance(jitter, timedelta) else float(jitter)
    if seconds < 0:
        raise ValueError(f"jitter={jitter!r}: 0 or more seconds are expected")
    refused = {"delay", "eta", "after_commit", "request"} & options.keys()
    if refused:
        raise TypeError(f"{', '.join(sorted(refused))}: has no meaning on a schedule")
    _check_target(registry, task, args, dict(kwargs or {}))
    schedule = Schedule(
        id=id or task.name,
        task=task,
        rule=rule,
        args=tuple(args),
        kwargs=dict(kwargs or {}),
        options=task.options.merged({**options, "durable": True}),
        catch_up=catch_up,
        jitter=seconds,
    )
    known = registry.schedules.get(schedule.id)
    if known is not None and known.task.name != task.name:
        raise ValueError(
            f"the schedule {schedule.id!r} runs {known.task.name}; give this one another id="
        )
    registry.schedules[schedule.id] = schedule
    return schedule


def _check_target(
    registry: Registry, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Fail where the schedule is made rather than at its first tick."""
    if isinstance(task.fn, MethodType):
        registry.codec.encode_call(task.fn, args, kwargs)
    else:
        registry.codec.encode_arguments(args, kwargs)
