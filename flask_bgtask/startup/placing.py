"""How hooks are placed: once, and without harm where that cannot be done."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
