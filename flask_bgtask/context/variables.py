"""Context variables of the submitter, as a task gets them."""

from __future__ import annotations

import contextvars
import decimal

#: Flask's own variables stay behind: a copy would keep the request and everything it holds alive,
#: and the task would see a context that has ended. Ours stay too.
_LEFT_BEHIND = frozenset(
    {"flask.app_ctx", "flask.request_ctx", "flask_bgtask.job", "flask_bgtask.in_task"}
)

_DECIMAL = "decimal_context"


def own_variables(copied: contextvars.Context) -> contextvars.Context:
    """A new context with the variables of another one, but Flask's own."""
    fresh = contextvars.Context()
    for variable, value in copied.items():
        if variable.name not in _LEFT_BEHIND:
            fresh.run(variable.set, value)
    return fresh


def copied_variables() -> contextvars.Context:
    """A new context with the caller's variables, but Flask's own."""
    return own_variables(contextvars.copy_context())


def own_decimal_context() -> None:
    """Give the running context a decimal context of its own.

    The variable holds a mutable object, so a copied context shares it with its source
    (:mod:`decimal`: contexts are per thread or coroutine, and not meant to be shared).
    """
    for variable in contextvars.copy_context():
        if variable.name == _DECIMAL:
            decimal.setcontext(decimal.getcontext().copy())
