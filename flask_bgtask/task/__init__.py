"""Tasks: registering, submitting, stopping and running them again."""

from __future__ import annotations

from .control import cancel, requeue, retry
from .mapping import iterate
from .registering import Decorator, register
from .submission import draft
from .task import Submitter, Task, TaskSubmitter, submit_callable

__all__ = [
    "Decorator",
    "Submitter",
    "Task",
    "TaskSubmitter",
    "cancel",
    "draft",
    "iterate",
    "register",
    "requeue",
    "retry",
    "submit_callable",
]
