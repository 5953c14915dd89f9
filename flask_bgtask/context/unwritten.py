"""Whether something was submitted in an app context that the store may still keep back.

Only who submitted writes it out at the end: other requests must not wait where writing is slow.
"""

from __future__ import annotations

from flask import g, has_app_context

_KEY = "_bgtask_unwritten"


def note_unwritten() -> None:
    """Something was submitted here; outside an app context nobody asks."""
    if has_app_context():
        setattr(g, _KEY, True)


def take_unwritten() -> bool:
    """Whether something was submitted since the last call."""
    return bool(g.pop(_KEY, False))
