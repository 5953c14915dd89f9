"""Which processes that use the store are alive.

Each holds a lock on a file of its own in a folder beside the store. The kernel frees the lock
with the process, however it ends, and a stopped process keeps it; so nothing has to be renewed
and no time-out can be wrong. A forked child does not inherit the lock.

POSIX frees a process's locks on a file when it closes *any* descriptor of that file. So no
process ever opens its own file again, or that of another store in the same process.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import StoreError
from .explain import explained

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Seconds for which a process's file must be missing before it counts as dead. One that lives
#: makes its file anew, should somebody delete the folder.
MISSING_SECONDS = 5.0

#: Seconds after which a file that was never put in its place is cleared away.
_STALE_SECONDS = 3600.0

# Second line in the file of a process that takes no jobs.
_ONLY_SUBMITS = "only submits"

# Names of the lock files that this process holds, over all its stores, with their text; one is
# added before its file can be found and taken out after it is gone. Single operations, which are
# atomic.
_held: dict[str, str] = {}


class Liveness:
    """Shows others that this process lives, and tells which of them do.

    :param database: the store's file; the folder is named after it.
    :param name: this process's name in the store.
    :param takes_jobs: whether this process does more than submit.
    """

    def __init__(self, database: Path, name: str, takes_jobs: Callable[[], bool]) -> None:
        self._database = database
        self._folder = database.with_name(f"{database.name}.processes")
        self._name = name
        self._takes_jobs = takes_jobs
        # Guards the making and giving up of this process's file.
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._missing: dict[str, float] = {}

    @property
    def shown(self) -> bool:
        """Whether this process holds its lock."""
        return self._descriptor is not None

    def begin(self) -> None:
        """Hold this process's lock from now on.

        :raises StoreError: the file system has no locks, or the file cannot be made.
        """
        with self._lock:
            if self._descriptor is None:
                does = "" if self._takes_jobs() else _ONLY_SUBMITS
                _held[self._name] = f"{_host_and_pid()}\n{does}"
                self._descriptor = self._locked_file()
                self._sweep()

    def renew(self) -> None:
        """Make this process's file anew if somebody deleted it."""
        with self._lock:
            if self._descriptor is not None and not self._path(self._name).exists():
                old, self._descriptor = self._descriptor, self._locked_file()
                os.close(old)

    def end(self) -> None:
        """Give the lock up and remove the file: nothing in the store is bound to this process."""
        with self._lock:
            if self._descriptor is not None:
                self._path(self._name).unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = None
                _held.pop(self._name, None)

    def forget(self) -> None:
        """In a forked child: the parent's lock is not inherited and its file is the parent's."""
        _held.pop(self._name, None)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def names(self) -> set[str]:
        """The processes that have a file, alive or not."""
        try:
            found = os.listdir(self._folder)
            return {name.removesuffix(".lock") for name in found if name.endswith(".lock")}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise explained(error, self._folder) from error

    def is_dead(self, name: str) -> bool:
        """Whether that process is known to be dead."""
        if name in _held:
            return False
        try:
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            first = self._missing.setdefault(name, time.monotonic())
            return time.monotonic() - first >= MISSING_SECONDS
        except OSError:
            return False  # cannot be told
        self._missing.pop(name, None)
        try:
            return _try_lock(descriptor, shared=True)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Clear away the file of a dead process that has no rows left."""
        self._path(name).unlink(missing_ok=True)
        self._missing.pop(name, None)

    def others(self) -> bool:
        """Whether another process lives that uses the store."""
        return any(not self.is_dead(name) for name in self.names() - {self._name})

    def people(self, *, working: bool = False) -> list[str]:
        """``host:pid`` of each live process.

        :param working: leave out those that only submit.
        """
        alive = [self._lines(name) for name in self.names() if not self.is_dead(name)]
        shown = [lines for lines in alive if lines and not (working and _ONLY_SUBMITS in lines)]
        return sorted({lines[0] for lines in shown})

    def _sweep(self) -> None:
        """Clear away files of processes that died before theirs was in its place."""
        try:
            drafts = [entry for entry in self._folder.iterdir() if entry.suffix == ".new"]
        except OSError:
            return
        for draft in drafts:
            if _age(draft) > _STALE_SECONDS:
                draft.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _lines(self, name: str) -> list[str]:
        """What the process's file says: who it is, and maybe that it takes no jobs."""
        text = _held.get(name)
        if text is None:
            try:
                text = self._path(name).read_text()
            except OSError:
                return []
        return text.splitlines()

    def _locked_file(self) -> int:
        """A new file, locked before it can be found: nobody sees it without its lock."""
        if fcntl is None:
            raise StoreError(
                "the SQLite store needs file locks as POSIX systems have them, and this one has "
                "none (Windows): set BGTASK_STORE to 'memory' or to a database server's URL"
            )
        draft = self._folder / f"{self._name}.{secrets.token_hex(4)}.new"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explained(error, self._database) from error
        try:
            os.write(descriptor, f"{_held[self._name]}\n".encode())
            if not _try_lock(descriptor, shared=False):
                raise OSError(errno.ENOLCK, "a file nobody knows is locked already")
            os.rename(draft, self._path(self._name))
        except OSError as error:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise self._cannot_lock(error) from error
        return descriptor

    def _cannot_lock(self, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return explained(error, self._database)
        return StoreError(
            f"the folder {self._database.parent} is on a file system without file locks "
            f"({error.strerror}), so a dead process could not be told from a live one: set "
            "BGTASK_STORE to a file on a local disk (sqlite:////var/lib/app/bgtask.sqlite3)"
        )


def _try_lock(descriptor: int, *, shared: bool) -> bool:
    """Whether the lock could be had; two that only look do not hinder each other.

    :raises OSError: the file system knows no locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _host_and_pid() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
