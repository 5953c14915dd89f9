"""Which jobs a process runs: all, those of some queues, or none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from flask_bgtask import BackgroundTasks, ConfigError, testing

PATIENCE = 20.0

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


@pytest.mark.parametrize("config", [LEFT, IDLE], ids=["left", "idle"])
def test_tests_run_everything(
    make_app: Callable[..., Flask], bg: BackgroundTasks, config: dict[str, object]
) -> None:
    """``immediate`` runs jobs inside ``submit``, whatever the configuration leaves to others."""
    app = make_app(**config)
    with app.app_context(), testing.immediate(app):
        assert bg.using(queue="cpu").submit(int).result(0) == 0
