"""What is shown of a job that stays in the process."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from argument_models import Address, Coin, Colour, Point, User, Worker, db, double, keep
from flask import Flask, current_app
from markupsafe import Markup

from flask_bgtask.arguments import Codec


def described(codec: Codec, *args: Any, **kwargs: Any) -> Any:
    text = codec.prepare(keep, args, kwargs).describe()
    shown = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert codec.plain(text) == shown, "it is shown as it is"
    assert text.isascii()
    return shown


def test_plain_values_are_shown_as_they_are(codec: Codec) -> None:
    """Arguments and their names."""
    assert described(codec, 1, "two", None, [3.5, (True,)], four={"five": 6}) == {
        "args": [1, "two", None, [3.5, [True]]],
        "kwargs": {"four": {"five": 6}},
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (10**5000, "<int>"),
        (b"abc", "<3 bytes>"),
        (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00+00:00"),
        (date(2024, 1, 2), "2024-01-02"),
        (time(1, 2), "01:02:00"),
        (timedelta(seconds=90), 90.0),
        (Decimal("1.50"), "1.50"),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Path("a/b"), "a/b"),
        (Markup("<b>"), "<b>"),
        ("\ud800", "\ud800"),
        ("x" * 1_001, "x" * 1_000 + "…"),
        ({1}, [1]),
        (deque([1]), [1]),
        ({1: 2, None: 3, (4,): 5}, {"1": 2, "None": 3, "<tuple>": 5}),
        ({" t": [1]}, {"t": [1]}),
        (OrderedDict(a=1), "<OrderedDict>"),
        (Point(1, 2), "<Point>"),
        (Colour.RED, "<Colour>"),
        (Coin(1), "<Coin>"),
        (Address(1), "<Address>"),
        (object(), "<object>"),
        (double, "<function>"),
        (Worker, "<type>"),
        (ValueError("secret"), "<ValueError>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_shown_by_their_class(codec: Codec, value: Any, shown: Any) -> None:
    """Or as text, where that runs no code of theirs."""
    assert described(codec, value) == {"args": [shown], "kwargs": {}}


def test_what_stands_for_something_is_shown_by_its_class(codec: Codec, shop: Flask) -> None:
    """A proxy as what it stands for, a row as its model."""
    row = User(name="Ann")
    db.session.add(row)
    db.session.commit()
    assert described(codec, current_app, [row])["args"] == ["<Flask>", ["<User>"]]


def test_containers_are_bounded(codec: Codec) -> None:
    """Long, deep and wide ones end with an ellipsis; the text stays short."""
    assert described(codec, list(range(500)))["args"][0] == [*range(100), "…"]
    assert len(described(codec, dict.fromkeys(range(500)))["args"][0]) == 101
    wide = [[[["x" * 1_000] * 90] * 90] * 90]
    assert len(codec.prepare(keep, (wide,), {}).describe()) < 1_100_000
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    assert "bottom" not in codec.prepare(keep, (deep,), {}).describe()
    loop: list[Any] = []
    loop.append(loop)
    assert "…" in str(described(codec, loop))


def test_showing_runs_no_code_of_the_objects(codec: Codec) -> None:
    """Not even that of a time zone."""

    class Zone(tzinfo):
        def utcoffset(self, moment: Any) -> timedelta:
            raise AssertionError("asked")

    class Secret(str):
        def __str__(self) -> str:
            raise AssertionError("asked")

        __repr__ = __str__

    moment = datetime(2024, 1, 1, tzinfo=Zone())
    assert described(codec, moment, Secret("x"), {Secret("k"): 1}) == {
        "args": ["<datetime>", "<Secret>", {"<Secret>": 1}],
        "kwargs": {},
    }


def test_what_changes_meanwhile_is_shown_by_its_class(codec: Codec) -> None:
    """A task may change its arguments while somebody looks."""
    grown: dict[Any, Any] = {}

    class Growing(type):
        @property
        def __name__(cls) -> str:  # looked at in the middle of showing the dictionary
            grown["more"] = 1
            return "Grown"

    grown.update({1: Growing("Any", (), {})(), 2: 2})
    assert described(codec, grown, 3)["args"] == ["<dict>", 3]
    assert described(codec, grown, 3)["args"] == [{"1": "<Grown>", "2": 2, "more": 1}, 3]
