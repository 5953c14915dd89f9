"""The package's own table of contents."""

from __future__ import annotations

import re
from pathlib import Path

import flask_bgtask
from flask_bgtask import errors, signals


def test_everything_in_all_is_there() -> None:
    """``__all__`` is sorted, complete and importable."""
    names = flask_bgtask.__all__
    assert sorted(names) == sorted(set(names))
    kinds = "submitted", "started", "progressed", "retrying", "succeeded", "failed"
    for name in (*kinds, "cancelled", "lost"):
        assert hasattr(signals, f"job_{name}")
    assert hasattr(signals, "mail_sent")


def test_everything_in_all_is_on_the_api_page() -> None:
    """The errors are there by their module, all others by name."""
    page = (Path(__file__).parents[1] / "docs" / "api.rst").read_text()
    listed = set(re.findall(r"^\.\. auto\w+:: (\w+)|^\.\. data:: (\w+)", page, re.MULTILINE))
    names = {name for names in listed for name in names} | vars(errors).keys()
    assert set(flask_bgtask.__all__) - names == {"__version__"}


def test_failures_of_mail_are_public() -> None:
    """They are caught by the names that the guide tells."""
    assert issubclass(flask_bgtask.MailRefused, flask_bgtask.Abort)
    assert issubclass(flask_bgtask.MailDeferred, flask_bgtask.BgTaskError)
