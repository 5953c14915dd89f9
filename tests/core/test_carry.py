"""``bg.carry``: what an application itself takes along from where it submits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from core_helpers import PATIENCE, hearing
from flask import Flask, current_app, g

from flask_bgtask import ArgumentError, BackgroundTasks
from flask_bgtask.signals import job_failed

Apps = Callable[..., Flask]


class Tenants:
    """A carrier of ``g.tenant`` that notes what happens to it."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def capture(self) -> Any:
        return g.get("tenant")

    @contextmanager
    def restore(self, data: Any) -> Iterator[None]:
        self.events.append(f"restore {data} for {current_app.name}")
        g.tenant = data
        try:
            yield
        except ValueError as error:
            self.events.append(f"failed: {error}")
            raise
        finally:
            self.events.append(f"cleaned up {data}")


@pytest.fixture
def tenants(bg: BackgroundTasks) -> Tenants:
    carrier = Tenants()
    bg.carry("tenant", capture=carrier.capture, restore=carrier.restore)
    return carrier


@pytest.mark.parametrize("durable", [False, True])
def test_a_carrier(app: Flask, bg: BackgroundTasks, tenants: Tenants, durable: bool) -> None:
    """What ``capture`` gave at submit, ``restore`` gets around the task, in its app context."""
    task = bg.task(lambda: g.tenant, name="look", durable=durable)
    with app.app_context():
        g.tenant = ("acme", 7)
        handle = task.submit()
        g.tenant = None
        assert handle.result(PATIENCE) == ("acme", 7)
    assert tenants.events == ["restore ('acme', 7) for tests", "cleaned up ('acme', 7)"]


def test_none_is_not_carried(app: Flask, bg: BackgroundTasks, tenants: Tenants) -> None:
    """``restore`` is not called then; other values count, however empty."""
    with app.app_context():
        assert bg.submit(lambda: "tenant" in g).result(PATIENCE) is False
        assert tenants.events == []
        g.tenant = 0
        assert bg.submit(lambda: g.tenant).result(PATIENCE) == 0


def test_the_same_name_replaces(app: Flask, bg: BackgroundTasks, tenants: Tenants) -> None:
    """A carrier that is registered again (a factory, a reloader) is there once."""
    again = Tenants()
    bg.carry("tenant", capture=again.capture, restore=again.restore)
    with app.app_context():
        g.tenant = "acme"
        assert bg.submit(lambda: g.tenant).result(PATIENCE) == "acme"
    assert tenants.events == []
    assert len(again.events) == 2


@pytest.mark.parametrize("name", ["babel", "owner", "request", "url"])
def test_names_of_our_own(app: Flask, bg: BackgroundTasks, name: str) -> None:
    """A carrier must not replace what is carried anyway; the error names what is taken."""
    with pytest.raises(ValueError, match="'babel', 'owner', 'request', 'url'"):
        bg.carry(name, capture=lambda: "mine", restore=contextmanager(lambda _: iter([None])))
    with app.test_request_context():
        assert bg.submit(int, "3").result(PATIENCE) == 3


def test_clean_up_after_a_failure(app: Flask, bg: BackgroundTasks, tenants: Tenants) -> None:
    """The task's exception goes through ``restore``, and through each attempt anew."""

    def fail() -> None:
        raise ValueError("mine")

    with app.app_context():
        g.tenant = "acme"
        handle = bg.using(retries=1, backoff=0).submit(fail)
        assert str(handle.exception(PATIENCE)) == "mine"
    assert tenants.events == ["restore acme for tests", "failed: mine", "cleaned up acme"] * 2


def test_carriers_surround_each_other(app: Flask, bg: BackgroundTasks) -> None:
    """In the order of their registration; the last one is the innermost."""
    events: list[str] = []

    def register(name: str) -> None:
        @contextmanager
        def restore(data: Any) -> Iterator[None]:
            events.append(f"+{data}")
            yield
            events.append(f"-{data}")

        bg.carry(name, capture=lambda: name, restore=restore)

    register("a")
    register("b")
    with app.app_context():
        bg.submit(events.append, "task").result(PATIENCE)
    assert events == ["+a", "+b", "task", "-b", "-a"]


def test_a_restore_that_fails(app: Flask, bg: BackgroundTasks) -> None:
    """The task does not run without what it needs: the job fails with that error."""
    called: list[int] = []

    def restore(data: Any) -> Any:
        raise LookupError(f"no tenant {data}")

    bg.carry("tenant", capture=lambda: "acme", restore=restore)
    with app.app_context(), hearing(job_failed, app) as heard:
        handle = bg.submit(called.append, 1)
        assert str(handle.exception(PATIENCE)) == "no tenant acme"
        assert heard.wait()[0].error.type == "LookupError"
    assert called == []


def test_a_capture_that_fails(app: Flask, bg: BackgroundTasks) -> None:
    """It fails at submit, where it was called; nothing is queued."""

    def capture() -> Any:
        raise LookupError("no tenant")

    bg.carry("tenant", capture=capture, restore=contextmanager(lambda data: iter([None])))
    with app.app_context():
        with pytest.raises(LookupError, match="no tenant"):
            bg.submit(int)
        assert bg.jobs().items == []


def test_carried_data_has_to_be_plain(app: Flask, bg: BackgroundTasks) -> None:
    """What cannot leave the process is refused at submit of a durable job, by its path."""
    data = {"lock": threading.Lock()}
    bg.carry("tenant", capture=lambda: data, restore=contextmanager(lambda data: iter([None])))
    with app.app_context():
        with pytest.raises(ArgumentError) as caught:
            bg.task(int, name="number").submit()
        assert caught.value.path == "carried['tenant']['lock']"
        assert bg.jobs().items == []
        assert bg.submit(int).result(PATIENCE) == 0


def test_a_carrier_is_inherited(app: Flask, bg: BackgroundTasks, tenants: Tenants) -> None:
    """A task's own jobs get its data, unless ``capture`` finds other data in the task."""

    def nested(change: bool) -> str:
        if change:
            g.tenant = "other"
        else:
            del g.tenant
        return bg.submit(lambda: g.tenant).result(PATIENCE)

    with app.app_context():
        g.tenant = "acme"
        assert bg.submit(nested, False).result(PATIENCE) == "acme"
        assert bg.submit(nested, True).result(PATIENCE) == "other"


def test_carriers_are_the_extension_s(make_app: Apps, bg: BackgroundTasks, caplog: Any) -> None:
    """They are registered on ``bg``, and so count for all of its apps, whenever registered."""
    one, two = make_app("one"), make_app("two")
    tenants = Tenants()
    bg.carry("tenant", capture=tenants.capture, restore=tenants.restore)
    with caplog.at_level(logging.WARNING):
        for app in (one, two):
            with app.app_context():
                g.tenant = app.name
                assert bg.submit(lambda: g.tenant).result(PATIENCE) == app.name
    assert caplog.records == []
