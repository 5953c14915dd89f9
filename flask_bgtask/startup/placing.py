"""How hooks are placed: once, and without harm where that cannot be done."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from types import FrameType

logger = logging.getLogger(__name__)


#: Hooks that are in place; forked children have them too.
_placed: dict[str, object] = {}


def first(hook: str) -> bool:
    """Whether nobody placed the hook before."""
    claim = object()
    return _placed.setdefault(hook, claim) is claim


def attempt(place: Callable[[], None]) -> None:
    """Place a hook; a server that does not look as expected must go on all the same."""
    try:
        place()
    except Exception:
        logger.debug("%s did not work here; the first request tells", place, exc_info=True)


def stack() -> Iterator[FrameType]:
    """The frames of this thread, innermost first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
