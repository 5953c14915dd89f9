"""Where Flask keeps its contexts.

Its public proxies find the same by up to six calls each, and every submit would pay for them:
that is why these are used, here and nowhere else.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import flask.globals
from flask import Flask
from flask.ctx import AppContext

#: In Flask 3.2, as announced, there is but one context, with or without a request.
_MERGED = not hasattr(flask.globals, "_cv_request")

_app_context: ContextVar[AppContext] = flask.globals._cv_app
_request_context: ContextVar[Any] = getattr(flask.globals, "_cv_app" if _MERGED else "_cv_request")


def current_app_context() -> AppContext | None:
    """The app context that is pushed here."""
    return _app_context.get(None)


def inside(app: Flask) -> AbstractContextManager[Any]:
    """Surround something with an app context of ``app``: the current one if it is that app's.

    The end of a new one would run the teardown functions, in the middle of a view or a task, and
    they give up what it works with: a database session that belongs to the thread, say. Besides,
    what is lazy (a text, by the locale) is to be evaluated in the caller's context.
    """
    context = current_app_context()
    return nullcontext() if context is not None and context.app is app else app.app_context()


def current_request_context() -> Any:
    """The context that has the request, or ``None`` outside one."""
    context = _request_context.get(None)
    return None if _MERGED and context is not None and not context.has_request else context
