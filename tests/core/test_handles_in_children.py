"""Handles in forked children: of jobs that the parent submitted, and may run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, as_completed, wait
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask, current_app

from flask_bgtask import BackgroundTasks, Handle

Apps = Callable[..., Flask]

SHARED = {"BGTASK_STORE": "sqlite"}

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def in_child(check: Callable[[], bool], meanwhile: Callable[[], object] = int) -> bool:
    """Whether a check holds in a forked child; what the parent does while it is made."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            signal.alarm(int(PATIENCE))  # ends it if it hangs
            code = 0 if check() else 1
        finally:
            os._exit(code)
    meanwhile()
    return os.waitpid(child, 0)[1] == 0


def has_result(handle: Handle[int]) -> bool:
    return handle.result(PATIENCE / 2) == 3


def is_waited_for(handle: Handle[int]) -> bool:
    return handle in wait([handle], PATIENCE / 2).done


def is_completed(handle: Handle[int]) -> bool:
    return next(as_completed([handle], PATIENCE / 2)) is handle


def calls_back(handle: Handle[int]) -> bool:
    called = threading.Event()
    handle.add_done_callback(lambda _: called.set())
    return called.wait(PATIENCE / 2)


def is_the_one_that_is_found(handle: Handle[int]) -> bool:
    bg: BackgroundTasks = current_app.extensions["here"]
    return bg.handle(handle.id).result(PATIENCE / 2) == 3 and handle.result(0) == 3


ASKED = [has_result, is_waited_for, is_completed, calls_back, is_the_one_that_is_found]


@pytest.mark.parametrize("durable", [False, True], ids=["volatile", "durable"])
@pytest.mark.parametrize("ask", ASKED)
def test_a_forked_child_waits_for_a_job_of_its_parent(
    make_app: Apps, bg: BackgroundTasks, ask: Callable[[Handle[int]], bool], durable: bool
) -> None:
    """Whichever way it asks, though the parent runs the job and had asked before."""
    app, gate = make_app(**SHARED), Gate()
    app.extensions["here"] = bg
    hold = bg.task(gate, name="hold", durable=durable)
    with app.app_context():
        handle = hold.submit(3)
        assert gate.began()
        assert not handle.done()
        assert handle.job.state == "running"  # its row is there for all
        assert in_child(lambda: ask(handle), gate.open)
        assert handle.result(PATIENCE) == 3


def test_a_forked_child_cancels_a_job_of_its_parent(make_app: Apps, bg: BackgroundTasks) -> None:
    """Its handle knows, and so does the parent's."""
    app = make_app(**SHARED)
    with app.app_context():
        handle = bg.task(int, name="number").using(delay=3600).submit(3)
        assert in_child(lambda: handle.cancel() and handle.cancelled() and handle.done())
        with pytest.raises(CancelledError):
            handle.result(PATIENCE)


def test_a_forked_child_starts_no_thread_for_what_it_inherited(
    make_app: Apps, bg: BackgroundTasks
) -> None:
    """Not until it asks; callbacks are called where they were added, in the parent."""
    app, called = make_app(**SHARED), threading.Event()
    with app.app_context():
        handle = bg.task(int, name="number").using(delay=3600).submit(3)
        handle.add_done_callback(lambda _: called.set())

        def check() -> bool:
            assert handle.job.state == "scheduled"
            alone = threading.active_count() == 1
            return alone and handle.cancel() and handle.done() and not called.is_set()

        assert in_child(check)
        assert called.wait(PATIENCE)


def test_a_forked_child_asks_while_a_thread_of_its_parent_did(
    make_app: Apps, bg: BackgroundTasks
) -> None:
    """A lock that is held at the fork stays held in the child for ever, if the child uses it."""
    app, gate, held = make_app(**SHARED), Gate(), Gate()

    with app.app_context():
        handle = bg.task(gate, name="hold").submit(3)
        assert gate.began()
        assert not handle.done()
        holder = threading.Thread(target=_hold, args=(handle, held))
        holder.start()
        assert held.began()
        assert in_child(lambda: has_result(handle), lambda: (held.open(), gate.open()))
        holder.join(PATIENCE)


def _hold(handle: Handle[Any], held: Gate) -> None:
    with handle._condition:
        held()
