"""Names of functions in stored text, and the way back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from ..errors import BgTaskError
from .classes import class_name
from .kinds import is_proxy, unwrap
from .leaving import why_stuck
from .references import Reference
from .refusal import Refused
from .state import read


class UnknownFunction(BgTaskError, LookupError):
    """A stored job names a function that this process does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no function {name!r} in this process")
        self.name = name


class Named(NamedTuple):
    """A callable by its name, with what comes along."""

    name: str
    owner: Any
    "The object of a bound method, which travels by reference; ``None`` without one."
    args: tuple[Any, ...]
    "Of ``functools.partial``."
    kwargs: dict[str, Any]


def name_of(fn: Any, has_reference: Callable[[type], bool]) -> Named:
    """The name by which another process finds what to call.

    :param has_reference: whether objects of a type travel by reference.
    :raises Refused: it would not find it.
    """
    kind = type(fn)
    if is_proxy(kind):
        return name_of(unwrap(fn), has_reference)
    if kind is FunctionType:
        return Named(_importable(fn), None, (), {})
    if kind is partial:
        return _of_partial(fn, has_reference)
    if kind is MethodType and not isinstance(fn.__self__, type):
        return _of_method(fn, has_reference)
    if kind is Reference or has_reference(kind):
        return Named(f"{_owner_name(fn)}.__call__", fn, (), {})
    return Named(_importable(fn), None, (), {})


def find_module(name: str) -> Any:
    """The module of a named function, imported if need be.

    :raises UnknownFunction: there is none; an error of the module's own is raised as it is.
    """
    module_name, separator, _ = name.partition(":")
    if not separator or not all(module_name.split(".")):
        raise UnknownFunction(name)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise UnknownFunction(name) from error
        raise


def find_function(name: str) -> Callable[..., Any]:
    """The function of a name that :func:`name_of` gave; imports its module.

    :raises UnknownFunction: it is not there.
    """
    found = find_module(name)
    try:
        for part in name.partition(":")[2].split("."):
            found = getattr(found, part)
    except AttributeError:
        raise UnknownFunction(name) from None
    if not callable(found):
        raise UnknownFunction(name)
    function: Callable[..., Any] = found
    return function


def find_method(name: str, owner: Any) -> Callable[..., Any]:
    """The method of a name, bound to the object that its reference gave.

    :raises UnknownFunction: the object is of another class or has no such method.
    """
    class_part, _, method = name.rpartition(".")
    found = getattr(type(owner), method, None)
    if found is None or all(class_name(base) != class_part for base in type(owner).__mro__):
        raise UnknownFunction(name)
    bound: Callable[..., Any] = getattr(owner, method)
    return bound


def _of_partial(fn: Any, has_reference: Callable[[type], bool]) -> Named:
    try:
        inner = name_of(fn.func, has_reference)
    except Refused as refused:
        refused.inside(".func")
        raise
    return inner._replace(args=inner.args + fn.args, kwargs={**inner.kwargs, **fn.keywords})


def _of_method(fn: Any, has_reference: Callable[[type], bool]) -> Named:
    owner, method = fn.__self__, fn.__func__.__name__
    if type(owner) is not Reference and not has_reference(type(owner)):
        raise _stuck(owner)
    name = f"{_owner_name(owner)}.{method}"
    if type(owner) is not Reference and getattr(type(owner), method, None) is not fn.__func__:
        raise Refused(f"(method) cannot leave this process: it is not found again as {name}")
    return Named(name, owner, (), {})


def _owner_name(owner: Any) -> str:
    return class_name(owner.kind if type(owner) is Reference else type(owner))


def _stuck(owner: Any) -> Refused:
    """The refusal of a method whose object has no reference; names what holds the object here."""
    kind = type(owner)
    how = f"bg.reference({kind.__name__}, dump=…, load=…)"
    for attribute, value in read(owner).items():
        why = why_stuck(value)
        if why is not None:
            refused = Refused(f"{why}, or say how {kind.__name__} travels with {how}")
            refused.inside(f".{attribute}")
            break
    else:
        refused = Refused(
            f"({kind.__name__}) cannot leave this process: say how it travels with {how}, or "
            "submit a function of a module"
        )
    refused.inside(".__self__")
    return refused


def _importable(fn: Any) -> str:
    """``module:qualname`` of a function or class, if that leads back to it."""
    kind = type(fn)
    module = getattr(fn, "__module__", None)
    qualname = getattr(fn, "__qualname__", None)
    if type(module) is not str or type(qualname) is not str:
        raise _stuck_callable(kind)
    name = f"{module}:{qualname}"
    if kind is MethodType:  # of a class, which may be a subclass of the one that defines it
        name = f"{class_name(fn.__self__)}.{fn.__func__.__name__}"
    why = _why_not(fn, name)
    if why is not None:
        raise Refused(f"({name}) cannot leave this process: {why}")
    return name


def _why_not(fn: Any, name: str) -> str | None:
    module_name, _, qualname = name.partition(":")
    if module_name == "__main__":
        return (
            "it is defined in the program that was started (__main__), which another process does "
            "not have under that name: move it to a module"
        )
    if "<lambda>" in qualname:
        return "a lambda has no name: write it as a function at the top level of a module"
    if "<locals>" in qualname:
        return (
            "it is defined inside a function: move it to the top level of a module, and pass what "
            "it needs as arguments"
        )
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is None or not (found is fn or (type(found) is MethodType and found == fn)):
        return "under that name there is something else: submit what the module has, or name it so"
    return None


def _stuck_callable(kind: type) -> Refused:
    if kind is FunctionType:
        return Refused("(function) cannot leave this process: it has no name")
    return Refused(
        f"({kind.__name__}) cannot leave this process: submit a function of a module, or say how "
        f"the object travels with bg.reference({kind.__name__}, dump=…, load=…)"
    )
