"""Which jobs a process runs: all, those of some queues, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks, ConfigError, testing

LEFT = {"BGTASK_QUEUES": {"cpu": 0}}
IDLE = {"BGTASK_RUN_WORKERS": False}


@pytest.mark.parametrize(("config", "key"), [(LEFT, "BGTASK_QUEUES"), (IDLE, "BGTASK_RUN_WORKERS")])
def test_a_job_that_could_run_nowhere(
    make_app: Callable[..., Flask], bg: BackgroundTasks, config: dict[str, object], key: str
) -> None:
    """It lives in this process, which would never run it: refused, and nothing was queued."""
    app = make_app(**config)
    with app.app_context():
        with pytest.raises(ConfigError) as caught:
            bg.using(queue="cpu").submit(int)
        assert caught.value.key == key
        assert bg.jobs().items == []


def test_a_durable_job_waits_for_others(
    make_app: Callable[..., Flask], bg: BackgroundTasks
) -> None:
    """Another process may take its queue."""
    app = make_app(**LEFT)
    with app.app_context():
        handle = bg.using(queue="cpu", durable=True).submit(int)
        assert handle.job.state == "queued"
        assert bg.submit(int).result(PATIENCE) == 0
        assert handle.cancel()


def test_a_queue_is_never_over_its_limit(
    make_app: Callable[..., Flask], bg: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last place is not given away while the store is asked for a job that may take it."""
    app = make_app(BGTASK_STORE="sqlite", BGTASK_QUEUES={"narrow": 1})
    other = make_app(BGTASK_STORE="sqlite", **IDLE)
    gate, asked, go, answered = Gate(), *(threading.Event() for _ in range(3))
    with other.app_context():
        first = bg.task(gate, name="first").using(queue="narrow").submit()
    store = app.extensions["bgtask"].store
    claim = store.claim

    def claim_slowly(*args: Any) -> Any:
        asked.set()
        assert go.wait(PATIENCE)
        claimed = claim(*args)
        answered.set()
        return claimed

    monkeypatch.setattr(store, "claim", claim_slowly)
    bg.start(app)
    assert asked.wait(PATIENCE)
    with app.app_context():
        second = bg.using(queue="narrow").submit(int, "2")
        go.set()
        assert answered.wait(PATIENCE)
        assert (first.job.state, second.job.state) == ("running", "queued")
        gate.open()
        assert second.result(PATIENCE) == 2


@pytest.mark.parametrize("config", [LEFT, IDLE], ids=["left", "idle"])
def test_tests_run_everything(
    make_app: Callable[..., Flask], bg: BackgroundTasks, config: dict[str, object]
) -> None:
    """``immediate`` runs jobs inside ``submit``, whatever the configuration leaves to others."""
    app = make_app(**config)
    with app.app_context(), testing.immediate(app):
        assert bg.using(queue="cpu").submit(int).result(0) == 0
