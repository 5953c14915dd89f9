"""The connections of one process to the store's file.

One connection writes, under a lock; a few others read, each lent to one thread at a time. A
connection for each thread would be dropped open when a thread ends, and could not be closed
before a fork: SQLite's own table of locks is copied by a fork, and a child that inherits it
meets "database is locked" long after. So all of them are known here, and the gate below closes
them while nobody uses one.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import StoreError
from .explain import BROKEN, BUSY_SECONDS, code_of, explained
from .opening import Identity, check, identity, make_file, open_reader, open_writer
from .patience import patiently
from .rows import writable

#: Reading connections that are kept open while nobody needs them.
IDLE_READERS = 4

#: Seconds for which the file counts as still in its place. What is written to a file within them
#: shares the fate of what was in it when it was deleted.
CHECK_SECONDS = 0.01

#: The same for who only asks whether something was written, twenty times a second.
WATCH_SECONDS = 0.5

Row = tuple[Any, ...]


_BAD_VALUE = (
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    OverflowError,
)


def _rest(until: float) -> float:
    """Seconds that are left."""
    return max(0.0, until - time.monotonic())


class BadValue(StoreError):
    """A value cannot be written, now or later."""


class Connections:
    """Runs statements on the file at ``path``, each of them its own transaction.

    Every error of SQLite or of the file system leaves here as a :class:`.StoreError`.

    :param synchronous: ``NORMAL`` or ``FULL``, as in SQLite.
    :param in_use: whether other processes use the file, be it there or not.
    """

    def __init__(self, path: Path, synchronous: str, in_use: Callable[[], bool]) -> None:
        self._path = path
        self._in_use = in_use
        self._name = str(path)
        self._synchronous = synchronous
        # Guards the writing connection; held for the time of a statement. Whoever must do
        # several without another thread of this process in between takes it around them.
        self.lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._openings = 0
        self._checked = 0.0
        # Guards the two below; waited on until no reading connection is lent.
        self._readers = threading.Condition(threading.Lock())
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._frozen = False

    def open(self) -> None:
        """See that the file and its tables are there.

        :raises StoreError: they cannot be made or used.
        """
        if self._identity is None:
            self.look("SELECT 1")

    def write(self, statement: str, values: Sequence[Any] = (), until: float | None = None) -> int:
        """Run a statement that writes; how many rows it changed.

        :param until: when to give up waiting for other threads and processes, by the monotonic
            clock; by default after :data:`BUSY_SECONDS`.
        :raises sqlite3.IntegrityError: a constraint forbids it (its meaning is the caller's).
        :raises BadValue: SQLite has no type for a value, or it is too large.
        :raises StoreError: on any other failure; nothing was written then.
        """
        if not self.lock.acquire(blocking=False):
            until = time.monotonic() + BUSY_SECONDS if until is None else until
            if not self.lock.acquire(timeout=_rest(until)):
                raise self._busy()
        try:
            connection = self._writer or self._open_writer()
            # Before the write: the log beside a replaced file would bring it into the new one.
            self._check_file()
            try:
                changed = patiently(connection, statement, values, until).rowcount
            except UnicodeEncodeError:
                changed = patiently(connection, statement, writable(values), until).rowcount
            # After it, as it may have waited: what went to a deleted file was not accepted.
            self._check_file()
            return changed
        except sqlite3.IntegrityError:
            raise
        except _BAD_VALUE as error:
            raise BadValue(f"the store {self._path} cannot keep a value: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        finally:
            self.lock.release()

    def look(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Read on the writing connection: what this process wrote last is there."""
        with self.locked():
            try:
                connection = self._writer or self._open_writer()
                return patiently(connection, statement, values).fetchall()
            except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
                raise self._failed(error) from error

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Read on a connection of its own: waits for no writer."""
        connection = self._borrow()
        good = False
        try:
            rows = connection.execute(statement, values).fetchall()
            self._check_file()
            good = True
            return rows
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise self._explained(error) from error
        finally:
            self._give_back(connection, good)

    def version(self) -> tuple[int, int] | None:
        """Differs from an earlier one if another process wrote since; ``None``: cannot tell now.

        The writing connection is asked, because only its own writes do not count, and only if
        no thread is at it, for a housekeeper must not wait while somebody waits for a lock.
        """
        if not self.lock.acquire(blocking=False):
            return None
        try:
            connection = self._writer or self._open_writer()
            version = patiently(connection, "PRAGMA data_version", ()).fetchone()[0]
            self._check_file(WATCH_SECONDS)
            return self._openings, version
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        finally:
            self.lock.release()

    def written(self) -> tuple[int, int]:
        """Differs from an earlier one if this process wrote since."""
        writer = self._writer
        return self._openings, -1 if writer is None else writer.total_changes

    @contextmanager
    def locked(self, until: float | None = None) -> Iterator[None]:
        """Keep other threads of this process from writing, for a few statements.

        :param until: when to give up waiting for them; by default after :data:`BUSY_SECONDS`.
        """
        if not self.lock.acquire(timeout=BUSY_SECONDS if until is None else _rest(until)):
            raise self._busy()
        try:
            yield
        finally:
            self.lock.release()

    def close(self) -> None:
        """Close every connection once nobody uses it; the next call opens anew."""
        with self.locked():
            self._close_writer()
        with self._readers:
            self._readers.wait_for(lambda: not self._lent, BUSY_SECONDS)
            self._close_idle()

    def freeze(self) -> bool:
        """Before a fork: close everything and let nobody open before :meth:`thaw`.

        Waits for the statements that run, within limits: a fork must not hang on a slow disk.
        """
        writing = self.lock.acquire(timeout=BUSY_SECONDS)
        with self._readers:
            self._frozen = True
            self._readers.wait_for(lambda: not self._lent, BUSY_SECONDS)
            self._close_idle()
        if writing:
            self._close_writer()
        return writing

    def thaw(self, writing: bool) -> None:
        """After a fork, in the parent.

        :param writing: what :meth:`freeze` returned.
        """
        with self._readers:
            self._frozen = False
            self._readers.notify_all()
        if writing:
            self.lock.release()

    # The writing connection; the lock is held.

    def _open_writer(self) -> sqlite3.Connection:
        if self._identity is None:
            # Who uses a file has made it before: if it is not there now, it was deleted.
            if not self._path.exists() and self._in_use() and not self._path.exists():
                raise self._replaced()
            make_file(self._path)
        elif identity(self._path) != self._identity:
            raise self._replaced()
        connection = open_writer(self._path, self._synchronous)
        try:
            if self._identity is None:
                check(connection, self._path)
                self._identity = identity(self._path)
        except BaseException:
            connection.close()
            raise
        self._openings += 1
        self._writer = connection
        return connection

    def _close_writer(self) -> None:
        connection, self._writer = self._writer, None
        if connection is not None:
            connection.close()

    def _failed(self, error: Exception) -> StoreError:
        """What to raise; a connection that may be wrong about the file is closed."""
        if code_of(error) in BROKEN and self._writer is not None:
            self._close_writer()
        return self._explained(error)

    # Reading connections.

    def _borrow(self) -> sqlite3.Connection:
        self.open()
        with self._readers:
            if not self._readers.wait_for(lambda: not self._frozen, 2 * BUSY_SECONDS):
                raise self._busy()
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        try:
            if identity(self._path) != self._identity:
                raise self._replaced()
            return open_reader(self._path)
        except (sqlite3.Error, OSError) as error:
            self._give_back(None, False)
            raise self._explained(error) from error
        except BaseException:
            self._give_back(None, False)
            raise

    def _give_back(self, connection: sqlite3.Connection | None, good: bool) -> None:
        keep = good and len(self._idle) < IDLE_READERS
        if connection is not None and not keep:
            connection.close()
        with self._readers:
            if connection is not None and keep:
                self._idle.append(connection)
            self._lent -= 1
            if not self._lent:
                self._readers.notify_all()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # Errors.

    def _explained(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError) or self._identity is None:
            return explained(error, self._path)
        try:
            moved = identity(self._path) != self._identity
        except OSError:
            moved = True
        return self._replaced() if moved else explained(error, self._path)

    def _replaced(self) -> StoreError:
        return StoreError(
            f"the store {self._path} was deleted or replaced while in use: stop the application, "
            "put the file back (or delete what is left of it, -wal and -shm too) and start again"
        )

    def _check_file(self, after: float = CHECK_SECONDS) -> None:
        """See that the file is still the one that was opened.

        :param after: seconds for which it counts as that.
        :raises StoreError: it is not.
        """
        now = time.monotonic()
        if now - self._checked >= after:
            self._checked = 0.0  # once it is not, the next call looks too
            if identity(self._name) != self._identity:
                raise self._replaced()
            self._checked = now

    def _busy(self) -> StoreError:
        return StoreError(
            f"the store {self._path} stayed locked for {BUSY_SECONDS:g} s: other threads of this "
            "process wait to write to it; try again"
        )
