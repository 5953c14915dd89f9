"""What a stored job cannot carry: refused at submit, with its path and what to do instead."""

from __future__ import annotations

import dataclasses
import enum
import io
import logging
import os
import socket
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import datetime, time
from typing import Any

import flask
import pytest
import pytz
from argument_models import Address, Colour, Counted, Machine, Quiet, double
from dateutil import tz
from flask import Flask
from werkzeug.datastructures import MultiDict

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import MAX_BYTES, Codec


def refused(codec: Codec, *args: Any, **kwargs: Any) -> ArgumentError:
    with pytest.raises(ArgumentError) as caught:
        codec.encode_arguments(args, kwargs)
    assert caught.value.path in str(caught.value)
    return caught.value


def test_the_error_of_the_contract(codec: Codec) -> None:
    """The path leads to the culprit, and the text says what to do."""

    message = Address("street")
    with open(os.devnull, "w") as file:
        message.attachments = [b"fine", file]
        assert str(refused(codec, message)) == (
            "args[0].attachments[1] (TextIOWrapper) cannot leave this process: pass its path, or "
            "what it contains"
        )


class Text(str):
    """A text that does more."""


class Number(int):
    """A number that does more."""


@pytest.mark.parametrize(
    ("value", "kind", "advice"),
    [
        (io.BytesIO(), "BytesIO", "file.getvalue()"),
        (io.StringIO(), "StringIO", "file.getvalue()"),
        (threading.Lock(), "lock", "serial="),
        (threading.RLock(), "RLock", "serial="),
        (threading.Condition(), "Condition", "serial="),
        (threading.Semaphore(), "Semaphore", "serial="),
        (threading.Event(), "Event", "make it in the task's module"),
        (threading.Thread(), "Thread", "start it in the task"),
        (threading.local(), "_local", "pass the values"),
        (logging.getLogger("x"), "Logger", "logging.getLogger(name)"),
        (sys, "module", "import it"),
        (double, "function", "pass a name"),
        ((lambda: 1), "function", "pass a name"),
        (len, "builtin_function_or_method", "pass a name"),
        ([].append, "builtin_function_or_method", "pass a name"),
        (Quiet().run, "method", "pass a name"),
        (Quiet, "type", "pass a name"),
        (Colour, "EnumType", "pass a name"),
        (ValueError("x"), "ValueError", "str(error)"),
        (range(3), "range", "pass list(…)"),
        (deque([1]), "deque", "pass list(…)"),
        (iter([1]), "list_iterator", "pass a list"),
        (map(str, [1]), "map", "pass a list"),
        (1 + 2j, "complex", "z.real"),
        (memoryview(b"x"), "memoryview", "pass bytes(…)"),
        (OrderedDict(a=1), "OrderedDict", "pass dict(…)"),
        (defaultdict(list), "defaultdict", "pass dict(…)"),
        (Counter("x"), "Counter", "pass dict(…)"),
        (MultiDict({"a": 1}), "MultiDict", "pass dict(…)"),
        (Counted(), "Counted", "pass list(…)"),
        (Text("x"), "Text", "pass str(…)"),
        (Number(1), "Number", "pass int(…)"),
        (Quiet(), "Quiet", "bg.reference(Quiet, dump=…, load=…)"),
        (object(), "object", "make its class a dataclass"),
        (..., "ellipsis", "pass plain data"),
        (Flask(__name__), "Flask", "another app"),
    ],
    ids=lambda value: value if type(value) is str else type(value).__name__,
)
def test_every_refusal_says_what_to_do(codec: Codec, value: Any, kind: str, advice: str) -> None:
    """The class, and what would work, wherever the value is."""
    cases: list[tuple[str, ArgumentError]] = [
        ("args[0]", refused(codec, value)),
        ("kwargs['when']", refused(codec, 1, when=value)),
        ("args[2]['key']", refused(codec, 1, 2, {"key": value})),
        ("args[0][1]['a'].street", refused(codec, (0, {"a": Address(value)}))),
        ("args[0][1]", refused(codec, {1: value})),
    ]
    for path, error in cases:
        assert error.path == path
        assert error.why.startswith(f"({kind}) ")
        assert advice in error.why


def test_sockets_are_refused(codec: Codec) -> None:
    """An open connection is the process's own."""
    with socket.socket() as open_one:
        assert "open it in the task" in refused(codec, open_one).why


def test_keys_and_members_are_looked_at(codec: Codec) -> None:
    """What makes a key or is in a set has to travel too."""
    lock = threading.Lock()
    assert refused(codec, {1: 2, lock: 3}).path == "args[0].keys()[1]"
    assert refused(codec, {(1, lock): 3}).path == "args[0].keys()[0][1]"
    assert refused(codec, {lock}).path == "args[0]{…}"
    assert refused(codec, {Text("x"): 1}).path == "args[0].keys()[0]"
    assert refused(codec, {10**5000: lock}).path == "args[0][<int>]"


@pytest.mark.parametrize("zone", [pytz.timezone("Europe/Vienna"), tz.gettz("Europe/Vienna")])
def test_zones_of_other_libraries_are_refused(codec: Codec, zone: Any) -> None:
    """They would come back as another zone, or none."""
    for moment in (datetime(2024, 1, 1, tzinfo=zone), time(1, tzinfo=zone)):
        assert "use zoneinfo.ZoneInfo(…)" in refused(codec, moment).why


def test_classes_that_cannot_be_found_again(codec: Codec) -> None:
    """A class inside a function has no name that another process could use."""

    class Local(enum.Enum):
        ONE = 1

    @dataclasses.dataclass
    class Data:
        x: int = 1

    Pair = namedtuple("Pair", "a b")
    for value in (Local.ONE, Data(), Pair(1, 2)):
        error = refused(codec, [value])
        assert error.path == "args[0][0]"
        assert "define it at the top level of a module" in error.why


def test_cycles_are_refused_where_they_close(codec: Codec) -> None:
    """The path ends at what is inside of itself."""
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = [loop]
    error = refused(codec, 0, (loop,))
    assert error.path == "args[1][0]['self'][0]"
    assert error.why.startswith("contains itself")
    address = Address("x")
    address.street = [address]
    assert refused(codec, address).path == "args[0].street[0]"
    many: list[Any] = []
    many.extend([[], many])
    assert refused(codec, many).path == "args[0][1]"


@pytest.mark.parametrize("levels", [100, 101, 100_000])
def test_deep_nesting(codec: Codec, levels: int) -> None:
    """A hundred levels travel, more are refused in words."""
    value: Any = []
    for level in range(levels - 1):
        value = [value] if level % 2 else {"k": value}
    try:
        if levels <= 100:
            assert codec.decode(codec.encode(value)) == value
        else:
            error = refused(codec, value)
            assert "more than 100 levels deep" in error.why
            assert len(error.path) < 150
    finally:
        while value:  # or the interpreter would take it down recursively
            value = value[0] if type(value) is list else value["k"]


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: Address(x), lambda x: {1: x}])
def test_a_hundred_levels_come_back(codec: Codec, wrap: Any) -> None:
    """Of whatever container, and on a stack that is used already."""
    value: Any = 1
    for _ in range(100):
        value = wrap(value)

    def deeper(levels: int) -> Any:
        return deeper(levels - 1) if levels else codec.decode(codec.encode(value))

    assert deeper(100) == value


def test_little_stack(codec: Codec) -> None:
    """Where the stack is nearly used up, the error is still one of ours."""
    value: Any = 1
    for _ in range(90):
        value = (value,)
    caught: list[type[BaseException]] = []

    def deeper() -> None:
        try:
            deeper()
        except RecursionError:
            raise
        finally:
            if not caught:
                try:
                    codec.encode(value)
                except (RecursionError, ArgumentError) as error:
                    if isinstance(error, ArgumentError):
                        caught.append(type(error))

    with pytest.raises(RecursionError):
        deeper()
    assert caught == [ArgumentError]


def test_text_has_a_limit(codec: Codec) -> None:
    """The error says how long it would be; a caller may set another limit."""
    large = b"x" * MAX_BYTES
    with pytest.raises(ArgumentError, match=r"arguments would take 1,39\d,\d+ bytes .* 1,048,576"):
        codec.encode_arguments((large,), {})
    with pytest.raises(ArgumentError, match="result would take"):
        codec.encode(large)
    with pytest.raises(ArgumentError, match="and 10 are the limit"):
        codec.encode_call(double, ("x" * 20,), {}, max_bytes=10)
    assert codec.decode(codec.encode(large, max_bytes=2 * MAX_BYTES)) == large


def test_results_name_themselves(codec: Codec) -> None:
    """The path begins with what is encoded."""
    with pytest.raises(ArgumentError) as caught:
        codec.encode({"a": [object()]})
    assert caught.value.path == "result['a'][0]"
    with pytest.raises(ArgumentError) as caught:
        codec.encode({"a": object()}, "carried")
    assert caught.value.path == "carried['a']"


def test_nothing_is_evaluated_on_the_way(codec: Codec) -> None:
    """A refused object is not asked for its repr, nor for anything else."""

    class Explosive:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

        def __repr__(self) -> str:
            raise AssertionError("repr")

        __hash__ = __eq__ = __str__ = __repr__

    assert refused(codec, [Explosive()]).path == "args[0][0]"


def test_an_app_without_a_context(codec: Codec) -> None:
    """The app is only known as the current one."""
    assert not flask.has_app_context()
    assert "another app" in refused(codec, Flask(__name__)).why


def test_a_machine_with_an_open_file(codec: Codec, tmp_path: Any) -> None:
    """An object's own advice: a reference."""
    machine = Machine(str(tmp_path / "log"))
    assert "bg.reference(Machine, dump=…, load=…)" in refused(codec, machine).why
    machine.log.close()
