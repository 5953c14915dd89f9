"""The handles by which this process learns of jobs that any process may run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

from .handle import Handle


class Handles:
    """Finds handles by the ids of their jobs, as long as somebody has them.

    No :class:`weakref.WeakValueDictionary`: to put something into one takes eight times as long,
    and each durable submit does.
    """

    def __init__(self) -> None:
        self._refs: dict[str, ref[Handle[Any]]] = {}
        # Single operations of the dictionary are atomic. The lock guards those that look first
        # and replace or take out what they saw. Reentrant: what dies meanwhile may call us.
        self._looking = threading.RLock()
        self._kept: set[Handle[Any]] = set()

    def add(self, handle: Handle[Any]) -> None:
        """Let the handle of a new job be found until it is dropped or nobody has it any more."""
        self._refs[handle.id] = ref(handle)

    def share(self, handle: Handle[Any]) -> Handle[Any]:
        """Add a handle of any job, unless somebody has another that waits for the same.

        :return: the one that is found from now on.
        """
        with self._looking:
            known = self.get(handle.id)
            if known is not None and not known.done():
                return known
            self.add(handle)
            return handle

    def keep(self, handle: Handle[Any]) -> Callable[[Handle[Any]], object]:
        """Do not forget a handle whose callbacks are still to be called.

        :return: lets go of it.
        """
        self._kept.add(handle)
        return self._kept.discard

    def get(self, job_id: str) -> Handle[Any] | None:
        """The handle, if somebody has it."""
        found = self._refs.get(job_id)
        return None if found is None else found()

    def drop(self, job_id: str) -> Handle[Any] | None:
        """Forget the handle of a job that ended; gives it, if somebody has it."""
        found = self._refs.pop(job_id, None)
        return None if found is None else found()

    def forget(self, handle: Handle[Any]) -> None:
        """Drop this handle; another of the same job, which may run again, stays."""
        with self._looking:
            if self.get(handle.id) is handle:
                self.drop(handle.id)

    def watched(self) -> list[str]:
        """The jobs whose handles somebody has."""
        with self._looking:
            for job_id, found in list(self._refs.items()):
                if found() is None:
                    self._refs.pop(job_id, None)
        return list(self._refs)
