"""Arguments as they are shown: the values of secret names are dots."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from flask import current_app

from ..job import Job
from ..runtime import Runtime

DOTS = "•••"


def shown_arguments(runtime: Runtime, job: Job) -> tuple[Any, Any]:
    """``args`` and ``kwargs`` as plain data, masked; ``None`` where nothing is known of them.

    Nothing is imported or loaded for it: the names of positional arguments are known of
    registered tasks alone.
    """
    text = job.record.arguments
    if text is None:
        return None, None
    try:
        args, kwargs = _split(runtime.codec.plain(text))
    except Exception:
        current_app.logger.exception("the stored arguments of job %s cannot be read", job.id)
        return None, None
    mask = runtime.settings.mask
    task = runtime.registry.tasks.get(job.task)
    names = _names(None if task is None else task.fn, len(args))
    shown = [
        DOTS if is_secret(name, mask) else masked(value, mask) for name, value in zip(names, args)
    ]
    return shown, masked(kwargs, mask)


def _split(plain: Any) -> tuple[list[Any], dict[str, Any]]:
    return list(plain["args"]), dict(plain["kwargs"])


def masked(value: Any, mask: Sequence[str]) -> Any:
    """The same data with dots for what stands under a secret name, at any depth."""
    if isinstance(value, dict):
        return {
            key: DOTS if is_secret(key, mask) else masked(each, mask) for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [masked(each, mask) for each in value]
    return value


def is_secret(name: object, mask: Sequence[str]) -> bool:
    """Whether the name has one of the words of ``BGTASK_MASK`` in it, in any case."""
    return isinstance(name, str) and any(word in name.casefold() for word in mask)


def _names(fn: Callable[..., Any] | None, count: int) -> list[str | None]:
    """Names of the first ``count`` positional arguments, as far as the function tells them."""
    names: list[str | None] = []
    try:
        parameters = list(inspect.signature(fn).parameters.values()) if fn is not None else []
    except (TypeError, ValueError):
        parameters = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [parameter.name] * (count - len(names))
            break
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return (names + [None] * count)[:count]
