"""Arguments as people see them on a status page. Runs no code of the objects shown."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import islice
from json import JSONEncoder
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup

from .references import Reference

#: Characters of a string that are shown.
LONGEST_TEXT = 1_000

#: Items of one container that are shown.
MOST_ITEMS = 100

#: Values that are shown of one job, over all of its containers.
MOST_VALUES = 1_000

#: Containers within containers that are shown.
DEEPEST = 6

#: Stands for what was left out.
MORE = "…"

#: Integers of more bits are not written out: it takes time that grows with their square.
LONGEST_NUMBER = 2_000

_JSON = JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """JSON of ``{"args": […], "kwargs": {…}}``."""
    showing = _Showing()
    return _JSON.encode(
        {"args": showing.items(args, 0), "kwargs": showing.mapping(kwargs, 0)},
    )


def cut(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + MORE


def shown_number(value: float) -> float | str:
    """A number as JSON has it; one that JSON has not as a text."""
    if isinstance(value, int):
        return value if value.bit_length() <= LONGEST_NUMBER else "<int>"
    return value if math.isfinite(value) else str(value)


class _Showing:
    """Shows values until there have been enough."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        self._left -= 1
        plain = _PLAIN.get(kind)
        if plain is not None:
            return plain(value)
        if kind in _SEQUENCES:
            return self._nested(self.items, value, depth)
        if kind is dict:
            return self._nested(self.mapping, value, depth)
        if kind is Reference:
            return f"<{value.kind.__name__}>"
        return f"<{kind.__name__}>"

    def items(self, items: Iterable[Any], depth: int) -> list[Any]:
        shown: list[Any] = []
        for item in islice(items, MOST_ITEMS + 1):
            if self._left <= 0 or len(shown) == MOST_ITEMS:
                shown.append(MORE)
                break
            shown.append(self.value(item, depth + 1))
        return shown

    def mapping(self, mapping: dict[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, value in islice(mapping.items(), MOST_ITEMS + 1):
            if self._left <= 0 or len(shown) == MOST_ITEMS:
                shown[MORE] = MORE
                break
            shown[_key(key)] = self.value(value, depth + 1)
        return shown

    def _nested(self, show: Callable[[Any, int], Any], value: Any, depth: int) -> Any:
        if depth >= DEEPEST:
            return MORE
        try:
            return show(value, depth)
        except RuntimeError:  # the task changes it at this moment
            return f"<{type(value).__name__}>"


def _key(key: Any) -> str:
    plain = _PLAIN.get(type(key))
    text = f"<{type(key).__name__}>" if plain is None else str(plain(key))
    # A single key with a space in front would read as a tag of stored text.
    return text.lstrip(" ") or MORE


def _moment(value: datetime | time) -> str:
    if type(value.tzinfo) in (NoneType, timezone, ZoneInfo):
        return value.isoformat()
    return f"<{type(value).__name__}>"  # the zone's class is somebody else's code


def _text(value: str) -> str:
    return cut(str.__str__(value))


def _same(value: Any) -> Any:
    return value


_PLAIN: dict[type, Callable[[Any], Any]] = {
    NoneType: _same,
    bool: _same,
    int: shown_number,
    float: shown_number,
    str: cut,
    Markup: _text,
    bytes: lambda value: f"<{len(value)} bytes>",
    datetime: _moment,
    time: _moment,
    date: date.isoformat,
    timedelta: timedelta.total_seconds,
    Decimal: lambda value: cut(str(value)),
    UUID: str,
    type(Path()): lambda value: cut(str(value)),
}

_SEQUENCES = frozenset({list, tuple, set, frozenset, deque})
