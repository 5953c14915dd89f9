"""The database servers as fixtures: skipped where there is none, missed where CI needs one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from database_servers import Server


def _server(kind: str) -> Iterator[Server]:
    server = Server(kind)
    try:
        server.admin.connect().close()
    except sa.exc.OperationalError as error:
        why = f"no {kind} server at {server.url}: {error.orig}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    yield server
    server.dispose()


@pytest.fixture(params=["mysql", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each of the servers in turn."""
    yield from _server(request.param)


@pytest.fixture
def mysql() -> Iterator[Server]:
    yield from _server("mysql")


@pytest.fixture
def postgresql() -> Iterator[Server]:
    yield from _server("postgresql")


@pytest.fixture
def in_thread() -> Callable[..., Any]:
    """Runs a function on a thread of its own, as a worker or a web server would."""

    def run(fn: Callable[..., Any], *args: Any) -> Any:
        outcome: list[Any] = []

        def body() -> None:
            try:
                outcome.append((fn(*args), None))
            except BaseException as error:
                outcome.append((None, error))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), "the thread hangs"
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    return run
