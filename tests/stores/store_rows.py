"""Rows as a submit makes them, and short ways to move them on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from flask_bgtask.job import JobState, Record
from flask_bgtask.store import Store, Wanted

#: Seconds after which a wait counts as a hang.
PATIENCE = 20.0

_numbers = itertools.count(1)


def new_row(store: Store, **columns: Any) -> Record:
    """A durable queued row of the store's process; ``columns`` say otherwise."""
    number = next(_numbers)
    made = {
        "id": f"{number:032x}",
        "app": "tests",
        "task": "tests.task",
        "created_at": 1000.0 + number,
        "run_at": 1000.0 + number,
        "durable": True,
        "home": store.process,
    }
    return Record(**{**made, **columns})


def added(store: Store, **columns: Any) -> Record:
    """A new row that is in the store."""
    row = new_row(store, **columns)
    store.add(row)
    return row


def begun(store: Store, **wanted: Any) -> Record | None:
    """Claim a job with a fresh token."""
    columns = {"token": f"token {next(_numbers)}", "started_at": 2000.0, "worker": "host:1"}
    return store.claim(Wanted(**wanted), columns)


def claimed_id(store: Store, **wanted: Any) -> str | None:
    """Claim a job; its id."""
    row = begun(store, **wanted)
    return None if row is None else row.id


def ended(store: Store, job_id: str, state: JobState = JobState.SUCCEEDED, **columns: Any) -> None:
    """Let a job end, as the runner does."""
    end = {"state": state, "finished_at": 3000.0, "expires_at": 9e9, "holds": False}
    assert store.change(job_id, {**end, **columns}) is not None


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls give when threads make them at the same moment; an error is raised here."""
    gate = threading.Barrier(len(calls), timeout=PATIENCE)
    outcomes: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def make(place: int, call: Callable[[], Any]) -> None:
        try:
            gate.wait()
            outcomes[place] = call()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=make, args=(place, call)) for place, call in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return outcomes
