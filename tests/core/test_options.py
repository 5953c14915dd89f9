"""Options of ``using()`` and ``task()``: checked where they are given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks

Apps = Callable[..., Flask]


@pytest.fixture(params=["bg.using", "bg.task", "task.using", "submitter.using"])
def give(request: pytest.FixtureRequest, bg: BackgroundTasks) -> Callable[..., Any]:
    """Each place where options are given."""
    task = bg.task(int, name="number")
    places: dict[str, Callable[..., Any]] = {
        "bg.using": bg.using,
        "bg.task": bg.task,
        "task.using": task.using,
        "submitter.using": bg.using(queue="q").using,
    }
    return places[request.param]


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("retires", "retries"),
        ("prority", "priority"),
        ("time_out", "timeout"),
        ("Queue", "queue"),
        ("on_duplicated", "on_duplicate"),
        ("zzz", None),
    ],
)
def test_an_unknown_option_names_the_nearest(
    give: Callable[..., Any], given: str, nearest: str | None
) -> None:
    """A slip is found where it was made, not in the job."""
    expected = "did you mean '" + ("" if nearest is None else f"{nearest}'")
    with pytest.raises(TypeError, match=f"no option '{given}'; {expected}"):
        give(**{given: 1})


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *[("durable", value) for value in (1, "yes", None)],
        *[("request", value) for value in (1, None)],
        *[("queue", value) for value in ("", None, 3, "x" * 101)],
        *[("priority", value) for value in ("high", 1.5, None, True, 2**40)],
        *[("delay", value) for value in ("1", -1, float("nan"), float("inf"), True)],
        *[("delay", value) for value in (timedelta(seconds=-1), timedelta.max)],
        *[("eta", value) for value in (3.0, "tomorrow", datetime(2030, 1, 1))],
        *[("retries", value) for value in (-1, 1.0, None, "3", True)],
        *[("backoff", value) for value in (None, "1", -1, [], {1: 2})],
        *[("retry_on", value) for value in (None, "ValueError", (ValueError, int), ValueError())],
        *[("timeout", value) for value in (0, -1, "1", float("nan"), timedelta(0))],
        *[("on_crash", value) for value in ("retry", None, True)],
        *[("unique", value) for value in ("", 3, b"a", "x" * 1_001)],
        *[("on_duplicate", value) for value in ("ignore", None)],
        *[("serial", value) for value in ("", 3)],
        *[("after_commit", value) for value in (None, 1, "yes")],
        *[("label", value) for value in ("", 3)],
        *[("owner", value) for value in ("", 3)],
        *[("result_ttl", value) for value in ("1 day", -1)],
    ],
)
def test_a_wrong_value_is_told(give: Callable[..., Any], option: str, wrong: Any) -> None:
    """The error names the option, shows the value and says what is expected."""
    with pytest.raises((TypeError, ValueError)) as caught:
        give(**{option: wrong})
    text = str(caught.value)
    assert text.startswith(f"{option}={wrong!r}")
    assert "expected" in text


def test_a_naive_eta_is_told_apart(give: Callable[..., Any]) -> None:
    """The message says what is missing, and shows how it is written."""
    with pytest.raises(
        ValueError, match=r"no time zone: an aware datetime is expected, as in date"
    ):
        give(eta=datetime(2030, 1, 1))


@pytest.mark.parametrize("wrong", [[1, "2"], [0, -1], (float("nan"),)])
def test_a_wrong_value_in_a_list(give: Callable[..., Any], wrong: Any) -> None:
    """Of a list of seconds the wrong one is shown."""
    with pytest.raises((TypeError, ValueError), match=f"backoff={wrong[-1]!r}: .* expected"):
        give(backoff=wrong)


def test_delay_or_eta(give: Callable[..., Any]) -> None:
    """Both at once contradict each other."""
    with pytest.raises(TypeError, match="delay and eta"):
        give(delay=1, eta=datetime.now(UTC))


def test_the_later_of_delay_and_eta_counts(app: Flask, bg: BackgroundTasks) -> None:
    """A task's own delay gives way to an ``eta``, and the other way round."""
    eta = datetime(2100, 1, 1, tzinfo=UTC)
    task = bg.task(int, name="number", delay=60)
    with app.app_context():
        with_eta = task.using(eta=eta).submit()
        with_delay = bg.using(eta=eta).using(delay=60).submit(int)
        assert with_eta.job.run_at == eta
        assert with_delay.job.run_at - with_delay.job.created_at == timedelta(seconds=60)
        assert with_eta.cancel()
        assert with_delay.cancel()


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Europe/Paris"), timezone(timedelta(hours=-3))])
def test_eta_in_any_zone(app: Flask, bg: BackgroundTasks, zone: Any) -> None:
    """It is a moment, shown in UTC."""
    eta = datetime(2100, 7, 1, 12, 30, tzinfo=zone)
    with app.app_context():
        handle = bg.using(eta=eta).submit(int)
        assert handle.job.run_at == eta
        assert handle.job.run_at.tzinfo is UTC
        assert handle.cancel()
        past = bg.using(eta=datetime(2000, 1, 1, tzinfo=zone)).submit(int, "3")
        assert past.result(PATIENCE) == 3


def test_zero_counts(app: Flask, bg: BackgroundTasks) -> None:
    """A deliberate 0 is not taken for "not given"."""
    task = bg.task(int, name="number", priority=5, retries=3, delay=60)
    with app.app_context():
        handle = task.using(priority=0, retries=0, delay=0).submit()
        assert handle.result(PATIENCE) == 0
        assert (handle.job.priority, handle.job.max_attempts) == (0, 1)


def test_what_can_be_taken_back(app: Flask, bg: BackgroundTasks) -> None:
    """``None`` where it is allowed means the option's absence."""
    task = bg.task(int, name="number", delay=60, timeout=60, unique="u", serial="s", label="l")
    none = {"delay": None, "timeout": None, "unique": None, "serial": None, "label": None}
    with app.app_context():
        handle = task.using(**none).submit()
        assert handle.result(PATIENCE) == 0
        assert (handle.job.unique, handle.job.serial, handle.job.label) == (None, None, None)


def test_options_show_on_the_job(app: Flask, bg: BackgroundTasks) -> None:
    """What was given can be seen by everybody who looks."""
    given = {"queue": "q", "priority": -2, "label": "l", "owner": "o", "unique": "u", "serial": "s"}
    with app.app_context():
        handle = bg.using(**given, durable=True, retries=4, delay=60).submit(int)
        job = handle.job
        assert {name: getattr(job, name) for name in given} == given
        assert (job.durable, job.max_attempts, job.state) == (True, 5, "scheduled")
        assert handle.cancel()


def test_priority_then_order(make_app: Apps, bg: BackgroundTasks) -> None:
    """Higher priority first, and within one the first submitted."""
    app, gate, ran = make_app(BGTASK_WORKERS=1), Gate(), []
    task = bg.task(lambda name: ran.append(name), name="note")
    with app.app_context():
        bg.submit(gate)
        assert gate.began()
        handles = [
            bg.submit(ran.append, "first"),
            bg.using(priority=-1).submit(ran.append, "later"),
            bg.using(priority=7).submit(ran.append, "urgent"),
            task.submit("second, durable"),
            task.using(priority=7).submit("urgent, durable"),
            bg.submit(ran.append, "third"),
        ]
        gate.open()
        for handle in handles:
            handle.result(PATIENCE)
    urgent = ["urgent", "urgent, durable"]
    assert ran == [*urgent, "first", "second, durable", "third", "later"]
