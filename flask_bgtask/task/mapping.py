"""``map`` as :class:`concurrent.futures.Executor` has it, over handles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..handle import Handle

T = TypeVar("T")


def iterate(
    submit: Callable[..., Handle[T]], iterables: tuple[Iterable[Any], ...], timeout: float | None
) -> Iterator[T]:
    """Submit a job for each group of items, now; give the results in that order.

    :param timeout: seconds from now for all of them.
    :raises TimeoutError: from the iterator, when the time is over.
    """
    end = None if timeout is None else time.monotonic() + timeout
    handles = [submit(*items) for items in zip(*iterables, strict=False)]
    return _results(handles, end)


def _results(handles: list[Handle[T]], end: float | None) -> Iterator[T]:
    """A generator of its own: the jobs are submitted before the first result is asked for."""
    handles.reverse()
    try:
        while handles:
            # Nothing here keeps a result that was given away.
            yield _result(handles.pop(), end)
    finally:
        for handle in handles:
            if not handle.durable:
                handle.cancel()


def _result(handle: Handle[T], end: float | None) -> T:
    try:
        try:
            return handle.result(None if end is None else end - time.monotonic())
        finally:
            if not handle.durable:
                handle.cancel()
    finally:
        del handle  # a failed job's traceback would refer to it in a cycle
