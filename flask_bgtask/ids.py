"""Ids of jobs: 128 random bits as 32 hexadecimal digits."""

from __future__ import annotations

import os
from collections import deque

#: Ids that are drawn with one call to the system, as the call is what costs.
_AT_ONCE = 64

# Filled and emptied by single operations of the deque, which are atomic.
_drawn: deque[str] = deque()


def new_id() -> str:
    """An id that nobody can guess: whoever holds one may see the job's status."""
    try:
        return _drawn.pop()
    except IndexError:
        digits = os.urandom(16 * _AT_ONCE).hex()
        _drawn.extend(digits[at : at + 32] for at in range(32, len(digits), 32))
        return digits[:32]


if hasattr(os, "register_at_fork"):
    # A child must not draw the same ids as its parent.
    os.register_at_fork(after_in_child=_drawn.clear)
