"""What ``using()`` and ``task()`` take: one value, checked where it is given."""

from __future__ import annotations

import dataclasses
import difflib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from .errors import ArgumentError
from .job import Record

#: What a function may give as ``backoff``: seconds, seconds for each retry, or attempt -> seconds.
Backoff = float | Sequence[float] | Callable[[int], float]

#: Longest wait of the default backoff, in seconds.
LONGEST_BACKOFF = 600.0

#: Longest wait that a function of backoff can ask for, in seconds: calendars have an end.
LONGEST_WAIT = 1e9


def exponential(attempt: int) -> float:
    """Seconds before the next attempt: about 1, 2, 4, … and at most 600, give or take a quarter.

    The jitter keeps jobs that failed together from coming back together.
    """
    return min(LONGEST_BACKOFF, 2.0 ** min(attempt - 1, 20)) * random.uniform(0.75, 1.25)


class _Carried:
    def __repr__(self) -> str:
        return "<the logged-in user>"


#: ``owner`` unless something else (``None`` too) is given.
CARRIED = _Carried()


@dataclass(frozen=True)
class Options:
    """How a job is to run. Durations are seconds."""

    durable: bool = False
    queue: str = "default"
    priority: int = 0
    delay: float | None = None
    eta: datetime | None = None
    retries: int = 0
    backoff: Backoff = exponential
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    timeout: float | None = None
    on_crash: str = "rerun"
    unique: str | None = None
    on_duplicate: str = "refuse"
    serial: str | None = None
    request: bool = False
    after_commit: Any = False
    label: str | None = None
    owner: Any = CARRIED
    result_ttl: float | None = None
    given: frozenset[str] = frozenset()
    "Names of the options that were set for this submission, beyond those of its task."

    def merged(self, options: Mapping[str, Any]) -> Options:
        """These options with some replaced.

        :raises TypeError: there is no such option, or its value is of a wrong type.
        :raises ValueError: the value is out of its range.
        """
        checked = {name: _checked(name, value) for name, value in options.items()}
        if "delay" in checked:
            checked.setdefault("eta", None)
        elif "eta" in checked:
            checked["delay"] = None
        if checked.get("delay") is not None and checked.get("eta") is not None:
            raise TypeError("delay and eta exclude each other")
        return dataclasses.replace(self, **checked, given=self.given | checked.keys())

    @cached_property
    def columns(self) -> dict[str, Any]:
        """What a new row has of these options, where that is not what rows have anyway."""
        columns = {
            "durable": self.durable,
            "queue": self.queue,
            "priority": self.priority,
            "max_attempts": self.retries + 1,
            "on_crash": self.on_crash,
            "label": self.label,
            "unique": self.unique,
            "serial": self.serial,
            "result_ttl": self.result_ttl,
        }
        return {name: value for name, value in columns.items() if value != getattr(Record, name)}

    @property
    def waits(self) -> bool:
        """Whether a job has a time to wait for."""
        return self.delay is not None or self.eta is not None

    def run_at(self, now: float) -> float:
        """When the job may start, in seconds since the epoch."""
        if self.eta is not None:
            return max(now, self.eta.timestamp())
        return now + self.delay if self.delay else now

    def wait_after(self, attempt: int) -> float:
        """Seconds to wait after this attempt has failed (1 is the first)."""
        if callable(self.backoff):
            return min(max(0.0, float(self.backoff(attempt))), LONGEST_WAIT)
        if isinstance(self.backoff, Sequence):
            return float(self.backoff[min(attempt, len(self.backoff)) - 1])
        return float(self.backoff)

    def retries_on(self, error: BaseException) -> bool:
        """Whether this failure is worth another attempt."""
        return isinstance(error, self.retry_on)

    def stored(self) -> str | None:
        """What a row has to keep: the options of this submission that the runner reads.

        Types are kept by name and a function of backoff by its values, so that a row holds data.
        """
        kept: dict[str, Any] = {}
        if "timeout" in self.given:
            kept["timeout"] = self.timeout
        if "backoff" in self.given:
            kept["backoff"] = [self.wait_after(i) for i in range(1, min(self.retries, 100) + 1)]
        if "retry_on" in self.given:
            kept["retry_on"] = [type_name(kind) for kind in self.retry_on]
        return json.dumps(kept) if kept else None


@dataclass(frozen=True, slots=True)
class StoredOptions:
    """The options of a job as its row tells them, over those of its task."""

    base: Options
    kept: Mapping[str, Any]

    @property
    def timeout(self) -> float | None:
        """Seconds that an attempt may take."""
        timeout: float | None = self.kept.get("timeout", self.base.timeout)
        return timeout

    def wait_after(self, attempt: int) -> float:
        """Seconds to wait after this attempt has failed (1 is the first)."""
        waits = self.kept.get("backoff")
        return (
            float(waits[min(attempt, len(waits)) - 1]) if waits else self.base.wait_after(attempt)
        )

    def retries_on(self, error: BaseException) -> bool:
        """Whether this failure is worth another attempt."""
        names = self.kept.get("retry_on")
        if names is None:
            return self.base.retries_on(error)
        return not {type_name(kind) for kind in type(error).__mro__}.isdisjoint(names)


def stored_options(base: Options, text: str | None) -> Options | StoredOptions:
    """The options under which an attempt of a row runs.

    :raises ArgumentError: the text is none that :meth:`Options.stored` gave.
    """
    if not text:
        return base
    try:
        kept = json.loads(text)
        for seconds in (kept.get("timeout"), *kept.get("backoff", ())):
            _seconds("options", seconds)
        frozenset(kept.get("retry_on") or ())
    except (ValueError, TypeError, AttributeError) as error:
        raise ArgumentError("options", f"in the store cannot be read: {error}") from error
    return StoredOptions(base, kept)


def type_name(kind: type) -> str:
    """``module:qualname`` of a type."""
    return f"{kind.__module__}:{kind.__qualname__}"


NAMES = tuple(f.name for f in dataclasses.fields(Options) if f.name != "given")

VOLATILE = Options()
"The options of a bare callable."

DURABLE = Options(durable=True)
"The options of a task."


def _checked(name: str, value: Any) -> Any:
    check = _CHECKS.get(name)
    if check is None:
        near = difflib.get_close_matches(name, NAMES, 1) or [
            min(NAMES, key=lambda n: _far(n, name))
        ]
        raise TypeError(f"there is no option {name!r}; did you mean {near[0]!r}?")
    return check(name, value)


def _far(known: str, name: str) -> float:
    return -difflib.SequenceMatcher(None, known, name).ratio()


def _wrong(name: str, value: Any, allowed: str) -> TypeError:
    return TypeError(f"{name}={value!r}: {allowed} is expected")


def _flag(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong(name, value, "True or False")
    return value


def _text(name: str, value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value or len(value) > 1_000):
        raise _wrong(name, value, "a text of 1 to 1,000 characters, or None")
    return None if value is None else str(value)


def _queue(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 100:
        raise _wrong(name, value, "a name of 1 to 100 characters")
    return str(value)


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or abs(value) > 2**31:
        raise _wrong(name, value, "a whole number")
    return value


def _count(name: str, value: Any) -> int:
    if _whole(name, value) < 0:
        raise ValueError(f"{name}={value!r}: 0 or more is expected")
    return int(value)


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if type(seconds) not in (int, float) or seconds != seconds:
        raise _wrong(name, value, "seconds, a timedelta or None")
    if not 0 <= seconds < 1e10:
        raise ValueError(f"{name}={value!r}: 0 seconds or more, and less than 1e10, are expected")
    return float(seconds)


def _limit(name: str, value: Any) -> float | None:
    if _seconds(name, value) == 0:
        raise ValueError(f"{name}={value!r}: more than 0 seconds are expected")
    return _seconds(name, value)


def _moment(name: str, value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise _wrong(name, value, "an aware datetime")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(
            f"{name}={value!r} has no time zone: an aware datetime is expected, as in "
            "datetime(2030, 1, 31, 12, tzinfo=ZoneInfo('Europe/Paris'))"
        )
    return value.astimezone(UTC)


def _backoff(name: str, value: Any) -> Backoff:
    if callable(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (list, tuple)) and value:
        return tuple(_seconds(name, each) or 0.0 for each in value)
    if value is None or isinstance(value, (list, tuple)):
        raise _wrong(name, value, "seconds, a list of seconds or (attempt) -> seconds")
    return _seconds(name, value) or 0.0


def _types(name: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, (tuple, list)) else (value,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise _wrong(name, value, "exception types")
    return tuple(kinds)


def _one_of(*words: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in words:
            raise ValueError(f"{name}={value!r}: one of {', '.join(map(repr, words))} is expected")
        return str(value)

    return check


def _session(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, (int, str)) and type(value) is not bool):
        raise _wrong(name, value, "True, False or a SQLAlchemy session")
    return value


def _owner(name: str, value: Any) -> Any:
    return value if value is CARRIED else _text(name, value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "durable": _flag,
    "queue": _queue,
    "priority": _whole,
    "delay": _seconds,
    "eta": _moment,
    "retries": _count,
    "backoff": _backoff,
    "retry_on": _types,
    "timeout": _limit,
    "on_crash": _one_of("rerun", "fail"),
    "unique": _text,
    "on_duplicate": _one_of("refuse", "return"),
    "serial": _text,
    "request": _flag,
    "after_commit": _session,
    "label": _text,
    "owner": _owner,
    "result_ttl": _seconds,
}
