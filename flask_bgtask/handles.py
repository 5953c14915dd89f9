"""The handles by which this process learns of jobs that any process may run."""

from __future__ import annotations

from typing import Any
from weakref import ref

from .handle import Handle


class Handles:
    """Finds handles by the ids of their jobs, as long as somebody has them.

    Written and read by single operations of the dictionaries, which are atomic. No
    :class:`weakref.WeakValueDictionary`: to put something into one takes eight times as long, and
    each durable submit does.
    """

    def __init__(self) -> None:
        self._refs: dict[str, ref[Handle[Any]]] = {}
        self._kept: dict[str, Handle[Any]] = {}

    def add(self, handle: Handle[Any]) -> None:
        """Let the handle be found until it is dropped or nobody has it any more."""
        self._refs[handle.id] = ref(handle)

    def keep(self, handle: Handle[Any]) -> None:
        """Do not forget a handle whose callbacks are still to be called."""
        self._kept[handle.id] = handle
        if handle.done():
            self._kept.pop(handle.id, None)

    def get(self, job_id: str) -> Handle[Any] | None:
        """The handle, if somebody has it."""
        found = self._refs.get(job_id)
        return None if found is None else found()

    def drop(self, job_id: str) -> Handle[Any] | None:
        """Forget the handle of a job that ended; gives it, if somebody has it."""
        kept = self._kept.pop(job_id, None)
        found = self._refs.pop(job_id, None)
        return kept or (None if found is None else found())

    def watched(self) -> list[str]:
        """The jobs whose handles somebody has."""
        for job_id, found in list(self._refs.items()):
            if found() is None:
                self._refs.pop(job_id, None)
        return list(self._refs)
