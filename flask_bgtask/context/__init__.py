"""What surrounds a task: context variables, carriers, a frozen request, ``current_job``."""

from __future__ import annotations

from .carriers import (
    OWNER,
    REQUEST,
    UNFELT,
    Carrier,
    capture_builtin,
    restore_locale,
    restore_url,
    user_id,
)
from .current import (
    NullJob,
    RunningJob,
    current_job,
    null_job,
    run_as,
    running_as,
    running_here,
    running_job,
    submitting_job,
)
from .flasks import current_app_context, inside
from .request import freeze_request, request_of, thaw_request
from .unwritten import note_unwritten, take_unwritten
from .variables import copied_variables, own_decimal_context, own_variables

__all__ = [
    "OWNER",
    "REQUEST",
    "UNFELT",
    "Carrier",
    "NullJob",
    "RunningJob",
    "capture_builtin",
    "copied_variables",
    "current_app_context",
    "current_job",
    "freeze_request",
    "inside",
    "note_unwritten",
    "null_job",
    "own_decimal_context",
    "own_variables",
    "request_of",
    "restore_locale",
    "restore_url",
    "run_as",
    "running_as",
    "running_here",
    "running_job",
    "submitting_job",
    "take_unwritten",
    "thaw_request",
    "user_id",
]
