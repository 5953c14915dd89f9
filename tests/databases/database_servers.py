"""Real database servers; their addresses from ``BGTASK_TEST_MYSQL`` and ``…_POSTGRESQL``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

DEFAULTS = {
    "mysql": "mysql+pymysql://root@127.0.0.1:3306/test",
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/test",
}
OWN_ID = {"mysql": "SELECT connection_id()", "postgresql": "SELECT pg_backend_pid()"}
KILL = {"mysql": "KILL {}", "postgresql": "SELECT pg_terminate_backend({})"}
ALIVE = {
    "mysql": "SELECT id FROM information_schema.processlist",
    "postgresql": "SELECT pid FROM pg_stat_activity",
}


class Server:
    """A database server, with an administrator's hand on the connections of others."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.url = os.environ.get(f"BGTASK_TEST_{kind.upper()}", DEFAULTS[kind])
        self.admin = sa.create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._engines: list[sa.Engine] = []

    def engine(self, **options: Any) -> sa.Engine:
        """An engine that the end of the test disposes of."""
        engine = sa.create_engine(self.url, **options)
        self._engines.append(engine)
        return engine

    def id_of(self, connection: Any) -> int:
        """The server's own number of a connection or session."""
        return int(connection.execute(sa.text(OWN_ID[self.kind])).scalar())

    def fill_pool(self, engine: sa.Engine, size: int) -> list[int]:
        """Leave ``size`` idle connections in the pool; their numbers."""
        connections = [engine.connect() for _ in range(size)]
        ids = [self.id_of(connection) for connection in connections]
        for connection in connections:
            connection.close()
        return ids

    def kill(self, ids: list[int]) -> None:
        """Drop connections, as a restart or an idle timeout would, and see them gone."""
        with self.admin.connect() as admin:
            for number in ids:
                admin.execute(sa.text(KILL[self.kind].format(number)))
        self.wait_until_gone(ids)

    def wait_until_gone(self, ids: list[int], timeout: float = 15.0) -> None:
        """Return once the server lists none of the connections any more."""

        def gone() -> bool:
            with self.admin.connect() as admin:
                return not set(ids) & set(admin.execute(sa.text(ALIVE[self.kind])).scalars())

        wait_until(gone, timeout)

    def dispose(self) -> None:
        for engine in self._engines:
            engine.dispose()


def wait_until(predicate: Callable[[], bool], timeout: float) -> None:
    """Poll until the predicate holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    tick = threading.Event()
    while not predicate():
        assert time.monotonic() < deadline, f"did not happen within {timeout} s: {predicate}"
        tick.wait(0.05)
