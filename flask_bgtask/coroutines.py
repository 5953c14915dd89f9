"""``async def`` functions, run by those who are not."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any


def run_to_end(result: Any) -> Any:
    """The result of a coroutine, run on an event loop of its own; anything else as it is.

    Where a loop runs already, no other can: there the caller gets the coroutine to await.
    """
    if not inspect.iscoroutine(result) or in_event_loop():
        return result
    return asyncio.run(result)


def in_event_loop() -> bool:
    """Whether the calling thread runs an event loop at the moment."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
