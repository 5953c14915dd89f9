"""A model of the store's rules, driven against a real store by hypothesis."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_rows import new_row

from flask_bgtask.errors import DuplicateJob
from flask_bgtask.job import FINISHED, WAITING, JobState
from flask_bgtask.store import Store, Wanted

UNIQUE = st.sampled_from([None, None, "a", "b"])
SERIAL = st.sampled_from([None, None, "x", "y"])
WHICH = st.integers(0, 1_000)


@dataclass
class Expected:
    """What the model knows of a row."""

    number: int
    id: str
    unique: str | None
    serial: str | None
    priority: int
    durable: bool
    home: str
    state: JobState = JobState.QUEUED
    holds: bool = True
    process: str | None = None
    token: str | None = None
    attempt: int = 0

    @property
    def busy(self) -> bool:
        """Runs, or is late: its keys are not free and its thread is at work."""
        return self.holds and self.state not in WAITING


class StoreMachine(RuleBasedStateMachine):
    """Submits, claims, ends, cancels, retries, puts off and kills, in any order.

    A subclass says what the processes are that share the rows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Expected] = []
        self.numbers = itertools.count(1)
        self.processes: list[Store] = self.begin()

    @abstractmethod
    def begin(self) -> list[Store]:
        """The stores of some processes over the same empty place."""

    def kill(self, process: int) -> None:
        """Let a process die and another take its place in ``processes``."""
        raise NotImplementedError

    # What the model says.

    def holder(self, unique: str | None, but: Expected | None = None) -> Expected | None:
        """The row that holds a unique key."""
        return next(
            (
                row
                for row in self.rows
                if unique is not None and row.unique == unique and row.holds and row is not but
            ),
            None,
        )

    def turn(self, row: Expected) -> bool:
        """Whether a row is first in its line and nobody of the line is at work."""
        line = [other for other in self.rows if other.holds and other.serial == row.serial]
        first = min(line, key=lambda other: other.number, default=None)
        return row.serial is None or (first is row and not any(other.busy for other in line))

    def best(self, process: str) -> Expected | None:
        """The row that a process's claim must give."""
        candidates = [
            row
            for row in self.rows
            if row.state is JobState.QUEUED
            and (row.durable or row.home == process)
            and self.turn(row)
        ]
        return min(candidates, key=lambda row: (-row.priority, row.number), default=None)

    def pick(self, which: int, *states: JobState, holds: bool = True) -> Expected | None:
        """Some row in one of these states."""
        rows = [row for row in self.rows if row.state in states and row.holds is holds]
        return rows[which % len(rows)] if rows else None

    def some(self, which: int) -> Store:
        """Some process."""
        return self.processes[which % len(self.processes)]

    def at(self, row: Expected) -> Store:
        """The process that a running row is bound to."""
        return next(store for store in self.processes if store.process == row.process)

    def set(self, row: Expected, columns: dict[str, Any]) -> None:
        """The model follows a change."""
        for name, value in columns.items():
            if hasattr(row, name):
                setattr(row, name, value)

    # What happens.

    @rule(
        which=WHICH,
        unique=UNIQUE,
        serial=SERIAL,
        priority=st.integers(0, 1),
        durable=st.booleans(),
        running=st.booleans(),
    )
    def submit(
        self,
        which: int,
        unique: str | None,
        serial: str | None,
        priority: int,
        durable: bool,
        running: bool,
    ) -> None:
        """Add a row, as queued or as running here, unless its key is held."""
        store, number = self.some(which), next(self.numbers)
        keys = {"unique": unique, "serial": serial, "priority": priority, "durable": durable}
        row = new_row(store, id=f"job {number}", **keys)
        expected = Expected(number, row.id, home=store.process, **keys)  # type: ignore[arg-type]
        if running and serial is None:
            begun = {"state": JobState.RUNNING, "token": f"t{number}", "attempt": 1}
            row.__dict__.update(begun, process=store.process)
            self.set(expected, {**begun, "process": store.process})
        holder = self.holder(unique)
        if holder is not None:
            with pytest.raises(DuplicateJob) as caught:
                store.add(row)
            assert caught.value.job_id == holder.id
            return
        store.add(row)
        self.rows.append(expected)
        if expected.state is JobState.QUEUED:
            store.flush()  # rows are numbered when written, and the model knows one order

    @rule(which=WHICH)
    def claim(self, which: int) -> None:
        """Take the best job, which the model knows too."""
        store = self.some(which)
        expected = self.best(store.process)
        columns = {"token": f"t{next(self.numbers)}", "started_at": 1.0, "worker": "host:1"}
        row = store.claim(Wanted(), columns)
        assert (row and row.id) == (expected and expected.id)
        if row is not None and expected is not None:
            expected.attempt += 1
            begun = {"state": JobState.RUNNING, "process": store.process, "token": row.token}
            self.set(expected, begun)
            assert row.attempt == expected.attempt

    @rule(
        which=WHICH,
        state=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED]),
        late=st.booleans(),
    )
    def end(self, which: int, state: JobState, late: bool) -> None:
        """End a running job with its token; a late one keeps its keys."""
        row = self.pick(which, JobState.RUNNING)
        if row is not None:
            columns = {"state": state, "holds": late}
            changed = self.at(row).change(
                row.id, columns, states={JobState.RUNNING}, token=row.token
            )
            assert changed is not None
            self.set(row, columns)

    @rule(which=WHICH)
    def end_with_an_old_token(self, which: int) -> None:
        """A thread that was overtaken changes nothing."""
        row = self.pick(which, *JobState)
        if row is not None:
            end = {"state": JobState.SUCCEEDED, "holds": False}
            assert self.some(which).change(row.id, end, token="of an older attempt") is None

    @rule(which=WHICH)
    def come_back(self, which: int) -> None:
        """The thread of a late job ends: its keys are free."""
        row = self.pick(which, *FINISHED)
        if row is not None:
            assert self.at(row).change(row.id, {"holds": False}, states=FINISHED) is not None
            row.holds = False

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        """Cancel a waiting job; one that runs or ended is not cancelled."""
        row = self.pick(which, *JobState)
        if row is not None:
            store = self.some(which) if row.durable else self.owner(row)
            end = {"state": JobState.CANCELLED, "holds": False}
            changed = store.change(row.id, end, states=WAITING)
            assert (changed is not None) == (row.state in WAITING)
            if changed is not None:
                self.set(row, end)

    @rule(which=WHICH)
    def retry(self, which: int) -> None:
        """Queue an ended job again, unless another holds its key by now."""
        row = self.pick(which, *FINISHED, holds=False)
        if row is None:
            return
        store = self.some(which) if row.durable else self.owner(row)
        again = {"state": JobState.QUEUED, "holds": True, "token": None, "process": None}
        holder = self.holder(row.unique, but=row)
        store.flush()
        if holder is not None:
            with pytest.raises(DuplicateJob) as caught:
                store.change(row.id, again, states=FINISHED)
            assert caught.value.job_id == holder.id
        else:
            assert store.change(row.id, again, states=FINISHED) is not None
            self.set(row, again)

    @rule(which=WHICH)
    def put_off(self, which: int) -> None:
        """An attempt failed and its retry waits for its time."""
        row = self.pick(which, JobState.RUNNING)
        if row is not None:
            later = {"state": JobState.SCHEDULED, "run_at": 50.0}
            assert self.at(row).change(row.id, later, token=row.token) is not None
            self.set(row, later)

    @rule(which=WHICH)
    def promote(self, which: int) -> None:
        """The time of those that wait for it has come."""
        store = self.some(which)
        assert store.promote(50.0) is None
        for row in self.rows:
            mine = row.durable or row.home == store.process
            if row.state is JobState.SCHEDULED and mine:
                row.state = JobState.QUEUED

    @rule()
    def flush(self) -> None:
        """Housekeeping."""
        for store in self.processes:
            store.flush()

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """A process dies; another finds all that was bound to it, and queues or ends it."""
        place = which % len(self.processes)
        dead = self.processes[place]
        dead.flush()
        self.kill(place)
        bound = {row.id: row for row in self.rows if self.is_bound(row, dead.process)}
        finder = self.processes[(place + 1) % len(self.processes)]
        assert {row.id for row in finder.orphans()} == set(bound)
        for row in bound.values():
            columns: dict[str, Any] = {"state": JobState.LOST, "holds": False}
            if row.state in FINISHED:
                columns = {"holds": False}
            elif row.durable:
                columns = {"state": JobState.QUEUED, "token": None, "process": None}
            assert finder.change(row.id, columns, states={row.state}) is not None
            self.set(row, columns)
        assert finder.orphans() == []

    def is_bound(self, row: Expected, process: str) -> bool:
        """Whether the row is an orphan once that process is dead."""
        if row.state in WAITING:
            return not row.durable and row.home == process
        return row.holds and row.process == process

    def owner(self, row: Expected) -> Store:
        """The process that a row which is not durable belongs to; any, once that one is dead."""
        alive = [store for store in self.processes if store.process == row.home]
        return alive[0] if alive else self.processes[0]

    # What must always be so.

    @invariant()
    def rows_are_as_expected(self) -> None:
        """Every row is in the state that the model has, wherever it is read that may see it."""
        for store in self.processes:
            visible = [row for row in self.rows if row.durable or row.home == store.process]
            found = {row.id: row for row in store.get_many([row.id for row in visible])}
            for row in visible:
                real = found[row.id]
                assert (real.state, real.holds, real.attempt, real.token) == (
                    row.state, row.holds, row.attempt, row.token,
                )  # fmt: skip

    @invariant()
    def keys_are_held_once(self) -> None:
        """The model itself never has two holders of a key, nor two of a line at work."""
        for name in ("unique", "serial"):
            kept = [row for row in self.rows if row.holds and getattr(row, name) is not None]
            if name == "serial":
                kept = [row for row in kept if row.busy]
            keys = [getattr(row, name) for row in kept]
            assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        """In the end the tally agrees with the rows. Close everything."""
        for store in self.processes:
            store.flush()
        counted = self.processes[0].counts()
        for store in self.processes:
            store.close()
        for state in JobState:
            assert counted[state] == sum(row.state is state for row in self.rows)
