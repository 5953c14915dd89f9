"""The handles by which this process learns of jobs that any process may run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import ref

from .calls import Call
from .errors import BgTaskError
from .handle import Handle, Home
from .job import JobState, Record, failure_of


class Handles:
    """Finds handles by the ids of their jobs, as long as somebody has them.

    No :class:`weakref.WeakValueDictionary`: to put something into one takes eight times as long,
    and each durable submit does.

    :param home: of the handles that are made here.
    :param calls: what runs in this process alone; its handles are there.
    :param watch: called when one waits for what other processes do.
    """

    def __init__(self, home: Home, calls: dict[str, Call], watch: Callable[[], None]) -> None:
        self._home = home
        self._calls = calls
        self._watch = watch
        self._refs: dict[str, ref[Handle[Any]]] = {}
        # Single operations of the dictionary are atomic. The lock guards those that look first
        # and replace or take out what they saw. Reentrant: what dies meanwhile may call us.
        self._looking = threading.RLock()
        self._kept: set[Handle[Any]] = set()
        # Of jobs that the parent of this forked child submitted, until they are asked for.
        self._inherited: dict[str, ref[Handle[Any]]] = {}

    def add(self, handle: Handle[Any]) -> None:
        """Let the handle of a new job be found until it is dropped or nobody has it any more."""
        self._refs[handle.id] = ref(handle)

    def open(self, job_id: str) -> Handle[Any]:
        """A live handle of any job.

        :raises JobNotFound: there is none.
        """
        call = self._calls.get(job_id)
        known = self._find(job_id) if call is None else call.handle
        if known is not None and not known.done():
            return known
        jobs = self._home.jobs
        new: Handle[Any] = Handle(job_id, self._home, durable=jobs.record(job_id).durable)
        handle = self._share(new)
        record = jobs.record(job_id)  # once more, now that its end would be seen
        if record.state.finished:
            self._forget(handle)
            self.resolve(handle, record)
        else:
            self._watch()
        return handle

    def keep(self, handle: Handle[Any]) -> Callable[[Handle[Any]], object]:
        """Do not forget a handle whose callbacks are still to be called.

        :return: lets go of it.
        """
        self._kept.add(handle)
        return self._kept.discard

    def settle(self, job_id: str) -> Handle[Any] | None:
        """Drop what is kept for a job that ended; gives its handle, if somebody has it."""
        call = self._calls.pop(job_id, None)
        found = self._refs.pop(job_id, None)
        if call is not None:
            return call.handle
        return None if found is None else found()

    def resolve(self, handle: Handle[Any], record: Record) -> None:
        """End a handle as the row of its job ended."""
        if record.state is JobState.CANCELLED:
            handle.resolve_cancelled()
        elif record.state is not JobState.SUCCEEDED:
            handle.resolve(error=failure_of(record))
        else:
            try:
                text = record.result
                result = None if text is None else self._home.jobs.decode(text)
            except Exception as error:
                handle.resolve(error=error)
            else:
                handle.resolve(result=result)

    def watched(self) -> list[str]:
        """The jobs whose handles somebody has."""
        with self._looking:
            for job_id, found in list(self._refs.items()):
                if found() is None:
                    self._refs.pop(job_id, None)
        return list(self._refs)

    def inherit(self, before: Handles, *, shared: bool) -> None:
        """In a forked child: take over the handles of the parent. Nobody watches them at first.

        :param shared: whether the child sees what becomes of the parent's jobs.
        """
        handles = [call.handle for call in before._calls.values()]
        found = (each() for each in (*before._refs.values(), *before._inherited.values()))
        handles += (handle for handle in found if handle is not None)
        for handle in handles:
            handle.renew(self._adopt if shared else None)
            self._inherited[handle.id] = ref(handle)

    def _adopt(self, handle: Handle[Any]) -> None:
        """Somebody asks for an inherited handle: see how its job is, and watch it from now on."""
        self._inherited.pop(handle.id, None)
        if handle.done():
            return
        self.add(handle)
        with suppress(BgTaskError):  # the parent may not have written the row yet
            record = self._home.jobs.record(handle.id)
            if record.state.finished:
                self._forget(handle)
                self.resolve(handle, record)
                return
        self._watch()

    def _find(self, job_id: str) -> Handle[Any] | None:
        found = self._refs.get(job_id) or self._inherited.get(job_id)
        return None if found is None else found()

    def _share(self, handle: Handle[Any]) -> Handle[Any]:
        """Add a handle of any job, unless somebody has another that waits for the same.

        :return: the one that is found from now on.
        """
        with self._looking:
            known = self._find(handle.id)
            if known is not None and not known.done():
                return known
            self.add(handle)
            return handle

    def _forget(self, handle: Handle[Any]) -> None:
        """Drop this handle; another of the same job, which may run again, stays."""
        with self._looking:
            if self._find(handle.id) is handle:
                self._refs.pop(handle.id, None)
