"""An app in a uWSGI that lets no thread of its own run has no workers, and says so at its start."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from flask import Flask

from flask_bgtask import BackgroundTasks, ConfigError
from flask_bgtask.startup import placing, uwsgi


@pytest.mark.parametrize(("has_threads", "said"), [(0, 1), (1, 0)])
def test_uwsgi_without_threads(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    has_threads: int,
    said: int,
) -> None:
    """One warning, with what to write, however many apps there are; else jobs just hang."""
    server = SimpleNamespace(worker_id=lambda: 0, has_threads=has_threads)
    monkeypatch.setitem(sys.modules, "uwsgi", server)
    monkeypatch.setattr(placing, "_placed", {})
    with caplog.at_level(logging.WARNING, "flask_bgtask"):
        uwsgi.place()
        uwsgi.place()
    assert len(caplog.messages) == said
    assert all("enable-threads = true" in message for message in caplog.messages)


def test_without_workers(
    monkeypatch: pytest.MonkeyPatch, make_app: Callable[..., Flask], bg: BackgroundTasks
) -> None:
    """Where nothing would run, durable jobs wait for another process, and others are refused."""
    with monkeypatch.context() as inside:
        inside.setitem(sys.modules, "uwsgi", SimpleNamespace(worker_id=lambda: 0, has_threads=0))
        web = make_app(BGTASK_STORE="sqlite")
    with web.app_context():
        with pytest.raises(ConfigError, match="enable-threads = true into its configuration"):
            bg.submit(int)
        assert bg.jobs().items == []
        job_id = bg.using(durable=True).submit(int, "3").id
        assert bg.get(job_id).state == "queued"
    worker = make_app(BGTASK_STORE="sqlite")
    bg.start(worker)
    with worker.app_context():
        assert bg.handle(job_id).result(20) == 3
