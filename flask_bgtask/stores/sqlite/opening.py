"""Makes, checks and opens the store's file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path

from ...errors import StoreError
from . import schema
from .explain import BUSY_SECONDS, code_of, damaged

#: Bytes of a page of a new file. A commit writes each page that it touched whole, and a row touches
#: one of the table and one of each index: with SQLite's 4096 a commit takes a third longer.
_PAGE_SIZE = 2048

#: Pages in the write-ahead log at which a commit copies them into the file. Under ``FULL`` each
#: commit waits for the disk anyway, and a shorter log makes that wait shorter.
_AUTOCHECKPOINT = {"NORMAL": 8000, "FULL": 2000}

#: The oldest SQLite that has all we use: ``STRICT`` tables, ``json_each``.
OLDEST = (3, 38)

#: Largest file, in bytes, that is read through at the start (a tenth of a second).
CHECKED_SIZE = 64 * 1024 * 1024

# One thread of the process makes a file at a time: closing a descriptor of a file drops the
# process's locks on it (POSIX), so none may be closed while a connection to the file is open.
_making = threading.Lock()

Identity = tuple[int, int]


def identity(path: str | Path) -> Identity:
    """Which file a path leads to.

    :raises OSError: there is none.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino


def make_file(path: Path) -> None:
    """See that the file is there; a new one is for its user alone, as will be its log.

    :raises OSError: it cannot be made.
    """
    with _making:
        if path.exists():
            return
        _make_folder(path.parent)
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it: whoever may write to one could put another store there."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o755, exist_ok=True)


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread; makes no file."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    # Another program may have written a text that is none: it must not hide the other rows.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    connection.create_function("casefold", 1, str.casefold, deterministic=True)
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that reads; the file is known to be good."""
    connection = connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def open_writer(path: Path, synchronous: str) -> sqlite3.Connection:
    """A connection that writes, to a file brought to this version's schema.

    :raises StoreError: the file is of a newer version, damaged or another program's.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise StoreError(
            f"the SQLite store needs SQLite {'.'.join(map(str, OLDEST))} or newer and this Python "
            f"has {sqlite3.sqlite_version}: set BGTASK_STORE to 'memory' or to a database server"
        )
    connection = connect(path)
    try:
        if _versions(connection) != (schema.APPLICATION_ID, schema.VERSION):
            _migrate(connection, path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_AUTOCHECKPOINT.get(synchronous, 2000)}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA busy_timeout = 0")  # who uses it waits in its own way
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Look for damage, where that takes no noticeable time.

    :raises StoreError: there is some.
    """
    if path.stat().st_size > CHECKED_SIZE:
        return
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise damaged(path, found)


def _versions(connection: sqlite3.Connection) -> tuple[int, int]:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    return application, connection.execute("PRAGMA user_version").fetchone()[0]


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to our version, in one transaction; the first of several processes does."""
    _refuse_foreign(connection, path)
    connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")  # heeded while the file is empty
    _use_wal(connection, path)
    connection.execute("BEGIN IMMEDIATE")
    try:
        _, version = _refuse_foreign(connection, path)
        for statements in schema.MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
    # One statement: another process may be making its tables at this moment.
    application, version, tables = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), "
        "(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)"
    ).fetchone()
    if application != schema.APPLICATION_ID and (application or version or tables):
        raise StoreError(
            f"{path} is the database of another program; set BGTASK_STORE to a file of its own"
        )
    if version > schema.VERSION:
        raise StoreError(
            f"the store {path} was written by a newer version of Flask-BgTask (its schema is "
            f"{version}, this one knows {schema.VERSION}): install that version here too, or set "
            "BGTASK_STORE to another file"
        )
    return application, version


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Switch to a write-ahead log; where others open the file too, SQLite does not wait itself."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if code_of(error) != "SQLITE_BUSY" or time.monotonic() > until:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise StoreError(
                f"the store {path} is on a file system without shared memory, which several "
                "processes need; set BGTASK_STORE to a file on a local disk"
            )
        return
