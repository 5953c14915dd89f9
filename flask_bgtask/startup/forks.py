"""Forked children: workers of gunicorn's, helpers that serve nothing, or others like us."""

from __future__ import annotations

import functools
import os
import sys
from traceback import walk_stack
from typing import Any

from . import gunicorn
from .placing import attempt, first
from .watched import renew_finish, watches

#: Who forks, by the start of its module's name and its function (any, if ``None``), and what the
#: child is then. The frame nearest to the fork decides: a worker of gunicorn's has
#: ``spawn_worker`` on its stack as long as it lives.
FORKS: tuple[tuple[str, str | None, str], ...] = (
    ("gunicorn.arbiter", "spawn_worker", "worker"),
    ("gunicorn.workers.", None, "like us"),
    ("socketserver", "process_request", "one request"),
    ("multiprocessing.", None, "helper"),
    ("billiard.", None, "helper"),
    ("subprocess", None, "helper"),
    ("pty", None, "helper"),
)


def place() -> None:
    """Have a look at every child that is forked off this process."""
    if first("fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    renew_finish()
    kind, worker = _forked_by()
    for arranged in watches():
        arranged.after_fork(serves=kind == "like us")
        if kind == "one request":
            arranged.stay_out()
    if kind == "worker":
        attempt(functools.partial(gunicorn.begin_with, worker))


def _forked_by() -> tuple[str, Any]:
    """What this child is, and gunicorn's worker if it is one."""
    for frame, _ in walk_stack(sys._getframe()):
        module = str(frame.f_globals.get("__name__"))
        for prefix, function, kind in FORKS:
            if module.startswith(prefix) and function in (None, frame.f_code.co_name):
                return kind, frame.f_locals.get("worker")
    return "like us", None
