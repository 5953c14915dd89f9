"""Telling the application of its jobs, by signals and its log: what fails in it harms no job."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from blinker import NamedSignal
from flask import Flask

from .context import inside
from .coroutines import run_to_end
from .naming import printable

logger = logging.getLogger("flask_bgtask")


def is_heard(signal: NamedSignal) -> bool:
    """Whether somebody listens; if not, nothing need be put together for it."""
    return bool(signal.receivers) and not signal.is_muted


def send(app: Flask, signal: NamedSignal, about: str, **data: Any) -> None:
    """Call the receivers of a signal, with the app as sender; one that fails is logged.

    :param about: the job or mail in question, for the log.
    """
    with inside(app):
        for receiver in signal.receivers_for(app):
            try:
                run_to_end(receiver(app, **data))
            except Exception:
                text = "receiver %r of %s failed for %s"
                log(app, logging.ERROR, text, receiver, signal.name, about, exc_info=True)


def log(
    app: Flask, level: int, text: str, *args: Any, exc_info: Any = None, stacklevel: int = 1
) -> None:
    """Write to the app's log, as :meth:`logging.Logger.log`; a handler may fail.

    :param args: texts among them may come from the store, and are made printable.
    """
    args = tuple(printable(arg) if isinstance(arg, str) else arg for arg in args)
    try:
        app.logger.log(level, text, *args, exc_info=exc_info, stacklevel=stacklevel + 1)
    except Exception:
        with suppress(Exception):
            logger.exception("the log of %s failed", app.name)
