"""What is written down of a failure."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from types import TracebackType

_HERE = str(Path(__file__).parent)

#: Characters kept of a message and of a traceback; of the latter the end, which says most.
MESSAGE_LENGTH = 10_000
TRACEBACK_LENGTH = 50_000


def failure_text(error: BaseException) -> str:
    """The row's ``error`` column: type, message and traceback, without our own first frames."""
    message = message_of(error)[:MESSAGE_LENGTH]
    return json.dumps([type(error).__name__, message, _traceback(error)[-TRACEBACK_LENGTH:]])


def message_of(error: BaseException) -> str:
    """The text of an exception, whose own code may fail."""
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} that cannot be shown>"


def _traceback(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, _beyond_us(error.__traceback__))
    return "".join(lines)


def _beyond_us(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the task's first frame on; all of it if the task was not reached."""
    ours = frames
    while ours is not None and ours.tb_frame.f_code.co_filename.startswith(_HERE):
        ours = ours.tb_next
    return ours or frames
