"""Can the store be used by all who have to, and by nobody else?"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import ConfigError, StoreError
from ...runtime import Runtime
from ...store import Store, Wanted
from .case import Case
from .crew import Kind
from .finding import Finding, error, info, warning

#: Free bytes on the disk of the store under which there is a word about it.
LITTLE_ROOM = 200 * 1024 * 1024

_ELSEWHERE = "Set BGTASK_STORE to a file on a local disk: sqlite:////var/lib/app/bgtask.sqlite3"


def open_store(runtime: Runtime) -> tuple[Store | None, list[Finding]]:
    """The store, if there is one that can be read, and what is wrong with it.

    A file that is not there yet is not made; what it would meet is tried beside it.
    """
    try:
        store = runtime.store
        if not store.shared:
            return None, list(_in_memory(runtime))
        if store.file is None:
            store.counts()
            return store, []
        return _open_file(store, store.file)
    except ConfigError as wrong:
        return None, [error("store-setting", str(wrong))]
    except StoreError as wrong:
        return None, [error("store-unusable", str(wrong))]


def _in_memory(runtime: Runtime) -> Iterator[Finding]:
    if not runtime.app.testing:
        yield warning(
            "store-memory",
            "BGTASK_STORE is 'memory': tasks and mails end with their process, and each process "
            "of a server knows its own jobs alone, so that a status page may say 404.",
            "BGTASK_STORE = 'sqlite', unless there is one process and its jobs may get lost",
        )


def _open_file(store: Store, file: Path) -> tuple[Store | None, list[Finding]]:
    findings = [*_folder(file), *_changeable(file)]
    if not file.exists():
        text = f"No jobs yet: {file} is made at the first use."
        return None, [*findings, info("store", text)]
    store.counts()
    return store, [*findings, *_file(file)]


def _folder(file: Path) -> Iterator[Finding]:
    """Try in a store of our own, in the same folder, whether a process can work there."""
    folder = next(each for each in file.parents if each.exists())
    try:
        _try_out(folder)
    except StoreError as wrong:
        yield error("store-folder", str(wrong), _ELSEWHERE)
    except OSError as wrong:
        what = f"The folder {folder} cannot be written by this user ({wrong.strerror})."
        yield error("store-folder", what, f"Give it write permission. Or: {_ELSEWHERE}")
    else:
        free = shutil.disk_usage(folder).free
        if free < LITTLE_ROOM:
            what = f"The disk of {folder} has {_size(free)} left; without room no job is accepted."
            yield warning("store-disk", what, "Make room, or: " + _ELSEWHERE)


def _try_out(folder: Path) -> None:
    """Make a store, lock it as a process does that runs jobs, and take it away again."""
    from ...stores.sqlite import SQLiteStore

    with tempfile.TemporaryDirectory(prefix=".bgtask-", dir=folder) as inside:
        store = SQLiteStore("doctor", Path(inside) / "bgtask.sqlite3")
        try:
            store.claim(Wanted(), {})
        finally:
            store.close()


def _changeable(file: Path) -> Iterator[Finding]:
    """May others write into the file, or put another one in its place?"""
    alternative = "; if others need the folder, set BGTASK_STORE to a file in another one"
    for path, what_else in ((file.parent, alternative), (file, "")):
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        if mode & 0o022:
            yield warning(
                "store-writable",
                f"{path} has mode {mode:04o}: other users can write there, and who writes into the "
                "store has the application run its tasks with any arguments.",
                f"chmod go-w {path}{what_else}",
            )


def _file(file: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode)
    size = sum(part.stat().st_size for part in (file, Path(f"{file}-wal")) if part.exists())
    yield info("store", f"{file}: {_size(size)}, mode {mode:04o}")
    if mode & 0o044:
        what = f"{file} has mode {mode:04o}: arguments of jobs can be read by other users."
        yield warning("store-mode", what, f"chmod 600 {file}*")
    if not os.access(file, os.W_OK):
        what = f"{file} cannot be written by this user."
        yield error("store-unusable", what, "Run all commands as the user of the server.")


def examine_neighbours(case: Case) -> Iterator[Finding]:
    """Do the processes belong to one application?"""
    folders = {
        member.process.folder
        for member in case.crew
        if member.process is not None and member.process.folder and member.kind != Kind.COMMAND
    }
    if len(folders) > 1:
        name = case.site.runtime.app.name
        yield warning(
            "same-name",
            f"Live processes of {name!r} run in different folders: {', '.join(sorted(folders))}. "
            "Applications of one name share their jobs if they share the store.",
            "If these are different applications, give each a name or a BGTASK_STORE of its own.",
        )


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
