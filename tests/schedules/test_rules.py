"""When schedules tick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import given
from hypothesis import strategies as st

from flask_bgtask.scheduler import Rule, read_rule
from flask_bgtask.scheduler.ticking import newest_tick, ticks

PARIS = ZoneInfo("Europe/Paris")


def rule(cron: Any = None, every: Any = None, trigger: Any = None, tz: Any = "UTC") -> Rule:
    return read_rule(cron, every, trigger, tz)


def local(made: Rule, start: datetime, count: int) -> list[str]:
    """The next ticks as wall-clock times in Paris."""
    found, moment = [], start.timestamp()
    for _ in range(count):
        following = made.after(moment)
        assert following is not None
        moment = following
        found.append(datetime.fromtimestamp(moment, PARIS).strftime("%m-%d %H:%M %z"))
    return found


def test_every_ticks_at_whole_multiples() -> None:
    """Any process computes the same ticks, whenever it began."""
    minute = rule(every=60)
    assert minute.after(0) == 60
    assert minute.after(59.9) == 60
    assert minute.after(60) == 120
    assert rule(every=timedelta(hours=1)).after(3600.5) == 7200


@given(st.floats(0.1, 1e6), st.floats(0, 4e9))
def test_every_moves_on(seconds: float, moment: float) -> None:
    """The next tick is later, and never by more than one interval."""
    following = rule(every=seconds).after(moment)
    assert following is not None
    assert moment < following <= moment + seconds * (1 + 1e-6) + 1e-6


def test_cron_is_read_in_its_zone() -> None:
    """The same line, other hours."""
    noon = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    assert rule("0 12 * * *").after(noon) == noon + 12 * 3600
    assert rule("0 12 * * *", tz="Europe/Paris").after(noon) == noon + 10 * 3600
    assert rule("@daily").after(noon) == noon + 24 * 3600


def test_a_left_out_hour_is_made_up_for() -> None:
    """Clocks go forward: a tick in the hour that is not there comes right after it."""
    made = rule("30 2 * * *", tz="Europe/Paris")
    assert local(made, datetime(2026, 3, 28, 12, tzinfo=PARIS), 2) == [
        "03-29 03:00 +0200",
        "03-30 02:30 +0200",
    ]


def test_a_repeated_hour_ticks_once() -> None:
    """Clocks go back: a tick at a fixed time does not come again."""
    made = rule("30 2 * * *", tz="Europe/Paris")
    assert local(made, datetime(2026, 10, 24, 12, tzinfo=PARIS), 2) == [
        "10-25 02:30 +0200",
        "10-26 02:30 +0100",
    ]


def test_wildcards_follow_the_time_that_passes() -> None:
    """An hourly job runs in both of the hours that bear one name."""
    made = rule("0 * * * *", tz="Europe/Paris")
    assert local(made, datetime(2026, 10, 25, 1, 30, tzinfo=PARIS), 3) == [
        "10-25 02:00 +0200",
        "10-25 02:00 +0100",
        "10-25 03:00 +0100",
    ]


@given(st.integers(1_600_000_000, 1_900_000_000))
def test_cron_moves_on(moment: int) -> None:
    """Ticks are strictly later, at any time of any year."""
    made = rule("*/20 1,2,3 * * *", tz="Europe/Paris")
    found = ticks(made, moment, moment + 3 * 86_400)
    assert all(a < b for a, b in pairwise([moment, *found]))


@pytest.mark.parametrize("trigger", [IntervalTrigger(minutes=5), CronTrigger(minute="*/5")])
def test_triggers_of_apscheduler(trigger: Any) -> None:
    """They tick on, each time once."""
    made = rule(trigger=trigger)
    start = datetime.now(UTC).timestamp() + 1
    found = ticks(made, start, start + 1200)
    assert 3 <= len(found) <= 4
    assert all(abs(b - a - 300) < 1 for a, b in pairwise(found))


def test_a_trigger_for_one_date() -> None:
    """It ticks then, and never again."""
    date = datetime(2030, 1, 1, tzinfo=UTC)
    made, moment = rule(trigger=DateTrigger(date)), date.timestamp()
    assert ticks(made, moment - 1_000, moment + 1_000) == [moment]
    assert newest_tick(made, moment - 1_000, moment + 1_000) == moment
    assert made.after(moment) is None


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"cron": "* * * *"}, ValueError, "five fields"),
        ({"cron": "61 * * * *"}, ValueError, "five fields"),
        ({"cron": "* * * * * *"}, ValueError, "five fields"),
        ({"cron": "0 0 31 2 *"}, ValueError, "never tick"),
        ({"cron": 5}, TypeError, "crontab"),
        ({"every": 0}, ValueError, "0.1 or more"),
        ({"every": -5}, ValueError, "0.1 or more"),
        ({"every": "1h"}, TypeError, "timedelta"),
        ({"every": True}, TypeError, "timedelta"),
        ({"trigger": "daily"}, TypeError, "APScheduler"),
        ({"every": 1, "tz": "Mars/Base"}, ValueError, "no such time zone"),
        ({}, TypeError, "exactly one"),
        ({"every": 1, "cron": "* * * * *"}, TypeError, "exactly one"),
    ],
)
def test_what_means_nothing_is_refused(given: Any, error: type[Exception], words: str) -> None:
    """Where the schedule is made, saying what is expected."""
    with pytest.raises(error, match=words):
        rule(**given)


def test_the_newest_of_many_missed_ticks_is_found_quickly() -> None:
    """A year of missed minutes is not counted one by one."""
    calls = 0
    minute = rule(every=60)

    class Counting:
        def after(self, moment: float) -> float | None:
            nonlocal calls
            calls += 1
            return minute.after(moment)

    year = 365 * 86_400
    assert newest_tick(Counting(), 0, year + 30) == year
    assert calls < 10
    assert newest_tick(minute, year, year + 30) is None
