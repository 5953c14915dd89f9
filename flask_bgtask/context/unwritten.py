"""Whether something was submitted in an app context that the store may still keep back.

Only who submitted writes it out at the end: other requests must not wait where writing is slow.
"""

from __future__ import annotations

from .flasks import current_app_context

_KEY = "_bgtask_unwritten"


def note_unwritten() -> None:
    """Something was submitted here; outside an app context nobody asks."""
    context = current_app_context()
    if context is not None:
        setattr(context.g, _KEY, True)


def take_unwritten() -> bool:
    """Whether something was submitted since the last call."""
    context = current_app_context()
    return context is not None and bool(vars(context.g).pop(_KEY, False))
