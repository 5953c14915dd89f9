"""What is refused in a job that leaves the process, and what it says to do instead."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections import deque
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from .kinds import derives, loaded
from .refusal import Refused
from .refusals import refusal

_CALLABLE = "pass a name by which the task finds what to call"

_Advice = tuple[tuple[tuple[type | None, ...], str], ...]

# Bound to this process by what they are.
_BOUND: _Advice = (
    ((io.BytesIO, io.StringIO), "pass what it contains, file.getvalue()"),
    # The abstract class is only registered for the real ones; these inherit from its base.
    ((io.IOBase, io.IOBase.__base__), "pass its path, or what it contains"),
    ((socket.socket,), "open it in the task"),
    (
        (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore),
        "make it in the task's module, or let jobs run one at a time with using(serial=…)",
    ),
    ((threading.Event, threading.Barrier), "make it in the task's module"),
    ((threading.Thread,), "start it in the task"),
    ((threading.local,), "pass the values it has here"),
)

# Not written, because they would not come back as they were.
_UNWRITTEN: _Advice = (
    ((logging.Logger,), "get it in the task, logging.getLogger(name)"),
    ((ModuleType,), "import it in the task's module"),
    ((FunctionType, BuiltinFunctionType, MethodType, partial), _CALLABLE),
    ((type,), "pass a name by which the task finds the class"),
    ((BaseException,), "pass its text, str(error)"),
    ((range, deque), "pass list(…)"),
    ((complex,), "pass its parts, (z.real, z.imag)"),
    ((memoryview,), "pass bytes(…)"),
)

_BASES = (str, bool, int, float, bytes, bytearray, tuple, list, dict, set, frozenset)


def refuse_to_leave(value: object) -> Refused:
    """The refusal of an object that no tag can write."""
    kind = type(value)
    why = refusal(kind)
    return Refused(why if why is not None else f"({kind.__name__}) {_why(kind)}")


def why_stuck(value: object) -> str | None:
    """Why an object can only be in this process; ``None`` if it is not known to be such."""
    kind = type(value)
    if refusal(kind) is not None:
        return refusal(kind)
    advice = _advice(kind, _BOUND)
    return None if advice is None else f"({kind.__name__}) cannot leave this process: {advice}"


def _advice(kind: type, table: _Advice) -> str | None:
    return next((advice for classes, advice in table if derives(kind, *classes)), None)


def _why(kind: type) -> str:
    advice = _advice(kind, _BOUND + _UNWRITTEN)
    if advice is not None:
        return f"cannot leave this process: {advice}"
    for base in _BASES:
        if derives(kind, base):
            return (
                f"cannot leave this process: only a plain {base.__name__} comes back as it was, "
                f"pass {base.__name__}(…)"
            )
    if derives(kind, loaded("sqlalchemy.engine", "Row")):
        return "cannot leave this process: pass tuple(row)"
    if any("__next__" in vars(base) for base in kind.__mro__):
        return "cannot leave this process: pass a list of what it gives"
    return (
        "cannot leave this process: pass plain data, make its class a dataclass, or say how it "
        f"travels with bg.reference({kind.__name__}, dump=…, load=…)"
    )
