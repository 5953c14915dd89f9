"""Waits for other processes that write."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from .explain import BUSY_SECONDS, code_of

#: Seconds between two tries to write while another process does.
ASK_SECONDS = 0.001


def patiently(
    connection: sqlite3.Connection,
    statement: str,
    values: Sequence[Any],
    until: float | None = None,
) -> sqlite3.Cursor:
    """Run a statement; while another process writes, ask again each millisecond.

    :param until: by the monotonic clock; by default for :data:`BUSY_SECONDS`.

    SQLite's own waiting asks ever more seldom, at last ten times a second: beside processes that
    write without a pause, each for the milliseconds of a disk's sync, it comes too late for
    seconds (seen: 4 s and an error; this way a tenth of a second).
    """
    try:
        return connection.execute(statement, values)
    except sqlite3.OperationalError as error:
        if code_of(error) != "SQLITE_BUSY":
            raise
    if until is None:
        until = time.monotonic() + BUSY_SECONDS
    while True:
        time.sleep(random.uniform(0.5, 1.5) * ASK_SECONDS)
        try:
            return connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            if code_of(error) != "SQLITE_BUSY" or time.monotonic() > until:
                raise
