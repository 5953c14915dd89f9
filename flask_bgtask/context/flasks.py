"""Where Flask keeps its contexts.

Its public proxies find the same by up to six calls each, and every submit would pay for them:
that is why these are used, here and nowhere else.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import flask.globals
from flask.ctx import AppContext

#: From Flask 3.2 on there is but one context, with or without a request.
_MERGED = not hasattr(flask.globals, "_cv_request")

_app_context: ContextVar[AppContext] = flask.globals._cv_app
_request_context: ContextVar[Any] = getattr(flask.globals, "_cv_app" if _MERGED else "_cv_request")


def current_app_context() -> AppContext | None:
    """The app context that is pushed here."""
    return _app_context.get(None)


def current_request_context() -> Any:
    """The context that has the request, or ``None`` outside one."""
    context = _request_context.get(None)
    return None if _MERGED and context is not None and not context.has_request else context
