"""What the memory store says where it is the wrong one."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from flask_bgtask import BackgroundTasks

PATIENCE = 20.0


def make(bg: BackgroundTasks, **config: Any) -> Flask:
    app = Flask("memory-warnings")
    app.config.update(BGTASK_STORE="memory", **config)
    bg.init_app(app)
    app.add_url_rule("/", view_func=lambda: str(bg.submit(max, 1, 2).result(PATIENCE)))
    return app


@pytest.mark.parametrize("several", [True, False])
def test_several_processes(
    bg: BackgroundTasks, caplog: pytest.LogCaptureFixture, several: bool
) -> None:
    """Said once, and only where the server has several processes."""
    client = make(bg).test_client()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            client.get("/", environ_overrides={"wsgi.multiprocess": several})
    assert caplog.text.count("several server processes") == int(several)


def test_nobody_to_run_jobs(bg: BackgroundTasks, caplog: pytest.LogCaptureFixture) -> None:
    """A process that only submits, with a store that nobody else sees."""
    app = make(bg, BGTASK_RUN_WORKERS=False)
    with app.app_context(), caplog.at_level(logging.WARNING):
        bg.jobs()
    assert "runs no jobs" in caplog.text
