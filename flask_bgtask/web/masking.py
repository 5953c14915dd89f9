"""Arguments as they are shown: the values of secret names are dots."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from string import digits
from typing import Any

from flask import current_app

from ..job import Job
from ..naming import MAIL_TASK
from ..runtime import Runtime

DOTS = "•••"

#: What of a mail is never shown: it may hold a link that proves that somebody reads it, and whoever
#: caused it to be sent must not find that link here.
MAIL_CONTENT = ("mime", "fields")

#: Letters of a word of ``BGTASK_MASK`` that ordinary words may have in them too.
SHORT = 4

#: Where a word of a name ends: at what is no letter or digit; and where camel case has a hump.
_GAP = re.compile(r"[\W_]+")
_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def shown_arguments(runtime: Runtime, job: Job) -> tuple[Any, Any]:
    """``args`` and ``kwargs`` as plain data, masked; ``None`` where nothing is known of them.

    Of a job that is not durable this process knows them until the job ends, if it was submitted
    here: to write them down would slow every small job.

    Nothing is imported or loaded for it: the names of positional arguments are known of
    registered tasks, and of what is about to be called here.
    """
    task = runtime.registry.tasks.get(job.task)
    fn, text = None if task is None else task.fn, job.record.arguments
    try:
        if text is None:
            call = runtime.calls.get(job.id)
            prepared = None if call is None else call.shown()
            if prepared is None:
                return None, None
            fn, text = prepared.fn, prepared.describe()
        return _masked_call(runtime, job, fn, *_split(runtime.codec.plain(text)))
    except Exception as error:  # somebody else's row may be nested beyond what can be walked
        text = "the stored arguments of job %s cannot be read: %s"
        current_app.logger.warning(text, job.id, error)
        return None, None


def _masked_call(
    runtime: Runtime,
    job: Job,
    fn: Callable[..., Any] | None,
    args: list[Any],
    kwargs: dict[str, Any],
) -> tuple[Any, Any]:
    mask = runtime.settings.mask
    if job.task == MAIL_TASK:
        mask = (*mask, *MAIL_CONTENT)
    names = _names(fn, len(args))
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
        return [_masked_item(each, mask) for each in value]
    return value


def _masked_item(item: Any, mask: Sequence[str]) -> Any:
    """An item of a list; a dictionary whose keys are not all texts may be shown as its pairs."""
    if isinstance(item, (list, tuple)) and len(item) == 2 and is_secret(item[0], mask):
        return [item[0], DOTS]
    return masked(item, mask)


def is_secret(name: object, mask: Sequence[str]) -> bool:
    """Whether a name says, by a word of ``BGTASK_MASK`` in any case, that its value is a secret.

    A word of more than :data:`SHORT` letters counts wherever it stands: ``token`` in
    ``accessTokens``. A shorter one has to end a word of the name, as the last part of a compound
    says what it is: ``pin`` in ``card_pin``, not in ``shipping``; ``key`` in ``X-Api-Key`` and
    ``apikeys``, not in ``keyboard``.
    """
    if not isinstance(name, str):
        return False
    letters = _letters(name)
    words = _GAP.split(name)
    words += [hump for word in words for hump in _HUMP.split(word)]
    ends = [word.rstrip(digits).casefold() for word in words]
    return any(
        _letters(word) in letters
        if len(word) > SHORT or not word.isalnum()
        else any(end.endswith((word, f"{word}s")) for end in ends)
        for word in map(str.casefold, mask)
    )


def _letters(name: str) -> str:
    """A name without what separates its words: ``API_KEY`` and ``apiKey`` are the same."""
    return "".join(filter(str.isalnum, name)).casefold()


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
