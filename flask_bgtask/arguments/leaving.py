"""What is refused in a job that leaves the process, and what it says to do instead."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from .kinds import derives
from .refusal import Refused
from .refusals import refusal

_CALLABLE = "pass a name by which the task finds what to call"

_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((io.BytesIO, io.StringIO), "pass what it contains, file.getvalue()"),
    ((io.IOBase,), "pass its path, or what it contains"),
    ((socket.socket,), "open it in the task"),
    (
        (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore),
        "make it in the task's module, or let jobs run one at a time with using(serial=…)",
    ),
    ((threading.Event, threading.Barrier), "make it in the task's module"),
    ((threading.Thread,), "start it in the task"),
    ((threading.local,), "pass the values it has here"),
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
    for classes, advice in _ADVICE[:7]:
        if derives(kind, *classes):
            return f"({kind.__name__}) cannot leave this process: {advice}"
    return None


def _why(kind: type) -> str:
    for classes, advice in _ADVICE:
        if derives(kind, *classes):
            return f"cannot leave this process: {advice}"
    for base in _BASES:
        if derives(kind, base):
            return (
                f"cannot leave this process: only a plain {base.__name__} comes back as it was, "
                f"pass {base.__name__}(…)"
            )
    if derives(kind, Iterator):
        return "cannot leave this process: pass a list of what it gives"
    return (
        "cannot leave this process: pass plain data, make its class a dataclass, or say how it "
        f"travels with bg.reference({kind.__name__}, dump=…, load=…)"
    )
