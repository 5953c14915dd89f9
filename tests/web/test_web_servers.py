"""Streams under real servers: none takes the last thread, none delays a server's end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Seconds that a server gets to answer, and to end.
PATIENCE = 20

HERE = Path(__file__).parent
GUNICORN = [sys.executable, "-m", "gunicorn", "stream_server:create_app()", "-b", "fd://{fd}"]
GUNICORN += ["--graceful-timeout", "30", "--no-control-socket"]
OWN = [sys.executable, str(HERE / "stream_server.py")]


class Server:
    """A server process on a port of its own."""

    def __init__(self, command: list[str]) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        fd = listener.fileno()
        root = str(HERE.parents[1])
        self.process = subprocess.Popen(
            [part.format(fd=fd) for part in command],
            pass_fds=[fd],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((root, str(HERE)))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        listener.close()
        self.answers: list[tuple[http.client.HTTPConnection, http.client.HTTPResponse]] = []

    def get(self, path: str) -> http.client.HTTPResponse:
        """An answer whose body is not read yet; closed with the server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", path)
        self.answers.append((connection, connection.getresponse()))
        return self.answers[-1][1]

    def stream(self) -> http.client.HTTPResponse:
        """An open stream."""
        answer = self.get("/bgtasks/events")
        assert answer.status == 200
        assert answer.readline().startswith(b":")
        return answer

    def end(self) -> None:
        for connection, answer in self.answers:
            answer.close()
            connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*command: str) -> Server:
        servers.append(Server(list(command)))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.mark.parametrize(
    "command",
    [
        [*GUNICORN, "-k", "gthread", "--threads", "2"],
        [*OWN, "waitress", "{fd}"],
    ],
    ids=["gunicorn", "waitress"],
)
def test_of_two_threads_one_is_left(serve, command: list[str]) -> None:
    """The second stream is refused though BGTASK_STREAMS is 2, and requests are answered."""
    server = serve(*command)
    stream = server.stream()
    for _ in range(3):
        answer = server.get("/bgtasks/events")
        assert (answer.status, answer.read()[:1]) == (503, b"{")
        answer = server.get("/bgtasks/health")
        assert (answer.status, answer.read()[:1]) == (200, b"{")
    stream.close()


@pytest.mark.parametrize(
    "command",
    [
        [*GUNICORN, "-k", "sync"],
        [*GUNICORN, "-k", "gthread", "--threads", "1"],
        [*OWN, "single", "{fd}"],
    ],
    ids=["sync", "one thread", "development"],
)
def test_one_thread_has_no_streams(serve, command: list[str]) -> None:
    """The page of such a server polls."""
    server = serve(*command)
    assert server.get("/bgtasks/events").status == 503
    assert server.get("/bgtasks").status == 200


@pytest.mark.parametrize(
    "command",
    [
        [*GUNICORN, "-k", "gthread", "--threads", "8"],
        [*GUNICORN, "-k", "gevent"],
        [*OWN, "threaded", "{fd}"],
    ],
    ids=["gthread", "gevent", "development"],
)
def test_many_threads_have_as_many_streams_as_configured(serve, command: list[str]) -> None:
    """And not one more."""
    server = serve(*command)
    streams = [server.stream(), server.stream()]
    assert server.get("/bgtasks/events").status == 503
    assert server.get("/bgtasks").status == 200
    assert len(streams) == 2


@pytest.mark.parametrize("worker", [["gthread", "--threads", "8"], ["gevent"]], ids=lambda w: w[0])
def test_an_open_stream_does_not_delay_the_end_of_a_server(serve, worker: list[str]) -> None:
    """It ends by itself when its gunicorn worker is told to stop."""
    server = serve(*GUNICORN, "-k", *worker)
    server.stream()
    begun = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
    assert time.monotonic() - begun < 10  # the stream alone would last 30 s
