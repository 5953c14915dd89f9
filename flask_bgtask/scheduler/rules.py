"""When the ticks of a schedule are. A rule has no memory: every process computes the same ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import ConfigError


class Rule(Protocol):
    """Tells the ticks of a schedule. Times are seconds since the epoch."""

    def after(self, moment: float) -> float | None:
        """The first tick later than this; ``None`` if there is none."""

    def __str__(self) -> str:
        """The rule for people."""


@dataclass(frozen=True, slots=True)
class Every:
    """A tick each so many seconds, at whole multiples since the epoch."""

    seconds: float

    def after(self, moment: float) -> float:
        """See :meth:`Rule.after`."""
        count = math.floor(moment / self.seconds) + 1
        # Division may have rounded up to the next multiple already, or not far enough.
        while (tick := count * self.seconds) <= moment:
            count += 1
        return tick

    def __str__(self) -> str:
        return f"every {timedelta(seconds=self.seconds)}"


@dataclass(frozen=True, slots=True)
class Cron:
    """Ticks of a line as in crontab(5), in a time zone.

    Where clocks go forward, a tick in the hour that is left out comes right after it. Where they
    go back, a tick at a fixed time comes once, while ``*`` in the minute or hour follows the time
    that passes: the rules of cron(8).
    """

    expression: str
    zone: tzinfo

    def after(self, moment: float) -> float | None:
        """See :meth:`Rule.after`."""
        from croniter import CroniterBadDateError, croniter

        ticks = croniter(self.expression, datetime.fromtimestamp(moment, self.zone))
        try:
            tick = ticks.get_next(datetime)
            while self._is_repeated(tick):
                tick = ticks.get_next(datetime)
        except CroniterBadDateError:
            return None
        return float(tick.timestamp())

    def _is_repeated(self, tick: datetime) -> bool:
        fields = self.expression.split()
        if len(fields) < 2 or fields[0].startswith("*") or fields[1].startswith("*"):
            return False
        return tick.utcoffset() != tick.replace(fold=0).utcoffset()

    def __str__(self) -> str:
        return f"cron {self.expression} ({self.zone})"


@dataclass(frozen=True, slots=True)
class Trigger:
    """Ticks of a trigger of APScheduler 3 (its ``get_next_fire_time``)."""

    trigger: Any
    zone: tzinfo

    def after(self, moment: float) -> float | None:
        """See :meth:`Rule.after`."""
        # A trigger gives a time at or after "now" unless it is told of a fire time before. The
        # smallest step that a datetime has is a microsecond.
        now = datetime.fromtimestamp(moment, self.zone)
        tick = self.trigger.get_next_fire_time(None, now + timedelta(microseconds=1))
        # One for a single date gives that date for ever.
        over = tick is None or tick.timestamp() <= moment
        return None if over else float(tick.timestamp())

    def __str__(self) -> str:
        return str(self.trigger)


def read_rule(cron: object, every: object, trigger: object, tz: object) -> Rule:
    """The rule that ``periodic`` was given, checked.

    :raises TypeError: not exactly one of ``cron``, ``every`` and ``trigger`` is given, or it is of
        a wrong type.
    :raises ValueError: it means nothing, or never comes.
    :raises ConfigError: the library that it needs is not installed.
    """
    if [cron, every, trigger].count(None) != 2:
        raise TypeError("exactly one of cron=, every= and trigger= is expected")
    zone = _zone(tz)
    if every is not None:
        return Every(_interval(every))
    if trigger is not None:
        return _trigger(trigger, zone)
    return _cron(cron, zone)


def _zone(tz: object) -> tzinfo:
    if isinstance(tz, tzinfo):
        return tz
    if tz == "UTC":  # the default needs no database of zones
        return UTC
    if not isinstance(tz, str):
        raise TypeError(f"tz={tz!r}: the name of a time zone is expected, such as 'Europe/Paris'")
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"tz={tz!r}: there is no such time zone") from error


def _interval(every: object) -> float:
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"every={every!r}: seconds or a timedelta is expected")
    if not 0.1 <= seconds < 1e9:
        raise ValueError(f"every={every!r}: 0.1 or more seconds are expected")
    return float(seconds)


def _cron(expression: object, zone: tzinfo) -> Cron:
    if not isinstance(expression, str):
        raise TypeError(f"cron={expression!r}: five fields as in crontab(5) are expected")
    try:
        from croniter import croniter
    except ImportError as error:
        needs = "a cron schedule needs croniter: pip install Flask-BgTask[schedule]"
        raise ConfigError("cron", expression, needs) from error
    nickname = expression.startswith("@")
    if (not nickname and len(expression.split()) != 5) or not croniter.is_valid(expression):
        raise ValueError(
            f"cron={expression!r}: five fields as in crontab(5) are expected (minute, hour, day, "
            "month, weekday), such as '30 6 * * mon-fri'"
        )
    rule = Cron(expression, zone)
    if rule.after(datetime.now(UTC).timestamp()) is None:
        raise ValueError(f"cron={expression!r}: there is no such day, it would never tick")
    return rule


def _trigger(trigger: object, zone: tzinfo) -> Trigger:
    if not callable(getattr(trigger, "get_next_fire_time", None)):
        raise TypeError(
            f"trigger={trigger!r}: a trigger of APScheduler 3 is expected, such as "
            "CronTrigger(hour=6)"
        )
    return Trigger(trigger, zone)
