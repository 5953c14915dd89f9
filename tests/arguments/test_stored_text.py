"""Stored text is data: whatever it says, reading it runs nothing it names by itself."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import argument_models
import pytest
from argument_models import Address, Coin, Colour, Odd, Point, Right, Size, User, Worker, db
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import Codec
from flask_bgtask.arguments.serializer import Serializer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2",
        '{" t":7}',
        '{" s":[[]]}',
        '{" s":[{}]}',
        '{" kv":[1]}',
        '{" kv":[[[],1]]}',
        '{" di":[1]}',
        '{" di":[[],1]}',
        '{" d":"yesterday"}',
        '{" d":["2024-01-01","No/Such",0]}',
        '{" d":["2024-01-01","../../etc/passwd",0]}',
        '{" d":["2024-01-01",99999999999999,0]}',
        '{" td":["x"]}',
        '{" n":"one"}',
        '{" u":"x"}',
        '{" b":"*"}',
        '{" x":"gICA"}',
        '{" i":"0xzz"}',
        '{" p":["amiga","x"]}',
        '{" e":["argument_models:Colour","GREEN"]}',
        '{" e":["argument_models:Colour",null,"red"]}',
        '{" e":["argument_models:Missing","RED"]}',
        '{" e":["argument_models:Worker","known"]}',
        '{" e":["argument_models:Colour.RED","name"]}',
        '{" e":["os:path","sep"]}',
        '{" e":[7,"x"]}',
        '{" e":[]}',
        '{" dc":["argument_models:Worker",{}]}',
        '{" dc":["argument_models:Address",{}]}',
        '{" dc":["argument_models:Address",7]}',
        '{" dc":["builtins:dict",{}]}',
        '{" dc":["argument_models:Counted",{}]}',
        '{" nt":["argument_models:Point",[1]]}',
        '{" nt":["builtins:tuple",[1]]}',
        '{" r":["argument_models:Worker",1]}',
        '{" row":["argument_models:User",[1]]}',
        '{" newer":1}',
        '{" app":null}',
        "[" * 100_000,
        "1" * 10_000,
    ],
    ids=lambda text: text[:60],
)
def test_broken_text_is_an_argument_error(codec: Codec, text: str) -> None:
    """Truncated, tampered with or newer than this version: one kind of error, in words."""
    with pytest.raises(ArgumentError):
        codec.decode(text)
    with pytest.raises(ArgumentError):
        codec.decode_arguments(f'{{"args":[1,{text}],"kwargs":{{}}}}')
    codec.plain(text)


@pytest.mark.parametrize(
    "text", ["[]", "7", "null", '{"args":[]}', '{"args":7,"kwargs":{}}', '{"args":[],"kwargs":[]}']
)
def test_text_that_is_no_call(codec: Codec, text: str) -> None:
    """Readable, but not what ``encode_arguments`` writes."""
    with pytest.raises(ArgumentError):
        codec.decode_arguments(text)
    with pytest.raises(ArgumentError):
        codec.decode_call("argument_models:double", text)


words = st.sampled_from(
    [
        "args",
        "kwargs",
        " t",
        " dc",
        " e",
        " r",
        " row",
        " kv",
        " d",
        "argument_models:Address",
        "os:",
    ]
)
junk = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), words, st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(words, inner, max_size=2)),
)


@settings(max_examples=300, deadline=None)
@given(junk)
def test_no_text_escapes_its_errors(value: Any) -> None:
    """Of any JSON whatever, reading gives a value or an ArgumentError, and showing gives JSON."""
    text, codec = json.dumps(value), Codec()
    with contextlib.suppress(ArgumentError):
        codec.decode(text)
    json.dumps(codec.plain(text))


def test_no_module_is_imported_by_a_name(codec: Codec, tmp_path: Path, monkeypatch: Any) -> None:
    """A class is taken from what is loaded; only trusted packages are imported for it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "import enum\nclass Shade(enum.Enum):\n    DARK = 1\n"
    (tmp_path / "shades_of_app.py").write_text(source)
    text = '{" e":["shades_of_app:Shade","DARK"]}'
    with pytest.raises(ArgumentError, match="belongs to no package of the application"):
        codec.decode(text)
    assert "shades_of_app" not in sys.modules
    codec.trusted.add("shades_of_app")
    try:
        assert codec.decode(text).name == "DARK"
        (tmp_path / "shades_of_app_2.py").write_text("1 / 0")
        with pytest.raises(ArgumentError, match="belongs to no package"):
            codec.decode('{" e":["shades_of_app_2:Shade","DARK"]}')
        with pytest.raises(ArgumentError, match="No module named"):
            codec.decode('{" e":["shades_of_app.deeper:Shade","DARK"]}')
    finally:
        sys.modules.pop("shades_of_app", None)


def test_a_name_runs_nobody_s_code(codec: Codec, monkeypatch: Any) -> None:
    """Looking for a class asks neither a module's ``__getattr__`` nor a descriptor."""
    asked: list[str] = []

    class Trap:
        def __get__(self, instance: Any, owner: Any) -> Any:
            asked.append("descriptor")
            return Colour

    monkeypatch.setattr(Worker, "trap", Trap(), raising=False)
    monkeypatch.setattr(argument_models, "__getattr__", asked.append, raising=False)
    for name in ("Worker.trap", "missing"):
        with pytest.raises(ArgumentError):
            codec.decode(f'{{" e":["argument_models:{name}","RED"]}}')
    assert asked == []


def test_reading_a_dataclass_runs_no_init(codec: Codec) -> None:
    """Neither ``__init__`` nor ``__post_init__``; dunder attributes are nobody's to set."""
    text = codec.encode(Address("s"))
    assert codec.decode(text.replace('"zip":null', '"extra":1')) == Address("s")
    got = codec.decode('{" dc":["argument_models:Coin",{"value":1,"nowhere":2}]}')
    assert got == Coin(1)
    with pytest.raises(ArgumentError, match=r"Address\.street is not in the stored job"):
        codec.decode('{" dc":["argument_models:Address",{"zip":1}]}')


@dataclass
class Trap:
    """Has a method for whatever a conversion to another type may call."""

    value: int = 1

    def _spring(self, *_: Any) -> Any:
        pytest.fail("a method of an object in stored text was called")

    __html__ = __fspath__ = __float__ = __index__ = __int__ = __bytes__ = __str__ = _spring
    __iter__ = __len__ = __getitem__ = __radd__ = __rmul__ = items = replace = partition = _spring


@pytest.mark.parametrize(
    "shape",
    [
        *("{}", "[{}]", "[[{},1]]", "[[1,{}]]", '["posix",{}]', '["2024-01-01",{},0]'),
        *('["2024-01-01",[{},"x"],0]', "[{},{}]", "[[{}]]"),
        *('["argument_models:Address",{}]', '["argument_models:Point",{}]'),
        *('["argument_models:Right",null,{}]', '["argument_models:Colour",{}]'),
    ],
)
@pytest.mark.parametrize("key", [each.key for each in Serializer.default_tags])
def test_no_method_of_an_object_is_called(codec: Codec, key: str, shape: str) -> None:
    """An object where a tag has none of its own is refused before anything is made of it."""
    trap = f'{{" dc":["{__name__}:Trap",{{"value":1}}]}}'
    text = f'{{"{key}":{shape.replace("{}", trap)}}}'
    with contextlib.suppress(ArgumentError):
        codec.decode(text)
    codec.plain(text)


def test_rows_of_unknown_classes(codec: Codec, shop: Flask) -> None:
    """Only mapped classes are looked for in the database."""
    for name in ("Worker", "Missing", "Address"):
        with pytest.raises(ArgumentError, match="as a database model"):
            codec.decode(f'{{" row":["argument_models:{name}",[1]]}}')
    with pytest.raises(ArgumentError):
        codec.decode('{" row":["os:User",[1]]}')


def test_plain_data_for_people(codec: Codec, shop: Flask) -> None:
    """What a client reads of arguments and results: JSON, without tags."""
    ann = User(id=3, name="Ann")
    db.session.add(ann)
    db.session.commit()
    codec.reference(Worker, dump=lambda worker: worker.name, load=Worker)
    value = {
        "tuple": (1, {2}),
        "bytes": b"ab",
        "moment": datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "day": date(2024, 1, 2),
        "time": time(1, 2),
        "span": timedelta(minutes=1, milliseconds=500),
        "number": [Decimal("1.50"), float("inf"), 2**70],
        "id": UUID(int=1),
        "path": Path("a/b"),
        "text": Markup("<b>"),
        "enum": [Colour.RED, Size.SMALL, Odd.PAIR, Right(3)],
        "data": Address("s", Coin(1)),
        "point": Point(1, 2),
        "keys": {1: "a", (1, 2): "b"},
        "like": {" t": [1]},
        "row": ann,
        "reference": Worker("w"),
    }
    assert codec.plain(codec.encode(value)) == {
        "tuple": [1, [2]],
        "bytes": "YWI=",
        "moment": "2024-01-02T03:04:05.000006+00:00",
        "day": "2024-01-02",
        "time": "01:02:00",
        "span": 60.5,
        "number": ["1.50", "inf", 2**70],
        "id": "00000000-0000-0000-0000-000000000001",
        "path": "a/b",
        "text": "<b>",
        "enum": ["red", 1, "PAIR", 3],
        "data": {"street": "s", "zip": {"value": 1, "currency": "EUR"}},
        "point": [1, 2],
        "keys": {"1": "a", "[1, 2]": "b"},
        "like": {" t": [1]},
        "row": "<User 3>",
        "reference": "<Worker w>",
    }
    Worker.known.clear()


def test_showing_loads_nothing(codec: Codec) -> None:
    """No reference is loaded and no class looked for."""
    codec.reference(Worker, dump=lambda worker: 1, load=lambda data: pytest.fail("loaded"))
    text = codec.encode(Worker("w"))
    assert codec.plain(text) == "<Worker 1>"
    assert codec.plain('{" row":["nowhere:Gone",[1,2]]}') == "<Gone 1, 2>"
    assert codec.plain('{" dc":["nowhere:Gone",{"a":1}]}') == {"a": 1}
    assert codec.plain('{" e":["nowhere:Gone","RED"]}') == "RED"
    Worker.known.clear()


def test_showing_never_fails(codec: Codec) -> None:
    """Text of another version, or broken, becomes a text that says so."""
    assert codec.plain('[{" newer":1}]') == ["<unknown: newer>"]
    assert codec.plain('[{" td":7}]') == ["<unreadable: td>"]
    assert codec.plain("{") == "<unreadable>"
    assert codec.plain('{" kv":[[1,2],["1",3]]}') == [[1, 2], ["1", 3]]


def test_reading_from_many_threads(codec: Codec) -> None:
    """The tables of one codec are shared by all threads."""
    text = codec.encode([Address(Coin((1, Colour.RED)))] * 50)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(codec.decode(text))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [[Address(Coin((1, Colour.RED)))] * 50] * 4
