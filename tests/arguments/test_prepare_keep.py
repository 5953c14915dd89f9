"""Jobs with several attempts: each gets the arguments as they were at submit."""

from __future__ import annotations

import copy
import threading
from collections import deque
from functools import partial
from typing import Any

from argument_models import Address, Point, Worker, keep
from flask import Flask, current_app

from flask_bgtask.arguments import Codec


class Note:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tags = ["new"]


class Stubborn:
    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_each_attempt_gets_its_own_copy(codec: Codec) -> None:
    """What the caller or an earlier attempt does to an argument, the next attempt does not see."""
    rows, note = [[1], {2}, {"a": bytearray(b"x")}, deque([3])], Note("first")
    prepared = codec.prepare(keep, (rows, note), {"point": Point([1], 2)}, keep=True)
    rows.clear()
    note.tags.append("changed by the caller")
    for _ in range(2):
        _, (got, copied), named = prepared.attempt()
        assert got == [[1], {2}, {"a": bytearray(b"x")}, deque([3])]
        assert copied.tags == ["new"]
        assert named["point"] == Point([1], 2)
        got[0].append("changed by the task")
        got.clear()
        copied.tags.append("changed by the task")
        named["point"].x.append("changed by the task")


def test_without_keep_nothing_is_copied(codec: Codec) -> None:
    """A job with one attempt gets the objects themselves."""
    rows: list[Any] = [Note("first")]
    assert codec.prepare(keep, (rows,), {}).attempt()[1][0] is rows


def test_what_refuses_to_be_copied_is_shared(codec: Codec) -> None:
    """A lock, or an object that holds one, is the same in every attempt; its neighbours are not."""
    stubborn, lock, rows = Stubborn(), threading.Lock(), [1]
    prepared = codec.prepare(keep, ([stubborn, lock, rows],), {}, keep=True)
    got = prepared.attempt()[1][0]
    assert got[0] is stubborn
    assert got[1] is lock
    assert got[2] == rows
    assert got[2] is not rows


def test_parts_of_what_refuses_are_copied_whole(codec: Codec) -> None:
    """A copy that failed in the middle leaves nothing half done behind."""
    stubborn = Stubborn()
    stubborn.rows = [1, [2], stubborn.lock, 3]
    prepared = codec.prepare(keep, (stubborn, stubborn.rows[1], stubborn.rows), {}, keep=True)
    for _ in range(2):
        _, (first, inner, rows), _ = prepared.attempt()
        assert first is stubborn
        assert inner == [2]
        assert rows == [1, [2], stubborn.lock, 3]
        assert rows is not stubborn.rows
        assert rows[1] is inner


def test_one_object_in_two_places_stays_one(codec: Codec) -> None:
    """A copy keeps what is the same, and cycles."""
    note, loop = Note("first"), [1]
    loop.append(loop)
    _, args, kwargs = codec.prepare(keep, (note, [note], loop), {"note": note}, keep=True).attempt()
    assert args[0] is not note
    assert args[0] is args[1][0]
    assert args[2] is args[2][1] is not loop
    assert kwargs["note"].text == "first"


def test_the_app_and_its_extensions_are_shared(codec: Codec) -> None:
    """They are no data: an object that holds them is copied without them."""
    app = Flask(__name__)
    extension = Note("an extension")
    app.extensions["note"] = extension
    holder = Note("holder")
    holder.app, holder.extension = app, extension
    with app.app_context():
        holder.proxy = current_app
        _, args, _ = codec.prepare(keep, (app, holder, [current_app]), {}, keep=True).attempt()
    assert args[0] is app
    assert args[1] is not holder
    assert args[1].app is app
    assert args[1].proxy is app
    assert args[1].extension is extension
    assert args[2] == [app]


def test_the_arguments_of_a_partial_are_copied_too(codec: Codec) -> None:
    """They are arguments like the others; the object of a bound method is not."""
    rows, worker = [1], Worker("w")
    worker.state = rows
    prepared = codec.prepare(partial(worker.run, rows, k={"r": rows}), (), {}, keep=True)
    rows.append(2)
    fn, _, _ = prepared.attempt()
    assert fn.args == ([1],)
    assert fn.keywords == {"k": {"r": [1]}}
    assert fn.func.__self__ is worker
    given = codec.prepare(keep, (worker.run,), {}, keep=True).attempt()[1][0]
    assert given.__self__ is worker


def test_an_error_in_copying_is_no_error(codec: Codec) -> None:
    """Whatever an object's own ``__deepcopy__`` raises, it is shared then."""

    class Broken:
        def __deepcopy__(self, memo: object) -> Broken:
            raise KeyError("no")

    broken = Broken()
    assert codec.prepare(keep, (broken,), {}, keep=True).attempt()[1][0] is broken


def test_dataclasses_are_copied_deeply(codec: Codec) -> None:
    """With their own ways of copying, if they have them."""
    address = Address(["street"])
    got = codec.prepare(keep, (address,), {}, keep=True).attempt()[1][0]
    assert got == copy.deepcopy(address)
    assert got.street is not address.street
