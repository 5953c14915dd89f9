"""The SQLite store keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_contract import SharedStoreContract

from flask_bgtask.stores.sqlite import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store over a file that is not there yet."""
    made = SQLiteStore("tests", tmp_path / "instance" / "bgtask.sqlite3")
    yield made
    made.close()


@pytest.fixture
def second(store: SQLiteStore, tmp_path: Path) -> Iterator[SQLiteStore]:
    """Another store over the same file, which shares nothing else with the first one."""
    made = SQLiteStore("tests", tmp_path / "instance" / "bgtask.sqlite3")
    yield made
    made.close()


class TestSQLiteStore(SharedStoreContract):
    """All rules of the contract, also those for several processes."""


class TestSQLiteStoreThatSyncs(SharedStoreContract):
    """The same with ``synchronous = FULL``."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SQLiteStore]:
        """A store that waits for the disk at each commit."""
        path = tmp_path / "instance" / "bgtask.sqlite3"
        made = SQLiteStore("tests", path, synchronous="FULL")
        yield made
        made.close()
