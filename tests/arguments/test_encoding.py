"""What a stored job can carry comes back with its exact value and type."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID, uuid1
from zoneinfo import ZoneInfo

import pytest
from argument_models import (
    Address,
    Box,
    Coin,
    Colour,
    Crate,
    Kind,
    Late,
    Mode,
    Odd,
    Order,
    Point,
    Right,
    Size,
)
from flask import Flask, current_app
from flask_babel.speaklater import LazyString
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from flask_bgtask.arguments import Codec

CODEC = Codec()


def round_trip(value: Any) -> Any:
    """Through text that is plain ASCII and valid JSON."""
    text = CODEC.encode(value)
    assert text.isascii()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return CODEC.decode(text)


def same(one: Any, two: Any) -> bool:
    """Equal in value and type, all the way down; also where ``==`` is too kind."""
    if type(one) is not type(two):
        return False
    if type(one) is float:
        return repr(one) == repr(two)
    if type(one) is Decimal:
        return one.as_tuple() == two.as_tuple()
    if type(one) in (datetime, time):
        return (
            one.replace(tzinfo=None) == two.replace(tzinfo=None)
            and one.fold == two.fold
            and repr(one.tzinfo) == repr(two.tzinfo)
        )
    if type(one) is dict:
        return len(one) == len(two) and all(
            same(a, b) and same(one[a], two[b]) for a, b in zip(one, two)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, (Address, Order, Coin, Box)):
        return all(same(getattr(one, n), getattr(two, n)) for n in one.__dataclass_fields__)
    return bool(one == two)


zones = st.one_of(
    st.none(),
    st.sampled_from([UTC, ZoneInfo("Europe/Vienna"), ZoneInfo("America/New_York")]),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(lambda d: timezone(d, "Own")),
)
texts = st.text(st.characters(codec=None))
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.builds(lambda t, z, f: t.replace(tzinfo=z, fold=f), st.times(), zones, st.integers(0, 1)),
    st.builds(
        lambda t, z, f: t.replace(tzinfo=z, fold=f), st.datetimes(), zones, st.integers(0, 1)
    ),
    st.builds(Markup, texts),
    st.sampled_from([*Colour, *Odd, *Size, *Kind, Right.READ | Right.RUN, Right(0), Mode(7)]),
    st.lists(st.sampled_from(["a", "b c", "ü", ".."]), max_size=4).map(lambda p: Path(*p)),
    st.builds(PureWindowsPath, st.sampled_from(["C:/x", "y"])),
    st.builds(PurePosixPath, st.sampled_from(["/x", "y"])),
)


def containers(inner: Any) -> Any:
    keys = st.recursive(
        hashable,
        lambda deeper: st.one_of(
            st.tuples(deeper, deeper), st.frozensets(deeper), st.builds(Coin, deeper)
        ),
        max_leaves=3,
    )
    tags = st.sampled_from([" t", " di", " kv", " r", " new", " "])
    return st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.sets(hashable),
        st.frozensets(hashable),
        st.dictionaries(texts, inner),
        st.dictionaries(keys, inner),
        st.dictionaries(tags, inner, max_size=1),
        st.builds(Address, inner, inner),
        st.builds(Box, inner),
        st.builds(Point, inner, inner),
        st.builds(lambda lines, a: Order(1, Address(a), lines), st.lists(inner), inner),
    )


@settings(max_examples=400, deadline=None)
@given(st.recursive(hashable, containers, max_leaves=12))
@example({" t": {" t": [1]}})
@example({" di": {" kv": []}})
@example({" new": 1})
@example({"1": "text", 1: "int", None: "none"})
@example("\ud83d\ude00")
@example(["\ud800", {"\udfff": "\U0001f600"}])
def test_values_come_back_as_they_were(value: Any) -> None:
    """Whatever the contract lists, in any combination."""
    assert same(value, round_trip(value))


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        5e-324,
        1.7976931348623157e308,
        2**53 + 1,
        -(10**5000),
        2**2000,
        Decimal("-0"),
        Decimal("sNaN12"),
        Decimal("NaN"),
        Decimal("-Infinity"),
        Decimal("1.50"),
        Decimal("1E+400"),
        "\x00\u2028\ud800",
        b"",
        bytes(range(256)),
        bytearray(b"x\x00"),
        date.min,
        datetime.max,
        time(1, 2, 3, 4, fold=1),
        time(1, tzinfo=UTC),
        time(2, tzinfo=ZoneInfo("Europe/Vienna")),
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Vienna"), fold=1),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, seconds=7, microseconds=3))),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        timedelta.min,
        timedelta.max,
        timedelta(microseconds=-1),
        UUID(int=0),
        uuid1(),
        Markup("<b>&amp;</b>"),
        Path("a") / "b",
        Path("caf\udce9"),
        PureWindowsPath("C:\\x"),
        PurePosixPath("/x"),
        Colour.CRIMSON,
        Odd.PAIR,
        Size.LARGE,
        Kind.PLAIN,
        Right.READ,
        Right(0),
        Right.READ | Right.RUN,
        Mode.A | Mode.B,
        Mode(64),
        (),
        ((),),
        set(),
        frozenset({frozenset()}),
        {},
        {None: 1, True: 2, 2: 3, 2.5: 4, "2": 5, b"2": 6, (1,): 7},
        Point([1], {"a": Point(1, 2)}),
        Coin(Coin(1)),
        Box(Box((1,))),
        Crate("street"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_special_values(value: Any) -> None:
    """The corners of each type."""
    assert same(value, round_trip(value))
    assert same([value, {"k": value}], round_trip([value, {"k": value}]))


def test_dataclasses_are_rebuilt_without_init() -> None:
    """Fields that ``__init__`` does not take, other attributes, and what was never set."""
    order = Order(1, Address("street"), [1, 2])
    order.lines.append(3)
    order.note = {"not": "a field"}
    order.expensive  # noqa: B018
    got = round_trip(order)
    assert got == order
    assert got.total == 2, "computed at the time, not by __init__"
    assert got.note == {"not": "a field"}
    assert "expensive" not in vars(got), "a cached property is computed again"
    late = round_trip(Late(1))
    assert late.given == 1
    assert not hasattr(late, "later")
    generic = Box[int](3)
    assert round_trip(generic) == generic


def test_the_order_of_keys_is_kept() -> None:
    """As everywhere in Python."""
    for keys in (["b", "a", "c"], ["b", 1, "a"]):
        assert list(round_trip(dict.fromkeys(keys))) == keys


def test_arguments_come_back_as_they_were(codec: Codec) -> None:
    """Positional and named, also names that look like tags."""
    args, kwargs = (1, (2,), {"a": b"3"}), {" t": [1]}
    assert codec.decode_arguments(codec.encode_arguments(args, kwargs)) == (args, kwargs)
    assert codec.decode_arguments(codec.encode_arguments((), {})) == ((), {})


def test_the_format_is_readable(codec: Codec) -> None:
    """Plain values stay plain; whoever looks into the store finds the arguments."""
    text = codec.encode_arguments((7, "a"), {"when": date(2024, 1, 2), "to": (1,)})
    assert text == '{"args":[7,"a"],"kwargs":{"when":{" da":"2024-01-02"},"to":{" t":[1]}}}'


def test_classes_of_the_started_program(codec: Codec, monkeypatch: Any) -> None:
    """A single-file app has its classes in ``__main__``, as its tasks."""

    class Shade(Enum):
        DARK = 1

    Shade.__module__, Shade.__qualname__ = "__main__", "Shade"
    monkeypatch.setattr(sys.modules["__main__"], "Shade", Shade, raising=False)
    assert round_trip(Shade.DARK) is Shade.DARK


def test_new_fields_have_their_defaults(codec: Codec) -> None:
    """A class may have got fields since the job was stored, by a newer version of the app."""
    assert codec.decode('{" dc":["argument_models:Coin",{"value":1}]}') == Coin(1)
    got = codec.decode('{" dc":["argument_models:Order",{"number":1,"address":null}]}')
    assert (got.lines, got.total) == ([], 0)


@pytest.mark.parametrize("real", [datetime(2024, 1, 2, 3), date(2024, 1, 2)])
def test_stand_ins_of_a_test_library(codec: Codec, real: Any) -> None:
    """freezegun's classes are written as the dates that they stand for."""
    fake = type("Fake", (type(real),), {"__module__": "freezegun.api"})
    stand_in = fake(*real.timetuple()[: 4 if type(real) is datetime else 3])
    assert same(round_trip(stand_in), real)


def test_lazy_strings_are_evaluated(codec: Codec) -> None:
    """In the language of who submits: the other process does not know it."""
    assert codec.decode(codec.encode([LazyString(lambda: "Grüß Gott")])) == ["Grüß Gott"]


def test_the_app_is_the_app_of_the_job(codec: Codec) -> None:
    """``current_app`` and its object stand for the app that the job belongs to."""
    app = Flask(__name__)
    with app.app_context():
        for given_app in (app, current_app):
            text = codec.encode_arguments((given_app,), {})
            assert codec.decode_arguments(text)[0][0] is app
    assert codec.plain(text) == {"args": ["<Flask>"], "kwargs": {}}


def test_text_does_not_depend_on_the_app(codec: Codec) -> None:
    """An app's own JSON settings are for its answers, not for stored text."""
    app = Flask(__name__)
    app.json.sort_keys = True
    value = {"b": datetime(2024, 1, 1, 0, 0, 0, 7), "a": Decimal(1)}
    with app.app_context():
        inside = codec.encode({**value, 1: "x"})
    assert codec.decode(inside) == {**value, 1: "x"}
