"""``unique``, ``serial``, cancel, retry and crash in any order: the model against each store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from store_machine import StoreMachine

from flask_bgtask.store import Store
from flask_bgtask.stores.memory import MemoryStore
from flask_bgtask.stores.sqlite import SQLiteStore

# The same runs each time; another `derandomize` here looks for new ones.
SOME = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class MemoryMachine(StoreMachine):
    """One process, one memory."""

    def begin(self) -> list[Store]:
        """The one store."""
        return [MemoryStore("tests")]


class SQLiteMachine(StoreMachine):
    """Three processes on one file, as far as the store can tell."""

    def begin(self) -> list[Store]:
        """Stores over a new file."""
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "bgtask.sqlite3"
        return [SQLiteStore("tests", self._path) for _ in range(3)]

    def kill(self, process: int) -> None:
        """Do what the kernel does when a process dies: drop its lock and its connections."""
        dead = self.processes[process]
        assert isinstance(dead, SQLiteStore)
        dead._db.close()
        dead._live.forget()
        self.processes[process] = SQLiteStore("tests", self._path)

    def teardown(self) -> None:
        """Remove the file; locks that outlive a store while its jobs run go too."""
        try:
            super().teardown()
        finally:
            for store in self.processes:
                assert isinstance(store, SQLiteStore)
                store._live.forget()
            self._folder.cleanup()


def test_the_memory_store_follows_the_model() -> None:
    """Whatever happens in whatever order, its rows are as the model says."""
    run_state_machine_as_test(MemoryMachine, settings=SOME)


def test_the_sqlite_store_follows_the_model() -> None:
    """The same for three processes on one file, of which some die."""
    run_state_machine_as_test(SQLiteMachine, settings=SOME)
