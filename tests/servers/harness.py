"""Real server processes for tests: started on a free port, watched, signalled, always ended.

``ServerProcess`` runs one command in a session of its own, so that ending it reaches the workers
that it forked. ``Journal`` is the file in which the processes of a test write what they did.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from gunicorn import config as gunicorn_config

#: Seconds that a process gets for what should take a fraction of one.
PATIENCE = 30.0

PROJECT = Path(__file__).parents[2]


def wait_until(predicate: Callable[[], object], timeout: float = PATIENCE, what: str = "") -> None:
    """Poll until the predicate holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    tick = threading.Event()
    while not predicate():
        assert time.monotonic() < deadline, (
            f"did not happen within {timeout} s: {what or predicate}"
        )
        tick.wait(0.02)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def script(name: str) -> str:
    """The path of a command that is installed beside this interpreter."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def need_uwsgi() -> None:
    """Skip where uWSGI, which is built for the platform, is missing; in CI that fails."""
    if shutil.which(script("uwsgi")) is None:
        why = "no uwsgi command is installed: pip install pyuwsgi"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


class Journal:
    """A file of ``word pid`` lines, each written with one call, so that none is torn."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def pids(self, word: str) -> list[int]:
        """The processes that wrote the word, in order, repeats included."""
        return [int(line.split()[1]) for line in self.lines() if line.split()[0] == word]

    def wait(self, word: str, count: int, timeout: float = PATIENCE) -> list[int]:
        """Return the processes once ``count`` lines with the word are there."""
        what = f"{count} times {word!r} in {self.path}"
        wait_until(lambda: len(self.pids(word)) >= count, timeout, what)
        return self.pids(word)


class ServerProcess:
    """A command that runs until it is told to end; use it in a ``with`` statement."""

    def __init__(
        self, command: Sequence[str], folder: Path, *, port: int = 0, env: Mapping[str, str] = {}
    ) -> None:
        self.port = port
        self._log = (folder / f"server-{time.monotonic_ns()}.log").open("w+b")
        self._popen = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environment(folder, env),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell has its background jobs ignore Ctrl-C, and all that they start inherits it.
            preexec_fn=_heed_interrupts,
        )
        self.pid = self._popen.pid

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        # pytest shows it with a test that failed.
        print(f"--- output of {self._popen.args!r}:\n{self.output()}")
        self._log.close()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def wait_up(self, timeout: float = PATIENCE) -> None:
        """Return once somebody accepts connections, without sending a request."""

        def accepts() -> bool:
            assert self._popen.poll() is None, f"ended with {self._popen.returncode}"
            with socket.socket() as client:
                client.settimeout(1)
                return client.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(accepts, timeout, f"a server on port {self.port}")

    def get(self, path: str = "/", timeout: float = 10) -> str:
        """The body of the answer to a request; an error of the server's too."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=timeout) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def children(self) -> set[int]:
        """The processes that the command itself forked and that are alive."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return {int(pid) for pid in path.read_text().split()}

    def signal(self, number: int) -> None:
        """Send a signal to the command's own process."""
        self._popen.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status, negative for a signal; fails if it does not end."""
        return self._popen.wait(timeout)

    def kill(self) -> None:
        """End all that is left of the session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(PATIENCE)

    def output(self) -> str:
        """All that was written to standard output and standard error so far."""
        return Path(self._log.name).read_text(errors="replace")


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def environment(folder: Path, more: Mapping[str, str] = {}) -> dict[str, str]:
    """This process's environment without what steers Flask or gunicorn, the project importable."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLASK_", "GUNICORN_", "UWSGI_", "WERKZEUG_", "PYTEST_"))
    }
    paths = [str(folder), str(PROJECT)]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **more}


def flask_run(port: int, *options: str) -> list[str]:
    """The development server."""
    command = [sys.executable, "-m", "flask", "--app", "application", "run"]
    return [*command, "--port", str(port), *options]


def gunicorn(port: int, *options: str) -> list[str]:
    """gunicorn; newer ones without the control socket, which all instances would share."""
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    if hasattr(gunicorn_config, "ControlSocketDisable"):
        command.append("--no-control-socket")
    return [*command, "--graceful-timeout", "10", *options, "application:app"]


def waitress(port: int) -> list[str]:
    """waitress's own command."""
    return [script("waitress-serve"), "--listen", f"127.0.0.1:{port}", "application:app"]


def uwsgi(port: int, *options: str) -> list[str]:
    """uWSGI as an HTTP server, with threads for the app."""
    command = [sys.executable, script("uwsgi"), "--http-socket", f"127.0.0.1:{port}"]
    return [*command, "--enable-threads", "--die-on-term", *options, "--module", "application:app"]


#: The fixture ``serve``: starts the command that is made for a free port.
Serve = Callable[[Callable[[int], Sequence[str]]], ServerProcess]
