"""Tasks: registering, submitting, stopping and running them again."""

from __future__ import annotations

from .control import cancel, requeue, retry
from .drafting import draft
from .mapping import iterate
from .registering import Decorator, register
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
