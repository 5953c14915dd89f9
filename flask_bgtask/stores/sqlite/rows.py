"""Between a :class:`.Record` and what SQLite binds and gives back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from ...errors import StoreError
from ...job import COLUMNS, INPUT_COLUMNS, LONG_COLUMNS, JobState, Record

_STATES = {str(state.value): state for state in JobState}
_FLAGS = tuple(name for name, kind in Record.__annotations__.items() if kind == "bool")

# What no row has while its job is new.
_LATER = frozenset(
    ("seq", "crashes", "holds", "cancel_requested", "drained", "finished_at", "expires_at")
).union(("progress", "error", "result", "logs", "memo"))

# What a row must have. An insert that leaves out what else it does not have is a third faster.
_ALWAYS = {
    name: getattr(Record, name)
    for name in (
        *("app", "task", "queue", "priority", "attempt", "max_attempts", "on_crash"),
        *("created_at", "run_at"),
    )
}

# A tuple: its search compares identities, where a set would ask for an enum member's slow hash.
_UNFINISHED = (JobState.RUNNING, JobState.QUEUED, JobState.SCHEDULED)

_ALL = tuple(name for name in COLUMNS if name not in ("seq", "state", "durable"))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _without(names: Collection[str]) -> str:
    """All columns but these, whose pages are not even read then."""
    return ", ".join("NULL" if name in names else f'"{name}"' for name in COLUMNS)


#: For a ``SELECT``; :func:`decode` takes what it gives.
SELECTED = _quoted(COLUMNS)

#: The same for who only looks at jobs.
SELECTED_TO_LOOK = _without(INPUT_COLUMNS)

#: The same for long lists.
SELECTED_BRIEF = _without(LONG_COLUMNS)

#: Columns of :func:`encode`.
ALL_NAMES = _quoted(("state", "durable", *_ALL))

#: How many columns :func:`encode` gives values for.
WIDTH = len(_ALL) + 2


def is_new(record: Record) -> bool:
    """Whether :func:`encode_new` says all there is to say of the row."""
    return _LATER.isdisjoint(record.__dict__) and record.state in _UNFINISHED


def encode_new(record: Record) -> tuple[str, tuple[Any, ...]]:
    """Statement and values that insert a new row."""
    row = _ALWAYS | record.__dict__
    # An exact int or str is bound directly; anything else asks for adapters first.
    row["state"], row["durable"] = record.state._value_, 1 if record.durable else 0
    return _insert(tuple(row)), tuple(row.values())


@lru_cache(maxsize=256)
def _insert(names: tuple[str, ...]) -> str:
    return f"INSERT INTO job ({_quoted(names)}) VALUES ({', '.join('?' * len(names))})"


def encode(record: Record) -> list[Any]:
    """The values for :data:`ALL_NAMES`."""
    values = [record.state._value_, 1 if record.durable else 0]
    for name in _ALL:
        value = getattr(record, name)
        values.append(int(value) if name in _FLAGS else value)
    return values


def plain(value: Any) -> Any:
    """A column's value as SQLite takes it."""
    if value is True or value is False:
        return int(value)
    return value.value if isinstance(value, Enum) else value


def names_of(columns: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns' names, checked: they become part of a statement.

    :raises StoreError: one is no column that may change.
    """
    for name in columns:
        if name not in COLUMNS or name in ("seq", "id", "app"):
            raise StoreError(f"a job's row has no column {name!r} that can change")
    return tuple(columns)


def state_of(text: str) -> JobState:
    """The state of a name; one that none of us wrote means that nothing will come of the job."""
    return _STATES.get(text, JobState.LOST)


def decode(row: tuple[Any, ...]) -> Record:
    """The record of a row that :data:`SELECTED` gave."""
    columns = dict(zip(COLUMNS, row))
    columns["state"] = state_of(columns["state"])
    for name in _FLAGS:
        columns[name] = columns[name] == 1
    return Record(**columns)


def writable(values: Iterable[Any]) -> list[Any]:
    """The same values with lone surrogates, which UTF-8 has no bytes for, spelled out.

    They come from file names and error messages; such a text must not keep a job from its end.
    """
    return [
        value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for value in values
    ]
