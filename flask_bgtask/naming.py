"""Where a callable comes from, its name for people, and how names are written into a log."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

#: The name under which the task that sends mail is registered.
MAIL_TASK = "flask_bgtask.send_mail"

_CACHED = type(cache(len))


def origin(fn: Callable[..., Any]) -> tuple[str, str]:
    """Module and qualified name; of an object that has none, those of its class.

    Goes by ``type(fn)`` and asks nothing of an object of the application's: it may be a proxy.
    """
    kind = type(fn)
    while kind in (partial, MethodType, _CACHED):
        fn = _inner(fn, kind)
        kind = type(fn)
    if kind is BuiltinFunctionType:
        return fn.__module__ or type(fn.__self__).__module__, fn.__qualname__  # type: ignore[attr-defined]
    named = fn if kind is FunctionType or issubclass(kind, type) else kind
    return str(named.__module__), named.__qualname__


def callable_name(fn: Any) -> str:
    """``module:qualname`` of what is called, for people."""
    if type(fn) is FunctionType:  # without a further call: every submit pays for this
        return f"{fn.__module__}:{fn.__qualname__}"
    return ":".join(origin(fn))


def printable(text: str) -> str:
    """Text with escapes in place of what a terminal or a reader of logs would obey.

    A name that comes from the store may be anything: line breaks that forge a line, say.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _inner(fn: Any, kind: type) -> Any:
    if kind is partial:
        return fn.func
    return fn.__func__ if kind is MethodType else fn.__wrapped__
