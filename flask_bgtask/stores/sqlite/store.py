"""The SQLite store: what each call of the :class:`.Store` protocol is made of."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ...job import INPUT_COLUMNS, JobState, Record
from ...store import Filter, ScheduleState, Wanted, always
from . import claiming, forking, reading, statements
from .buffer import MOST, Buffer
from .changing import change_in_file
from .connections import Connections
from .inserting import insert, refuse, write_kept
from .liveness import Liveness
from .orphans import Search, has_rows
from .rows import WIDTH, decode, encode, names_of, plain, state_of
from .schema import TICKED

#: Seconds that who only looks at jobs waits until those that are kept back are written.
LOOK_SECONDS = 0.1

_RUNNING = (JobState.RUNNING,)

_NO_INPUT: dict[str, Any] = dict.fromkeys(INPUT_COLUMNS)

#: Seconds between two looks whether this process's lock file is still there.
RENEW_SECONDS = 1.0


class SQLiteStore:
    """Keeps an app's jobs in a file that all its processes on this machine share.

    The constructor opens nothing; the first call does, and makes file and folder if need be.

    :param app_name: ``Record.app`` of the rows; apps may share a file.
    :param path: the file. Beside it SQLite has its ``-wal`` and ``-shm``, and the processes
        their lock files in ``<path>.processes``.
    :param synchronous: ``NORMAL`` survives the death of processes, ``FULL`` a power cut too.
    :param takes_jobs: whether this process does more than submit; asked when it binds a first row.
    """

    shared = True

    def __init__(
        self,
        app_name: str,
        path: Path,
        *,
        synchronous: str = "NORMAL",
        takes_jobs: Callable[[], bool] = always,
    ) -> None:
        self._app = app_name
        self.file = Path(path)
        self._synchronous = synchronous
        self._takes_jobs = takes_jobs
        self.on_pending: Callable[[], None] | None = None
        "Called when a first row is kept back: somebody must call :meth:`flush` within 10 ms."
        self._begin()
        forking.watch(self)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.process = secrets.token_hex(8)
        self._live = Liveness(self.file, self.process, self._takes_jobs)
        self._search = Search(self._live, self._app, self.process)
        self._db = Connections(self.file, self._synchronous, self._live.others)
        self._buffer = Buffer()
        self._unknown: frozenset[str] = frozenset()
        self._version: object = None
        self._renewed = 0.0

    def _here(self) -> Connections:
        """The connections of this process, also where it was forked without Python's hooks."""
        if os.getpid() != self._pid:
            self.after_fork()
        return self._db

    def _bound_here(self) -> Connections:
        """The same, for what binds rows to this process: that it lives must be seen first."""
        db = self._here()
        if not self._live.shown:
            db.open()
            self._live.begin()
        return db

    def add(self, record: Record) -> None:
        """See :meth:`.Store.add`."""
        db = self._bound_here()
        if record.durable or record.unique is not None or record.serial is not None:
            insert(db, record)
            return
        if len(self._buffer) >= MOST:
            self.flush()
        first = self._buffer.put(record)
        if first and self.on_pending is not None:
            self.on_pending()

    def flush(self) -> None:
        """See :meth:`.Store.flush`.

        :raises StoreError: rows could not be written; they are kept for the next time.
        """
        write_kept(self._here(), self._buffer)

    def get(self, job_id: str) -> Record | None:
        """See :meth:`.Store.get`."""
        db = self._here()
        kept = self._buffer.find(job_id)
        if kept is not None:
            return kept.copy()
        rows = db.read(statements.GET, (job_id, self._app))
        return decode(rows[0]) if rows else None

    def get_many(self, job_ids: Collection[str]) -> list[Record]:
        """See :meth:`.Store.get_many`."""
        db = self._here()
        kept = {job_id: row for job_id in job_ids if (row := self._buffer.find(job_id))}
        others = [job_id for job_id in job_ids if job_id not in kept]
        found = [row.copy(**_NO_INPUT) for row in kept.values()]
        if others:
            rows = db.read(statements.GET_MANY, (json.dumps(others), self._app))
            found += [decode(row) for row in rows]
        return found

    def change(
        self,
        job_id: str,
        columns: Mapping[str, Any],
        *,
        states: Collection[JobState] | None = None,
        token: str | None = None,
    ) -> Record | None:
        """See :meth:`.Store.change`."""
        db, expected = self._here(), (job_id, columns, states, token)
        kept, row = self._buffer.change(*expected)
        if kept:
            return None if row is None else row.copy()
        with db.locked():
            # A flush that failed has put the row back: under this lock it is here or in the file.
            kept, row = self._buffer.change(*expected)
            if kept:
                return None if row is None else row.copy()
            if not change_in_file(db, self._app, *expected):
                return None
            # Not RETURNING: SQLite would keep the write lock until Python has come for the row,
            # and that takes milliseconds where tasks keep the interpreter busy.
            rows = db.look(statements.GET, (job_id, self._app))
            return decode(rows[0]).copy(**columns) if rows else None

    def end(self, attempt: Record, columns: Mapping[str, Any]) -> bool:
        """See :meth:`.Store.end`."""
        db, expected = self._here(), (attempt.id, columns, _RUNNING, attempt.token)
        kept, row = self._buffer.change(*expected)
        if kept:
            return row is not None
        with db.locked():
            kept, row = self._buffer.change(*expected)
            return row is not None if kept else change_in_file(db, self._app, *expected)

    def claim(self, wanted: Wanted, columns: Mapping[str, Any]) -> Record | None:
        """See :meth:`.Store.claim`."""
        db = self._bound_here()
        if self._buffer.has_waiting:
            self.flush()
        names, values = names_of(columns), [plain(value) for value in columns.values()]
        unknown = {task for task in self._unknown if not wanted.knows(task)}
        while True:
            rows = db.look(*claiming.candidate(wanted, self._app, self.process, unknown))
            if not rows:
                self._unknown = frozenset(unknown)
                return None
            row = decode(rows[0])
            if not wanted.knows(row.task):
                if row.task in unknown:  # its name is no UTF-8: make it one that can be passed over
                    db.write("UPDATE job SET task = ? WHERE seq = ?", (row.task, row.seq))
                unknown.add(row.task)
                continue
            statement = claiming.take(names, row.serial is not None)
            if db.write(statement, [*values, self.process, *claiming.as_seen(row)]):
                begun = {"state": JobState.RUNNING, "process": self.process}
                attempt = min(row.attempt, claiming.MOST_ATTEMPTS) + 1
                return row.copy(**columns, **begun, attempt=attempt)

    def promote(self, now: float) -> float | None:
        """See :meth:`.Store.promote`."""
        db = self._here()
        if self._buffer.has_waiting:
            self.flush()
        mine = (self._app, self.process)
        while True:
            due: float | None = db.read(statements.NEXT_DUE, mine)[0][0]
            if due is None or due > now:
                return due
            db.write(statements.PROMOTE, (*mine, now))

    def version(self) -> object:
        """See :meth:`.Store.version`."""
        db = self._here()
        if self._live.shown and time.monotonic() - self._renewed > RENEW_SECONDS:
            self._live.renew()
            self._renewed = time.monotonic()
        found = db.version()
        if found is not None:
            self._version = found
        return self._version

    def waiting(self) -> int:
        """See :meth:`.Store.waiting`."""
        count: int = self._here().read(reading.WAITING, (self._app,))[0][0]
        return count

    def counts(self) -> dict[JobState, int]:
        """See :meth:`.Store.counts`."""
        found = dict.fromkeys(JobState, 0)
        for text, jobs in self._read_all(reading.COUNTS):
            found[state_of(text)] += jobs
        return found

    def oldest_queued(self) -> float | None:
        """See :meth:`.Store.oldest_queued`."""
        due: float | None = self._read_all(reading.OLDEST_QUEUED)[0][0]
        return due

    def tasks(self, *, waiting: bool = False) -> set[str]:
        """See :meth:`.Store.tasks`."""
        statement = reading.WAITING_TASKS if waiting else reading.TASKS
        return {task for (task,) in self._read_all(statement)}

    def listing(
        self,
        wanted: Filter,
        *,
        limit: int,
        after: int | None = None,
        now: float,
        brief: bool = False,
    ) -> list[Record]:
        """See :meth:`.Store.listing`."""
        self._write_if_possible()
        statement, values = reading.listing(wanted, self._app, limit, after, now, brief=brief)
        return [decode(row) for row in self._here().read(statement, values)]

    def delete(self, job_id: str) -> bool:
        """See :meth:`.Store.delete`."""
        self.flush()
        return self._here().write(statements.DELETE, (job_id, self._app)) > 0

    def purge(self, now: float) -> int:
        """See :meth:`.Store.purge`."""
        return self._here().write(statements.PURGE, (self._app, now))

    def orphans(self) -> list[Record]:
        """See :meth:`.Store.orphans`."""
        return self._search.find(self._here(), self._version)

    def processes(self, *, working: bool = False) -> list[str]:
        """See :meth:`.Store.processes`."""
        self._here()
        return self._live.people(working=working)

    def pause(self, queue: str, paused: bool) -> None:
        """See :meth:`.Store.pause`."""
        statement = (
            "INSERT INTO paused VALUES (?, ?) ON CONFLICT DO NOTHING"
            if paused
            else "DELETE FROM paused WHERE app = ? AND queue = ?"
        )
        self._here().write(statement, (self._app, queue))

    def paused(self) -> frozenset[str]:
        """See :meth:`.Store.paused`."""
        rows = self._here().read("SELECT queue FROM paused WHERE app = ?", (self._app,))
        return frozenset(queue for (queue,) in rows)

    def schedules(self) -> list[ScheduleState]:
        """See :meth:`.Store.schedules`."""
        statement = "SELECT id, task, spec, last_tick, next_tick FROM schedule WHERE app = ?"
        return [ScheduleState(*row) for row in self._here().read(statement, (self._app,))]

    def tick(self, schedule: ScheduleState, last_seen: float | None, record: Record | None) -> bool:
        """See :meth:`.Store.tick`."""
        db = self._bound_here()
        note = [schedule.id, schedule.task, schedule.spec, schedule.last_tick, schedule.next_tick]
        job = [None] * WIDTH if record is None else encode(record)
        while True:
            try:
                db.write(statements.TICK, [self._app, *note, last_seen, *job])
                return True
            except sqlite3.IntegrityError as error:
                if TICKED in str(error):
                    return False
                if record is None:
                    raise StoreError(f"the schedule {schedule.id!r}: {error}") from error
                refuse(db, error, record.app, record.id, record.unique)

    def close(self) -> None:
        """See :meth:`.Store.close`.

        While rows are bound to this process (a thread that could not be stopped runs on) it
        keeps its lock, until it ends.
        """
        try:
            self.flush()
        finally:
            if self._live.shown:
                with contextlib.suppress(StoreError):
                    if not has_rows(self._db, self.process):
                        self._live.end()
            self._db.close()

    def after_fork(self) -> None:
        """See :meth:`.Store.after_fork`. What the parent kept back is the parent's to write."""
        if os.getpid() != self._pid:
            self._live.forget()
            forking.abandon(self._db)
            self._begin()

    def _read_all(self, statement: str) -> list[tuple[Any, ...]]:
        self._write_if_possible()
        return self._here().read(statement, (self._app,))

    def _write_if_possible(self) -> None:
        """Who only looks must not fail or wait because it cannot be done; others say so."""
        with contextlib.suppress(StoreError):
            write_kept(self._here(), self._buffer, time.monotonic() + LOOK_SECONDS)

    # What a fork needs; called by :mod:`.forking`.

    def before_fork(self) -> bool:
        """Close everything and hold the gate."""
        return self._db.freeze()

    def after_fork_in_parent(self, writing: bool) -> None:
        """Let go of it."""
        self._db.thaw(writing)
