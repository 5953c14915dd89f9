"""``async def`` functions, run by those who are not."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def run_to_end(result: Any) -> Any:
    """The result of a coroutine, run on an event loop of its own; anything else as it is.

    A thread that runs a loop can run no other: there a thread is started for it and waited for.
    """
    if not inspect.iscoroutine(result):
        return result
    if not in_event_loop():
        return asyncio.run(result)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, asyncio.run, result).result()


def in_event_loop() -> bool:
    """Whether the calling thread runs an event loop at the moment."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
