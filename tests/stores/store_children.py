"""What other processes do in the tests of the shared stores.

Each function runs in a process of its own, started afresh, and talks through a pipe.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from store_rows import PATIENCE, added, begun, ended

from flask_bgtask.errors import DuplicateJob, StoreError
from flask_bgtask.stores.sqlite import SQLiteStore

_processes = get_context("spawn")


class Child:
    """A process that runs ``what(pipe, path)``."""

    def __init__(self, what: Callable[[Connection, Path], None], path: Path) -> None:
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(target=what, args=(theirs, path), daemon=True)
        self._process.start()
        theirs.close()

    def told(self) -> Any:
        """What the process says next."""
        assert self._pipe.poll(PATIENCE), "the other process says nothing"
        return self._pipe.recv()

    def tell(self, what: Any) -> None:
        """Say something to it."""
        self._pipe.send(what)

    def kill(self) -> None:
        """End it as ``kill -9`` does, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.join(PATIENCE)
        assert self._process.exitcode == -signal.SIGKILL

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self) -> None:
        """Wait until it has ended by itself."""
        self._process.join(PATIENCE)
        assert self._process.exitcode == 0

    def clear_away(self) -> None:
        """Leave nothing of it."""
        if self._process.is_alive():
            self._process.kill()
            self._process.join(PATIENCE)
        self._process.close()
        self._pipe.close()


@contextmanager
def children() -> Iterator[Callable[..., Child]]:
    """Starts processes; none outlives the test."""
    made: list[Child] = []

    def start(what: Callable[[Connection, Path], None], path: Path) -> Child:
        made.append(Child(what, path))
        return made[-1]

    try:
        yield start
    finally:
        for child in made:
            child.clear_away()


def hold_rows(pipe: Connection, path: Path) -> None:
    """Have a running, a late, a queued and a volatile row, then wait for the end."""
    store = SQLiteStore("tests", path)
    running, late, volatile, queued = (
        added(store, id=f"{store.process}running"),
        added(store, id=f"{store.process}late", unique=store.process),
        added(store, id=f"{store.process}volatile", durable=False),
        added(store, id=f"{store.process}queued"),
    )
    for row in (running, late):
        assert begun(store, job_id=row.id) is not None
    ended(store, late.id, holds=True)
    store.flush()
    pipe.send({"process": store.process, "rows": [running.id, late.id, volatile.id, queued.id]})
    pipe.recv()
    store.close()


def only_submit(pipe: Connection, path: Path) -> None:
    """Add a job as a process that takes none, then wait for the end."""
    store = SQLiteStore("tests", path, takes_jobs=lambda: False)
    added(store, id=store.process)
    pipe.send(os.getpid())
    pipe.recv()
    store.close()


def count_jobs(pipe: Connection, path: Path) -> None:
    """Open the store when told to, all at once, and say what is there."""
    store = SQLiteStore("tests", path)
    pipe.send("ready")
    pipe.recv()
    try:
        added(store, id=store.process)
        pipe.send(None)
    except StoreError as error:
        pipe.send(str(error))
    store.close()


def fight_for_a_key(pipe: Connection, path: Path) -> None:
    """Submit jobs with one key again and again; who holds it runs the job and frees it."""
    store = SQLiteStore("tests", path)
    pipe.send("ready")
    times = pipe.recv()
    won: list[str] = []
    while len(won) < times:
        row_id = f"{store.process}{len(won)}-{os.urandom(8).hex()}"
        try:
            added(store, id=row_id, unique="k")
        except DuplicateJob:
            continue
        won.append(row_id)
        # Nobody else may have it meanwhile: the file is this test's independent record.
        with open(path.with_name("held"), "x"):
            pass
        path.with_name("held").unlink()
        ended(store, row_id)
    pipe.send(won)
    store.close()


def take_all(pipe: Connection, path: Path) -> None:
    """Claim and end jobs on two threads until none is left; say which."""
    store = SQLiteStore("tests", path)
    store.counts()
    pipe.send("ready")
    pipe.recv()
    taken: list[tuple[str, str | None]] = []

    def work() -> None:
        while (row := begun(store)) is not None:
            taken.append((row.id, row.serial))
            ended(store, row.id)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(taken)
    store.close()


def fill_a_small_disk(pipe: Connection, path: Path) -> None:
    """Write until the files may not grow further, then make room and go on."""
    import resource

    store = SQLiteStore("tests", path)
    first = added(store)
    volatile = added(store, durable=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    accepted = [first.id]
    errors = []
    for _ in range(100):
        try:
            accepted.append(added(store, arguments="x" * 20_000).id)
        except StoreError as error:
            errors.append(str(error))
    flushed: str | None = None
    try:
        for _ in range(40):
            added(store, durable=False, arguments="y" * 20_000)
        store.flush()
    except StoreError as error:
        flushed = str(error)
    seen = store.get(volatile.id) is not None and store.get(first.id) is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.flush()
    accepted.append(added(store).id)
    kept = len(store.get_many(accepted)) == len(accepted)
    pipe.send(
        {
            "errors": errors,
            "accepted": len(accepted),
            "flush": flushed,
            "seen": seen,
            "kept": kept,
            "all": sum(store.counts().values()),
        }
    )
    store.close()
