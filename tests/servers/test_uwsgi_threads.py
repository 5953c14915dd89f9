"""An app in a uWSGI that lets no thread of its own run says so at its start."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

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
