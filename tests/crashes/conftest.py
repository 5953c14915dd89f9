"""Servers with the crash application."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from crash_site import Record, Site
from harness import ServerProcess, free_port


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder with the application; its servers are ended with the test."""
    shutil.copy(Path(__file__).parent / "crash_app.py", tmp_path / "crash_app.py")
    (tmp_path / "application.py").write_text("from crash_app import app\n")
    record = Record(tmp_path / "record")
    env = {"JOURNAL": str(record.path), "INSTANCE": str(tmp_path / "instance")}
    with ExitStack() as servers:

        def start(command: Callable[[int], Sequence[str]], **more: str) -> ServerProcess:
            port = free_port()
            server = ServerProcess(command(port), tmp_path, port=port, env={**env, **more})
            servers.enter_context(server)
            server.wait_up()
            return server

        yield Site(tmp_path, env, record, start)
