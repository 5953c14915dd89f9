"""What a process writes into rows where their attempts begin and their jobs end."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from .calls import Call
from .context import OWNER
from .job import JobState, Record
from .naming import callable_name


class Columns:
    """Fills the columns of one app's rows, in the name of this process.

    :param app: the app's name.
    :param process: gives the store's name of this process.
    :param result_ttl: seconds that a finished job is kept, if it does not say itself.
    """

    def __init__(self, app: str, process: Callable[[], str], result_ttl: float) -> None:
        self.app = app
        self._process = process
        self._result_ttl = result_ttl
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self._numbers = itertools.count(1)

    def row(self, call: Call) -> Record:
        """The row of a plain job, as it is now."""
        record = Record(
            id=call.id,
            app=self.app,
            task=callable_name(call.fn),
            owner=call.carried.get(OWNER),
            home=self._process(),
            created_at=call.created_at,
            run_at=call.created_at,
        )
        if call.has_place:
            self.begin(record)
        return record

    def begin(self, record: Record) -> None:
        """Note on a new row that its first attempt begins here, at once."""
        record.home = record.process = process = self._process()
        record.token = self._token(process)
        record.started_at = time.time()
        record.worker = self.worker
        record.state = JobState.RUNNING
        record.attempt = 1

    def claiming(self) -> dict[str, Any]:
        """The columns that begin an attempt in this process."""
        return {
            "token": self._token(self._process()),
            "started_at": time.time(),
            "worker": self.worker,
            "drained": False,  # it was said of the attempt before
        }

    def ending(self, record: Record, state: JobState) -> dict[str, Any]:
        """The columns that every end of a job sets."""
        now = time.time()
        kept = self._result_ttl if record.result_ttl is None else record.result_ttl
        return {"state": state, "finished_at": now, "expires_at": now + kept, "holds": False}

    def _token(self, process: str) -> str:
        """Of an attempt; no other has the same."""
        return f"{process}.{next(self._numbers)}"
