"""What surrounds a task: context variables, carriers, a frozen request, ``current_job``."""

from __future__ import annotations

from .carriers import OWNER, REQUEST, Carrier, capture_builtin, restore_builtin
from .current import (
    NullJob,
    RunningJob,
    current_job,
    null_job,
    running_as,
    running_job,
    submitting_job,
)
from .request import freeze_request, request_of, thaw_request
from .unwritten import note_unwritten, take_unwritten
from .variables import copied_variables, own_decimal_context

__all__ = [
    "OWNER",
    "REQUEST",
    "Carrier",
    "NullJob",
    "RunningJob",
    "capture_builtin",
    "copied_variables",
    "current_job",
    "freeze_request",
    "note_unwritten",
    "null_job",
    "own_decimal_context",
    "request_of",
    "restore_builtin",
    "running_as",
    "running_job",
    "submitting_job",
    "take_unwritten",
    "thaw_request",
]
