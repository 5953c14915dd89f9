"""What an object is, told by ``type(x)`` alone.

A proxy answers for another object when it is asked for ``__class__`` or an attribute, and a lazy
string evaluates itself; so nothing here asks the object.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import BuiltinFunctionType, EllipsisType, FunctionType, ModuleType, NoneType
from typing import Any
from uuid import UUID

import flask
from markupsafe import Markup
from werkzeug.local import LocalProxy

from .refusal import Refused

#: Types whose objects hold nothing that could be a proxy, and do not change. Exactly these types.
ATOMS: frozenset[type] = frozenset(
    {
        *(NoneType, EllipsisType, bool, int, float, complex, str, bytes, range, Markup),
        *(datetime, date, time, timedelta, timezone, Decimal, UUID),
        *(type(Path()), PurePosixPath, PureWindowsPath, FunctionType, ModuleType, type),
    }
)

#: Lazy strings of the libraries that have them: module and class.
_LAZY = (
    ("flask_babel.speaklater", "LazyString"),
    ("flask_babelex.speaklater", "LazyString"),
    ("speaklater", "_LazyString"),
    ("babel.support", "LazyProxy"),
)


def loaded(module: str, name: str) -> type | None:
    """A class of an optional library; ``None`` while nobody has imported the library."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def derives(kind: type, *bases: type | None) -> bool:
    """Whether a type really inherits from one of the classes; asks no metaclass."""
    ancestors = kind.__mro__
    return any(base in ancestors for base in bases if base is not None)


def is_lazy(kind: type) -> bool:
    """Whether objects of the type are lazy strings."""
    return derives(kind, *(loaded(module, name) for module, name in _LAZY))


def is_proxy(kind: type) -> bool:
    """Whether objects of the type stand for others."""
    return derives(kind, LocalProxy)


def is_named_tuple(kind: type) -> bool:
    """Whether a class is a tuple with named fields."""
    return derives(kind, tuple) and type(getattr(kind, "_fields", None)) is tuple


def is_plain_function(value: object) -> bool:
    """Whether a callable is a function that is bound to nothing."""
    kind = type(value)
    return kind is FunctionType or (
        kind is BuiltinFunctionType and type(getattr(value, "__self__", None)) is ModuleType
    )


def unwrap(proxy: Any) -> Any:
    """The object that a ``LocalProxy`` stands for at this moment.

    :raises Refused: it stands for nothing here, or for something that ends with the request.
    """
    for bound, why in _ENDING:
        if proxy is bound:
            raise Refused(why)
    try:
        return proxy._get_current_object()
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        raise Refused(
            f"(LocalProxy) stands for nothing here: {first_line} Pass the object itself, or "
            "submit where the proxy is bound"
        ) from error


REQUEST_ENDS = (
    "is the request, which ends with the response: pass the values you need, such as "
    "request.form['name'], or submit with using(request=True)"
)
SESSION_ENDS = (
    "is the session, which ends with the response: pass the values you need, such as "
    "session['cart'], or submit with using(request=True)"
)
G_ENDS = (
    "is g, which ends with its context: pass the values you need, such as g.tenant; the task has a "
    "g of its own"
)

# Compared by identity: an application may have its own classes for what these stand for.
_ENDING: tuple[tuple[Any, str], ...] = (
    (flask.request, REQUEST_ENDS),
    (flask.session, SESSION_ENDS),
    (flask.g, G_ENDS),
)
