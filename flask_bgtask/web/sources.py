"""What event streams tell: one job's status, or those of all jobs that the client may see."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import request
from werkzeug.exceptions import Forbidden

from ..job import Job, JobState, Record
from ..runtime import Runtime
from ..store import Filter
from .answers import json_text
from .representation import status
from .streams import Event

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Jobs of a kind (newest, running) that a stream of all jobs looks at.
WATCHED = 50

#: Seconds between two looks at all watched jobs while nothing says that something changed.
LOOK_ANYWAY = 2.0

#: Seconds before the last look that a client hears of again when it comes back: a row may be seen
#: a little later than the times in it.
OVERLAP = 1.0

Rights = Collection[str] | None
"What a client may do with a job that it sees; ``None`` if it does not see it."


class JobSource:
    """Each new status of one job, with the links that the client may use as the stream begins.

    An event's id is a digest of its status: a client that has seen it does not get it again.
    """

    def __init__(
        self, runtime: Runtime, job: Job, rights: Collection[str], seen: str | None
    ) -> None:
        self._store = runtime.store
        self._show = runtime.jobs.show
        self._job_id = job.id
        self._base = runtime.jobs.status_url(job.id)
        self._rights = rights
        self._seen = seen
        self.finished = job.state.finished and self._event(job).id == seen

    def news(self, woken: bool) -> list[Event]:
        """The job's status, if it is another than the last one."""
        record = self._store.get(self._job_id)
        if record is None:
            self.finished = True
            return []
        job = self._show(record)
        event = self._event(job)
        self.finished = job.state.finished
        if event.id == self._seen:
            return []
        self._seen = event.id
        return [event]

    def _event(self, job: Job) -> Event:
        data = _status(job, self._base, self._rights)
        return Event(data, hashlib.sha1(data.encode(), usedforsecurity=False).hexdigest())


class ListSource:
    """The status of each job that changed: at first of the newest and the running ones.

    Watched are the newest, the running, and those that had not ended when they were last seen.
    A job that began and ended between two looks, long after it was submitted, may be left out:
    the list has it. An event's id is the time of the look in milliseconds; a client that comes
    back with it gets the jobs that began or ended since, and the running ones.

    :param rights: asked once for each job, within a request context like the present one.
    """

    finished = False

    def __init__(self, runtime: Runtime, rights: Callable[[Job], Rights], seen: str | None) -> None:
        self._runtime = runtime
        self._ask = rights
        self._root = (runtime.jobs.status_url("") or "").rstrip("/")
        self._environ = request.environ
        known = seen is not None and seen.isascii() and seen.isdigit() and len(seen) < 16
        self._since = int(seen or 0) / 1000 - OVERLAP if known else 0.0
        self._rights: dict[str, Rights] = {}
        self._told: dict[str, object] = {}
        self._pending: set[str] = set()
        self._version: object = None
        self._next_look = 0.0

    def news(self, woken: bool) -> list[Event]:
        """What became of the watched jobs, oldest first."""
        if not self._is_due(woken):
            return []
        now = time.time()
        jobs = [self._runtime.jobs.show(record) for record in self._changed(now)]
        self._ask_for([job for job in jobs if job.id not in self._rights])
        told = [
            _status(job, f"{self._root}/{job.id}", rights)
            for job in jobs
            if (rights := self._rights[job.id]) is not None
        ]
        # Only the last of one look has an id: who misses it gets the whole look again.
        events = [Event(data) for data in told[:-1]]
        return events + [Event(data, str(int(now * 1000))) for data in told[-1:]]

    def _is_due(self, woken: bool) -> bool:
        version, before = self._runtime.store.version(), self._version
        self._version = version
        now = time.monotonic()
        if not woken and version == before and now < self._next_look:
            return False
        self._next_look = now + LOOK_ANYWAY
        return True

    def _changed(self, now: float) -> list[Record]:
        changed = []
        for record in self._watched(now):
            telling = _telling(record, now)
            if self._told.get(record.id) != telling:
                self._told[record.id] = telling
                if _changed_at(record) >= self._since:
                    changed.append(record)
        return changed

    def _watched(self, now: float) -> list[Record]:
        store = self._runtime.store
        rows = store.listing(Filter(), limit=WATCHED, now=now, brief=True)
        running = Filter(state=JobState.RUNNING)
        rows += store.listing(running, limit=WATCHED, now=now, brief=True)
        found = {row.id: row for row in rows}
        found.update((row.id, row) for row in store.get_many(self._pending - found.keys()))
        self._pending = {row.id for row in found.values() if not row.state.finished}
        return sorted(found.values(), key=lambda row: row.seq)

    def _ask_for(self, jobs: list[Job]) -> None:
        if jobs:
            with _like_at_first(self._runtime, self._environ):
                self._rights.update((job.id, self._ask(job)) for job in jobs)


def _status(job: Job, base: str | None, rights: Collection[str]) -> str:
    return json_text(status(job, base, lambda action, _: action in rights, events=True))


def _telling(row: Record, now: float) -> object:
    """Whatever of a row shows in its status."""
    return (
        row.shown_state(now),
        row.attempt,
        row.started_at,
        row.finished_at,
        row.progress,
        row.error,
        row.cancel_requested,
    )


def _changed_at(row: Record) -> float:
    """The latest time that a row tells of; a running one may change at any time."""
    if row.state is JobState.RUNNING:
        return float("inf")
    return max(row.created_at, row.started_at or 0.0, row.finished_at or 0.0)


@contextmanager
def _like_at_first(runtime: Runtime, environ: WSGIEnvironment) -> Iterator[None]:
    """A request context as the stream's own was, for a moment.

    The stream itself holds none: it would keep the application's database session open. The
    application's ``before_request`` functions run, since ``authorize`` may rely on them.

    :raises Forbidden: one of these does not let the request pass (any more).
    """
    with runtime.app.request_context(environ):
        if runtime.app.preprocess_request() is not None:
            raise Forbidden
        yield
