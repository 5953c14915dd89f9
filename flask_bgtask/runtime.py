"""The run-time state of one app in one process."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blinker import NamedSignal
from flask import Flask

from . import telling
from .arguments import Codec
from .calls import Call, Fresh
from .columns import Columns
from .config import Settings
from .context import Carrier, RunningJob
from .dispatcher import Dispatcher
from .engine import Capacity, Engine
from .errors import JobCancelled
from .handle import Handle
from .handles import Handles
from .job import WAITING, JobState, Record
from .jobs import Jobs
from .keeper import Keeper
from .room import Room
from .signals import job_cancelled
from .store import Store
from .troubles import Troubles

if TYPE_CHECKING:
    from .parts import Parts
    from .scheduler.schedules import Schedule
    from .task import Task

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
    tasks: dict[str, Task[..., Any]] = field(default_factory=dict)
    carriers: list[Carrier] = field(default_factory=list)
    schedules: dict[str, Schedule] = field(default_factory=dict)


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
        make_parts: Callable[[Runtime], Parts],
    ) -> None:
        self.app = app
        self.settings = settings
        self.registry = registry
        self.codec = registry.codec
        self.jobs = Jobs(app, registry.codec, lambda: self.store, settings.url_prefix)
        self.closers: list[Callable[[], None]] = []
        "Called when the workers of this process end."
        workers = settings.workers if settings.run_workers else 0
        self.capacity = Capacity(workers, settings.queues)
        "What this process does; to be replaced, if at all, before the engine is used."
        self._make_store = make_store
        self._make_engine = make_engine
        self._make_parts = make_parts
        self.reset()

    def takes_jobs(self) -> bool:
        """Whether this process does more than submit."""
        return self.capacity.workers > 0

    def reset(self) -> None:
        """Begin with nothing: threads and locks of a process that forked this one are not ours."""
        self._made_for = _this_world()
        # Guards the making of the store and the engine.
        self._making = threading.RLock()
        self.ending = threading.RLock()
        """Held while the last of what was open is closed, or all is opened again. Reentrant, as a
        handler of a signal may come in between."""
        self.immediate = self.settings.immediate
        "Jobs do not wait for their time: a test has them run inside ``submit``, or by hand."
        self._store: Store | None = None
        self.columns = Columns(
            self.app.name, lambda: self.store_as_is.process, self.settings.result_ttl
        )
        self.fresh = Fresh(lambda: self.store_as_is, self.columns.row)
        # These three are written and read by single dictionary operations, which are atomic.
        self.calls: dict[str, Call] = {}
        self.running: dict[str, RunningJob] = {}
        self.deferred: dict[str, Handle[Any]] = {}
        "Handles of jobs that wait for a commit."
        self.handles = Handles(self, self.calls, self.watch)
        self.room = Room(self.settings.max_queued, lambda: self.store.waiting())
        self.open()

    def open(self) -> None:
        """Begin with new threads, which are started when needed; jobs and the store stay."""
        self.closed = False
        "The workers of this process were told to end; nothing new is accepted."
        self._engine: Engine | None = None
        self.troubles = Troubles(self.log)
        name = f"bgtask-{self.app.name}"
        self.keeper = Keeper(name, self.troubles.tell)
        self.dispatcher = Dispatcher(name, self.keeper, self.troubles.tell)
        self.parts = self._make_parts(self)
        "The machinery that upper floors put in: see :mod:`.extension`."

    def reset_in_child(self) -> None:
        """The same in a forked child; handles of the parent's jobs can be used in it too."""
        handles = self.handles
        shared = self._store is not None and self._store.shared
        self.reset()
        self.handles.inherit(handles, shared=shared)

    def renew(self) -> None:
        """Begin anew if this process is another by now.

        uWSGI forks without Python's hooks, and a gevent worker of gunicorn's patches the threads
        only after the fork: locks that were made before would block all of it.
        """
        if self._made_for != _this_world():
            self.reset_in_child()

    @property
    def store(self) -> Store:
        """Where all jobs are: rows that are not there yet are written now."""
        if self.fresh:
            self.fresh.write()
        return self.store_as_is

    @property
    def store_as_is(self) -> Store:
        """The same, for who does not miss fresh rows; made at the first use."""
        store = self._store
        if store is None:
            with self._making:
                if self._store is None:
                    self._store = self._make_store(self)
                store = self._store
        return store

    def write_soon(self) -> None:
        """Add them before other processes could miss them: see :meth:`.Store.add`."""
        if self.store_as_is.shared:
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

    # Telling the application.

    def send(self, signal: NamedSignal, record: Record, **data: Any) -> None:
        """Tell the receivers of a signal about a job; one that fails is logged."""
        if telling.is_heard(signal):
            self.tell(functools.partial(self._send, signal, record, data))

    def _send(self, signal: NamedSignal, record: Record, data: dict[str, Any]) -> None:
        job = self.jobs.show(record)
        telling.send(self.app, signal, f"job {job.id}", job=job, **data)

    def tell(self, call: Callable[[], object]) -> None:
        """Run code of users', beside housekeeping, which it must not hold up."""
        if self.keeper.is_here():
            self.dispatcher.post(call)
        else:
            call()

    def tell_handle(self, record: Record) -> None:
        """End the handle of a job as its row ended, if somebody has one."""
        handle = self.handles.settle(record.id)
        if handle is not None:
            self.tell(functools.partial(self.handles.resolve, handle, record))

    def log(self, level: int, text: str, *args: Any, exc_info: Any = None) -> None:
        """Write to the app's log; a handler of the application's that fails harms no job.

        :param args: texts among them may come from the store, and are made printable.
        """
        telling.log(self.app, level, text, *args, exc_info=exc_info, stacklevel=2)

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

    def watch(self) -> None:
        """Something here begins to wait for what other processes do.

        They need some time for it: waking the keeper at once would cost each submit more than
        all else.
        """
        self.keeper.poke(self.parts.watcher.poll, WATCH_AFTER)

    def unknown_tasks(self) -> set[str]:
        """Tasks that jobs wait for and that this process does not know."""
        knows = self.parts.runner.knows
        return {name for name in self.store.tasks(waiting=True) if not knows(name)}

    # What handles ask for, see `handle.Home`.

    def keep(self, handle: Handle[Any]) -> Callable[[Handle[Any]], object]:
        """Do not forget a handle whose callbacks are still to be called; gives what ends that."""
        return self.handles.keep(handle)

    def cancel_waiting(self, job_id: str) -> bool:
        """Cancel a job that has not begun; whether that was in time."""
        deferred = self.deferred.pop(job_id, None)
        if deferred is not None:
            deferred.resolve_cancelled()
            return True
        record = self.store.get(job_id)
        if record is None:
            return False
        ending = self.columns.ending(record, JobState.CANCELLED)
        ended = self.store.change(job_id, ending, states=WAITING)
        if ended is None:
            return False
        if self.has_engine:
            self.engine.withdraw(job_id)
        handle = self.handles.settle(job_id)
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


def _until(moment: float) -> float:
    """Seconds to sleep until a moment of the clock, which may be set meanwhile."""
    return min(LONGEST_SLEEP, max(0.0, moment - time.time()))


def _this_world() -> tuple[int, object]:
    """What locks and threads made here belong to."""
    return os.getpid(), threading.Lock
