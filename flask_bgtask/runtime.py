"""The run-time state of one app in one process."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from blinker import NamedSignal
from flask import Flask, has_request_context, request

from .arguments import Codec
from .calls import Call, Fresh
from .config import Settings
from .context import OWNER, Carrier, RunningJob, inside
from .coroutines import run_to_end
from .dispatcher import Dispatcher
from .engine import Capacity, Engine
from .errors import JobCancelled, JobNotFound
from .handle import Handle
from .handles import Handles
from .job import WAITING, Job, JobState, Page, Record, failure_of, snapshot
from .keeper import Keeper
from .naming import callable_name, printable
from .room import Room
from .signals import job_cancelled
from .store import Filter, Store
from .troubles import Troubles

logger = logging.getLogger("flask_bgtask")

#: Longest sleep in seconds until a scheduled job's time: the clock may be set, and a machine that
#: was suspended does not count the time.
LONGEST_SLEEP = 5.0

#: Seconds until the first look at what other processes do with a job.
WATCH_AFTER = 0.02


#: Seconds within which rows that are kept back are written.
FLUSH_AFTER = 0.01


@dataclass(frozen=True, slots=True)
class Registry:
    """What is registered on a ``BackgroundTasks``, for all of its apps."""

    codec: Codec
    tasks: dict[str, Any] = field(default_factory=dict)
    carriers: list[Carrier] = field(default_factory=list)
    schedules: dict[str, Any] = field(default_factory=dict)


class Runtime:
    """Holds an app's store, engine, handles and running jobs; in ``app.extensions["bgtask"]``.

    ``make_store`` and ``make_engine`` are called at the first use, in this process and again in
    a forked child.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        registry: Registry,
        make_store: Callable[[Runtime], Store],
        make_engine: Callable[[Runtime], Engine],
        make_parts: Callable[[Runtime], Any],
    ) -> None:
        self.app = app
        self._name = app.name
        self.settings = settings
        self.registry = registry
        self.codec = registry.codec
        self.chores: list[Callable[[], bool]] = []
        "Called about once a second, after a job ended and while one of them returns true."
        self.closers: list[Callable[[], None]] = []
        "Called when the workers of this process end."
        workers = settings.workers if settings.run_workers else 0
        self.capacity = Capacity(workers, settings.queues)
        "What this process does; to be replaced, if at all, before the engine is used."
        self._make_store = make_store
        self._make_engine = make_engine
        self._make_parts = make_parts
        self.reset()

    def reset(self) -> None:
        """Begin anew, as in a forked child: threads and locks of the parent are not ours."""
        self._made_for = _this_world()
        # Guards the making of the store and the engine.
        self._making = threading.RLock()
        self.immediate = self.settings.immediate
        "Jobs do not wait for their time: a test has them run inside ``submit``, or by hand."
        self.closed = False
        "The workers of this process were told to end; nothing new is accepted."
        self._store: Store | None = None
        self._engine: Engine | None = None
        self.troubles = Troubles(self.log)
        name = f"bgtask-{self.app.name}"
        self.keeper = Keeper(name, self.troubles.tell)
        self.dispatcher = Dispatcher(name, self.keeper, self.troubles.tell)
        self.fresh = Fresh(lambda: self.own_store, self._row)
        self.handles = Handles()
        # These three are written and read by single dictionary operations, which are atomic.
        self.calls: dict[str, Call] = {}
        self.running: dict[str, RunningJob] = {}
        self.deferred: dict[str, Handle[Any]] = {}
        "Handles of jobs that wait for a commit."
        self.room = Room(self.settings.max_queued, lambda: self.store.waiting())
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self._tokens = itertools.count(1)
        self.parts = self._make_parts(self)
        "The machinery that upper floors put in: see :mod:`.extension`."

    def renew(self) -> None:
        """Begin anew if this process is another by now.

        uWSGI forks without Python's hooks, and a gevent worker of gunicorn's patches the threads
        only after the fork: locks that were made before would block all of it.
        """
        if self._made_for != _this_world():
            self.reset()

    @property
    def store(self) -> Store:
        """Where all jobs are; made at the first use."""
        if self.fresh:
            self.fresh.write()
        return self.own_store

    @property
    def own_store(self) -> Store:
        """The same for who works on a row that is there for sure: fresh ones may be missing."""
        store = self._store
        if store is None:
            with self._making:
                if self._store is None:
                    self._store = self._make_store(self)
                store = self._store
        return store

    def write_soon(self) -> None:
        """Add them before other processes could miss them: see :meth:`.Store.add`."""
        if self.own_store.shared:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Have the store write what it keeps back."""
        self.keeper.poke(self.parts.watcher.flush, FLUSH_AFTER)

    @property
    def engine(self) -> Engine:
        """What runs the jobs; made at the first use."""
        engine = self._engine
        if engine is None:
            with self._making:
                if self._engine is None:
                    self._engine = self._make_engine(self)
                engine = self._engine
        return engine

    @contextmanager
    def using_engine(self, engine: Engine) -> Iterator[None]:
        """Let another engine run the jobs at once, without delays and timeouts."""
        before = self._engine, self.immediate
        self._engine, self.immediate = engine, True
        try:
            yield
        finally:
            self._engine, self.immediate = before

    @property
    def has_engine(self) -> bool:
        """Whether this process has used the engine."""
        return self._engine is not None

    @property
    def has_store(self) -> bool:
        """Whether this process has used the store."""
        return self._store is not None

    def claiming(self) -> dict[str, Any]:
        """The columns that begin an attempt in this process; no other attempt has this token."""
        return {
            "token": f"{self.own_store.process}.{next(self._tokens)}",
            "started_at": time.time(),
            "worker": self.worker,
            "drained": False,  # it was said of the attempt before
        }

    def begin(self, record: Record) -> None:
        """Note on a new row that its first attempt begins here, at once."""
        record.home = record.process = process = self.own_store.process
        record.token = f"{process}.{next(self._tokens)}"
        record.started_at = time.time()
        record.worker = self.worker
        record.state = JobState.RUNNING
        record.attempt = 1

    def _row(self, call: Call) -> Record:
        """The row of a plain job."""
        record = Record(
            id=call.id,
            app=self._name,
            task=callable_name(call.fn),
            owner=call.carried.get(OWNER),
            home=self.own_store.process,
            created_at=call.created_at,
            run_at=call.created_at,
        )
        if call.has_place:
            self.begin(record)
        return record

    # Jobs, as users see them.

    def decode(self, text: str) -> Any:
        """A stored result; references are loaded in an app context."""
        with inside(self.app):
            return self.codec.decode(text)

    def show(self, record: Record) -> Job:
        """The public view of a row."""
        return snapshot(record, time.time(), self.decode)

    def record(self, job_id: str) -> Record:
        """The row.

        :raises JobNotFound: there is none.
        """
        record = self.store.get(job_id)
        if record is None:
            raise JobNotFound(job_id)
        return record

    def snapshot(self, job_id: str) -> Job:
        """The job as it is now.

        :raises JobNotFound: there is none.
        """
        return self.show(self.record(job_id))

    def is_running(self, job_id: str) -> bool:
        """Whether the job runs now, in any process."""
        record = self.store.get(job_id)
        return record is not None and record.state is JobState.RUNNING

    def jobs(self, wanted: Filter, *, limit: int, after: str | None = None) -> Page[Job]:
        """A page of jobs, newest first.

        :param after: ``next`` of the page before.
        :raises ValueError: ``after`` is no such thing.
        """
        below = None if after is None else int(after)
        rows = self.store.listing(wanted, limit=limit + 1, after=below, now=time.time())
        following = str(rows[limit - 1].seq) if len(rows) > limit else None
        return Page([self.show(row) for row in rows[:limit]], following)

    def unknown_tasks(self) -> set[str]:
        """Tasks that jobs wait for and that this process does not know."""
        knows = self.parts.runner.knows
        return {name for name in self.store.tasks(waiting=True) if not knows(name)}

    def status_url(self, job_id: str) -> str | None:
        """Path of the job's status page; ``None`` without the blueprint.

        A proxy may hand on a script root that somebody else made up: with two slashes in front,
        or what browsers take for them, it would lead to another site.
        """
        if self.settings.url_prefix is None:
            return None
        root = request.script_root if has_request_context() else ""
        path = f"{quote(root)}{self.settings.url_prefix}/{job_id}"
        return "/" + path.lstrip("/")

    def send(self, signal: NamedSignal, record: Record, **data: Any) -> None:
        """Tell the receivers of a signal about a job; one that fails is logged."""
        if signal.receivers and not signal.is_muted:
            self.tell(functools.partial(self._send, signal, record, data))

    def _send(self, signal: NamedSignal, record: Record, data: dict[str, Any]) -> None:
        job = self.show(record)
        with inside(self.app):
            for receiver in signal.receivers_for(self.app):
                try:
                    run_to_end(receiver(self.app, job=job, **data))
                except Exception:
                    text = "receiver %r of %s failed for job %s"
                    args = (receiver, signal.name, record.id)
                    self.log(logging.ERROR, text, *args, exc_info=True)

    def tell(self, call: Callable[[], object]) -> None:
        """Run code of users', beside housekeeping, which it must not hold up."""
        if self.keeper.is_here():
            self.dispatcher.post(call)
        else:
            call()

    def log(self, level: int, text: str, *args: Any, exc_info: Any = None) -> None:
        """Write to the app's log; a handler of the application's that fails harms no job.

        :param args: texts among them may come from the store, and are made printable.
        """
        args = tuple(printable(arg) if isinstance(arg, str) else arg for arg in args)
        try:
            self.app.logger.log(level, text, *args, exc_info=exc_info, stacklevel=2)
        except Exception:
            with suppress(Exception):
                logger.exception("the log of %s failed", self.app.name)

    # Jobs that wait.

    def deliver(self, job: Record | Call) -> None:
        """See that a job runs in its time."""
        if type(job) is Record and job.state is JobState.SCHEDULED and not self.immediate:
            self.keeper.poke(self.promote, _until(job.run_at))
        else:
            self.engine.deliver(job)

    def promote(self) -> float | None:
        """Duty: queue the scheduled jobs whose time has come."""
        following = self.store.promote(time.time())
        self.engine.look()
        return None if following is None else _until(following)

    # Handles.

    def handle(self, job_id: str) -> Handle[Any]:
        """A live handle of any job.

        :raises JobNotFound: there is none.
        """
        call = self.calls.get(job_id)
        known = self.handles.get(job_id) if call is None else call.handle
        if known is not None and not known.done():
            return known
        new: Handle[Any] = Handle(job_id, self, durable=self.record(job_id).durable)
        handle = self.handles.share(new)
        record = self.record(job_id)  # once more, now that its end would be seen
        if record.state.finished:
            self.handles.forget(handle)
            self.resolve(handle, record)
        else:
            self.watch()
        return handle

    def watch(self) -> None:
        """Something here begins to wait for what other processes do.

        They need some time for it: waking the keeper at once would cost each submit more than
        all else.
        """
        self.keeper.poke(self.parts.watcher.poll, WATCH_AFTER)

    def keep(self, handle: Handle[Any]) -> Callable[[Handle[Any]], object]:
        """Do not forget a handle whose callbacks are still to be called; gives what ends that."""
        return self.handles.keep(handle)

    def settle(self, job_id: str) -> Handle[Any] | None:
        """Drop what is kept for a job that ended; returns its handle, if somebody has it."""
        call = self.calls.pop(job_id, None)
        known = self.handles.drop(job_id)
        return known if call is None else call.handle

    def resolve(self, handle: Handle[Any], record: Record) -> None:
        """End a handle as the row of its job ended."""
        self.tell(functools.partial(self._resolve, handle, record))

    def _resolve(self, handle: Handle[Any], record: Record) -> None:
        if record.state is JobState.CANCELLED:
            handle.resolve_cancelled()
        elif record.state is not JobState.SUCCEEDED:
            handle.resolve(error=failure_of(record))
        else:
            try:
                result = None if record.result is None else self.decode(record.result)
            except Exception as error:
                handle.resolve(error=error)
            else:
                handle.resolve(result=result)

    def cancel_waiting(self, job_id: str) -> bool:
        """Cancel a job that has not begun; whether that was in time."""
        deferred = self.deferred.pop(job_id, None)
        if deferred is not None:
            deferred.resolve_cancelled()
            return True
        record = self.store.get(job_id)
        if record is None:
            return False
        ended = self.store.change(job_id, self.ending(record, JobState.CANCELLED), states=WAITING)
        if ended is None:
            return False
        if self.has_engine:
            self.engine.withdraw(job_id)
        handle = self.settle(job_id)
        if handle is not None:
            handle.resolve_cancelled()
        self.send(job_cancelled, ended)
        return True

    def ask_to_stop(self, job_id: str) -> None:
        """Have a job of this process stop at its next checkpoint."""
        call = self.calls.get(job_id)
        if call is not None:
            call.stop = True  # seen by the thread that is about to begin it
        job = self.running.get(job_id)
        if job is not None:
            job.ask_to_stop(JobCancelled)

    def ending(self, record: Record, state: JobState) -> dict[str, Any]:
        """The columns that every end of a job sets."""
        now = time.time()
        kept = self.settings.result_ttl if record.result_ttl is None else record.result_ttl
        return {"state": state, "finished_at": now, "expires_at": now + kept, "holds": False}


def _until(moment: float) -> float:
    """Seconds to sleep until a moment of the clock, which may be set meanwhile."""
    return min(LONGEST_SLEEP, max(0.0, moment - time.time()))


def _this_world() -> tuple[int, object]:
    """What locks and threads made here belong to."""
    return os.getpid(), threading.Lock
