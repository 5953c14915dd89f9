"""An app whose jobs are in a file, and commands that are run on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from harness import need_uwsgi
from worker_site import Site

#: Runs ``flask bgtask …`` in this process.
Command = Callable[..., Result]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """One app with the default store."""
    return make_app(BGTASK_STORE="sqlite", BGTASK_WORKERS=2)


@pytest.fixture
def instance(app: Flask) -> Path:
    """The folder where the app's store is made."""
    return Path(app.instance_path)


@pytest.fixture
def command(app: Flask) -> Command:
    """``command("list", "--json")`` is ``flask bgtask list --json``."""

    def run(*words: str, status: int = 0) -> Result:
        result = app.test_cli_runner().invoke(args=["bgtask", *words])
        assert result.exit_code == status, result.output
        return result

    return run


@pytest.fixture
def answer(command: Command) -> Callable[..., Any]:
    """The data that a command prints with ``--json``."""

    def run(*words: str, status: int = 0) -> Any:
        return json.loads(command(*words, "--json", status=status).stdout)

    return run


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder with the application of the worker tests; its processes end with the test."""
    shutil.copy(Path(__file__).parent / "worker_app.py", tmp_path / "worker_app.py")
    (tmp_path / "application.py").write_text("from worker_app import app\n")
    with ExitStack() as processes:
        yield Site(tmp_path, processes)


@pytest.fixture
def needs_uwsgi() -> None:
    """uWSGI is built for the platform, and may be missing on a laptop."""
    need_uwsgi()
