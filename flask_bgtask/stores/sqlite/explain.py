"""What SQLite's errors mean for whoever runs the application."""

from __future__ import annotations

from pathlib import Path

from ...errors import StoreError

#: Seconds that a statement waits for another process to end its write.
BUSY_SECONDS = 5.0

_WHY = {
    "SQLITE_BUSY": (
        f"stayed locked for {BUSY_SECONDS:g} s: another program writes to it in one long "
        "transaction (a backup, an open sqlite3 shell, a stopped process); end that program"
    ),
    "SQLITE_LOCKED": "is locked by another connection of this process",
    "SQLITE_FULL": "cannot grow: the disk (or a quota) is full; make room, then it goes on",
    "SQLITE_READONLY": (
        "cannot be written by this user: give it and its folder write permission, or set "
        "BGTASK_STORE to a file elsewhere"
    ),
    "SQLITE_PERM": "cannot be opened by this user: check the permissions of file and folder",
    "SQLITE_CANTOPEN": (
        "cannot be opened: see that its folder is there and that this user may write to both, or "
        "set BGTASK_STORE to a file elsewhere"
    ),
    "SQLITE_IOERR": (
        "could not be read or written: see whether the disk is full or faulty, and that its "
        "folder is on a local disk"
    ),
    "SQLITE_CORRUPT": (
        "is damaged: stop the application and move the file away together with its -wal and -shm "
        "(a new one is made at the next start); `sqlite3 FILE .recover` gets out what is readable"
    ),
    "SQLITE_NOTADB": (
        "is no SQLite database: move it away, or set BGTASK_STORE to a file of its own"
    ),
    "SQLITE_PROTOCOL": "is used by too many processes at once; try again",
    "SQLITE_TOOBIG": "cannot keep so large a value",
}

#: After these a connection is not used again: what it knows of the file may be wrong.
BROKEN = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_READONLY")


def code_of(error: BaseException) -> str:
    """SQLite's primary code, such as ``SQLITE_BUSY``; empty where there is none."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    return "_".join(name.split("_")[:2])


def damaged(path: Path, found: str) -> StoreError:
    """The error for a file that SQLite's own check calls damaged."""
    return StoreError(f"the store {path} {_WHY['SQLITE_CORRUPT']} ({found})")


def explained(error: BaseException, path: Path) -> StoreError:
    """The error to raise ``from`` one of SQLite, of the file system or of binding a value."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError):
        return StoreError(
            f"the store {path} cannot be used ({error.strerror}): see that its folder can be made "
            "and written by this user, or set BGTASK_STORE to a file elsewhere"
        )
    why = _WHY.get(code_of(error))
    return StoreError(f"the store {path} {why} ({error})" if why else f"the store {path}: {error}")
