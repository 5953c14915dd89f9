"""The package's own table of contents."""

from __future__ import annotations

import flask_bgtask
from flask_bgtask import errors, signals


def test_everything_in_all_is_there() -> None:
    """``__all__`` is sorted, complete and importable."""
    names = flask_bgtask.__all__
    assert sorted(names) == sorted(set(names))
    for name in names:
        assert hasattr(flask_bgtask, name), name


def test_every_error_is_exported() -> None:
    """Each exception that users may catch can be imported from the top."""
    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.BgTaskError)
    }
    assert kinds <= set(flask_bgtask.__all__)


def test_the_signals_of_the_contract() -> None:
    """Their names are fixed."""
    for name in (
        "job_submitted job_started job_progressed job_retrying job_succeeded job_failed "
        "job_cancelled job_lost mail_sent"
    ).split():
        assert hasattr(signals, name)
