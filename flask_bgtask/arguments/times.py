"""The tags of dates, times and durations.

Flask's own tag for dates is not used: it drops microseconds and zones.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from .refusal import Refused
from .scalars import Scalar

_MICROSECOND = timedelta(microseconds=1)


class Duration(Scalar):
    """Time deltas."""

    key = " td"
    types = (timedelta,)

    def to_json(self, value: Any) -> Any:
        return [value.days, value.seconds, value.microseconds]

    def to_python(self, data: Any) -> Any:
        return timedelta(*data)

    def to_plain(self, data: Any) -> Any:
        return timedelta(*data).total_seconds()


class Date(Scalar):
    """Dates."""

    key = " da"
    types = (date,)

    def to_json(self, value: Any) -> Any:
        return value.isoformat()

    def to_python(self, data: Any) -> Any:
        return date.fromisoformat(data)


class DateTime(Scalar):
    """Date and time to the microsecond, with the zone and the fold."""

    key = " d"
    types: ClassVar[tuple[type[Any], ...]] = (datetime,)
    _read = staticmethod(datetime.fromisoformat)

    def to_json(self, value: Any) -> Any:
        moment = value.replace(tzinfo=None).isoformat()
        if value.tzinfo is None and not value.fold:
            return moment
        return [moment, _zone_to_json(value.tzinfo), value.fold]

    def to_python(self, data: Any) -> Any:
        if isinstance(data, str):
            return self._read(data)
        moment, zone, fold = data
        return self._read(moment).replace(tzinfo=_zone_to_python(zone), fold=fold)

    def to_plain(self, data: Any) -> Any:
        return self.to_python(data).isoformat()


class Time(DateTime):
    """Time of day, likewise."""

    key = " ti"
    types = (time,)
    _read = staticmethod(time.fromisoformat)  # type: ignore[assignment]


def _zone_to_json(zone: tzinfo | None) -> Any:
    """A key of the time zone database, or an offset in microseconds, with its name if it has one.

    :raises Refused: the zone is of another library, and would not come back as it was.
    """
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        number = offset // _MICROSECOND
        return number if name == timezone(offset).tzname(None) else [number, name]
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    kind = type(zone)
    raise Refused(
        f"has a time zone ({kind.__module__}.{kind.__name__}) that cannot leave this process: use "
        "zoneinfo.ZoneInfo(…) or datetime.timezone"
    )


def _zone_to_python(data: Any) -> tzinfo | None:
    if data is None:
        return None
    if isinstance(data, str):
        return ZoneInfo(data)
    if isinstance(data, list):
        return timezone(data[0] * _MICROSECOND, data[1])
    return timezone(data * _MICROSECOND)


TIMES: tuple[type[Scalar], ...] = (Duration, Date, DateTime, Time)
