"""The package's own table of contents."""

from __future__ import annotations

import flask_bgtask
from flask_bgtask import signals


def test_everything_in_all_is_there() -> None:
    """``__all__`` is sorted, complete and importable."""
    names = flask_bgtask.__all__
    assert sorted(names) == sorted(set(names))
    kinds = "submitted", "started", "progressed", "retrying", "succeeded", "failed"
    for name in (*kinds, "cancelled", "lost"):
        assert hasattr(signals, f"job_{name}")
    assert hasattr(signals, "mail_sent")
