"""An application on disk that notes when its workers would start and stop, and servers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Journal, Serve, ServerProcess, free_port, need_uwsgi

APPLICATION = """
import os
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from flask_bgtask import startup

executor = ThreadPoolExecutor(1)


def note(word):
    file = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word} {os.getpid()}\\n".encode())
    os.close(file)


def stop():
    # What still runs in a task may need an executor.
    ThreadPoolExecutor(1).submit(note, "stopped").result(10)


app = Flask(__name__)


@app.route("/")
def index():
    return str(os.getpid())


startup.watch(app, lambda: note("started"), stop)
note("imported")
"""


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """What the processes of this test wrote down."""
    journal = Journal(tmp_path / "journal")
    monkeypatch.setenv("JOURNAL", str(journal.path))
    return journal


@pytest.fixture
def application(tmp_path: Path, journal: Journal) -> Path:
    """The file of the application, in the folder that servers run in."""
    path = tmp_path / "application.py"
    path.write_text(APPLICATION)
    return path


@pytest.fixture
def serve(application: Path) -> Iterator[Serve]:
    """Starts a server from a function that makes its command for a port; ends all of them."""
    with ExitStack() as servers:

        def start(command: Callable[[int], Sequence[str]]) -> ServerProcess:
            port = free_port()
            process = ServerProcess(command(port), application.parent, port=port)
            return servers.enter_context(process)

        yield start


@pytest.fixture
def needs_uwsgi() -> None:
    """uWSGI is built for the platform, and may be missing on a laptop."""
    need_uwsgi()
