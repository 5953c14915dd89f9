"""A folder with the application of the trouble tests, and servers in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import ServerProcess, free_port
from trouble_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder with the application; its servers are ended with the test."""
    shutil.copy(Path(__file__).parent / "trouble_app.py", tmp_path / "trouble_app.py")
    (tmp_path / "application.py").write_text("from trouble_app import app\n")
    paths = {"JOURNAL": str(tmp_path / "record"), "INSTANCE": str(tmp_path / "instance")}
    with ExitStack() as servers:

        def start(command: Callable[[int], Sequence[str]], **env: str) -> ServerProcess:
            port = free_port()
            server = ServerProcess(command(port), tmp_path, port=port, env={**paths, **env})
            servers.enter_context(server)
            server.wait_up()
            return server

        yield Site(tmp_path, start)
