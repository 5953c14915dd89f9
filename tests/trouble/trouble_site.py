"""What goes wrong on a machine, on purpose; and a folder with an application that meets it."""

from __future__ import annotations

import contextlib
import json
import resource
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness import ServerProcess, gunicorn, wait_until

#: A size of files in bytes that every store is beyond, and no record or log of these tests.
LITTLE = 20_000


class Line(NamedTuple):
    """One line of the record; ``at`` is of the monotonic clock."""

    at: float
    word: str
    key: str
    pid: int


class Answer(NamedTuple):
    """What a server said to a request."""

    status: int
    body: dict[str, Any]


class Site(NamedTuple):
    """One application folder, which outlives the servers that are started in it."""

    folder: Path
    start: Callable[..., ServerProcess]

    @property
    def store(self) -> Path:
        """The file of the default store."""
        return self.folder / "instance" / "bgtask.sqlite3"

    def serve(self, *options: str, **env: str) -> ServerProcess:
        """gunicorn with one worker of four threads."""
        given = ("--worker-class", "gthread", "--threads", "4", *options)
        return self.start(lambda port: gunicorn(port, *given), **env)

    def lines(self) -> list[Line]:
        """What tasks wrote down, whatever became of their processes."""
        path = self.folder / "record"
        split = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [Line(float(at), word, key, int(pid)) for at, word, key, pid in split]

    def count(self, word: str) -> Counter[str]:
        """How often each key came with the word."""
        return Counter(line.key for line in self.lines() if line.word == word)

    def wait(self, word: str, *keys: str, timeout: float = 30.0) -> None:
        """Return once each of the keys came with the word."""
        what = f"{word} of {keys[:5]}"
        wait_until(lambda: set(keys) <= set(self.count(word)), timeout, what)


def ask(server: ServerProcess, path: str, *, post: bool = False, timeout: float = 30.0) -> Answer:
    """Send a request; errors of the server are answers too."""
    asked = urllib.request.Request(server.url(path), method="POST" if post else "GET")
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return Answer(answer.status, json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.loads(error.read()))


def submit(server: ServerProcess, **args: object) -> Answer:
    """Submit a job over HTTP."""
    query = "&".join(f"{name}={value}" for name, value in args.items())
    return ask(server, f"/jobs?{query}", post=True)


def accepted(server: ServerProcess, **args: object) -> str:
    """Submit a job that must be accepted; its id."""
    answer = submit(server, **args)
    assert answer.status == 202, answer
    return str(answer.body["id"])


def status(server: ServerProcess, job_id: str) -> dict[str, Any]:
    """What the server says of a job."""
    return ask(server, f"/bgtasks/{job_id}").body


def reaches(server: ServerProcess, job_id: str, state: str) -> None:
    """Wait until the job is in a state."""
    wait_until(lambda: status(server, job_id).get("state") == state, what=f"{job_id} is {state}")


def complaints(server: ServerProcess, text: str) -> list[str]:
    """The lines of the server's log with a text in them."""
    return [line for line in server.output().splitlines() if text in line]


def limit_files(pid: int, size: int | None) -> None:
    """Let no file of a process grow beyond a size, as on a full disk; ``None``: let it again."""
    most = resource.RLIM_INFINITY if size is None else size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the write lock of a SQLite file, as an open shell or a backup does."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def tamper(path: Path, job_id: str, **columns: Any) -> None:
    """Write into the row of a job, as somebody who got at the file would."""
    names = ", ".join(f'"{name}" = ?' for name in columns)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        values = [*columns.values(), job_id]
        assert connection.execute(f"UPDATE job SET {names} WHERE id = ?", values).rowcount == 1


_POWERLESS = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def powerless(command: Sequence[str]) -> list[str]:
    """The same command obeying the permissions of files also where root runs the tests."""
    return [sys.executable, "-c", _POWERLESS, *command]


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """Mount a small disk at a folder; gives whether that is allowed here."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
