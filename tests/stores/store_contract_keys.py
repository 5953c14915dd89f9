"""Rules of the store: ``unique`` and ``serial`` keys, and ticks that happen once."""

from __future__ import annotations

from typing import Any

import pytest
from store_rows import added, begun, claimed_id, ended, new_row, together

from flask_bgtask.errors import DuplicateJob
from flask_bgtask.job import JobState
from flask_bgtask.store import ScheduleState, Store


class KeyRules:
    """At most one job a key, one at a time, once a tick."""

    @pytest.mark.parametrize("durable", [True, False])
    def test_a_unique_key_is_held_once(self, store: Store, durable: bool) -> None:
        """While a job holds the key a second one is refused, with the first one's id."""
        first = added(store, unique="k", durable=durable)
        second = new_row(store, unique="k", durable=durable)
        with pytest.raises(DuplicateJob) as caught:
            store.add(second)
        assert (caught.value.key, caught.value.job_id) == ("k", first.id)
        assert store.get(second.id) is None
        added(store, unique="another")
        added(store)
        ended(store, first.id)
        store.add(second)
        assert store.get(second.id) is not None

    def test_a_late_job_keeps_its_unique_key(self, store: Store) -> None:
        """The key is free when ``holds`` falls, not when the state says failed."""
        first = added(store, unique="k")
        ended(store, first.id, JobState.FAILED, holds=True)
        with pytest.raises(DuplicateJob):
            added(store, unique="k")
        assert store.change(first.id, {"holds": False}) is not None
        added(store, unique="k")

    def test_a_job_that_comes_back_needs_its_key(self, store: Store) -> None:
        """A retry by hand is refused while another job holds the key; the row stays as it was."""
        first = added(store, unique="k")
        ended(store, first.id, JobState.FAILED)
        second = added(store, unique="k")
        again = {"state": JobState.QUEUED, "holds": True}
        with pytest.raises(DuplicateJob) as caught:
            store.change(first.id, again)
        assert caught.value.job_id == second.id
        found = store.get(first.id)
        assert found is not None
        assert (found.state, found.holds) == (JobState.FAILED, False)
        ended(store, second.id)
        assert store.change(first.id, again) is not None
        with pytest.raises(DuplicateJob):
            added(store, unique="k")

    def test_racing_threads_hold_a_key_once(self, store: Store) -> None:
        """Of jobs with one key that are submitted at once, exactly one is there."""

        def submit() -> bool:
            try:
                added(store, unique="k")
            except DuplicateJob:
                return False
            return True

        for _ in range(5):
            assert sum(together(*[submit] * 6)) == 1
            taken = begun(store)
            assert taken is not None
            ended(store, taken.id)

    def test_one_at_a_time_in_order(self, store: Store) -> None:
        """Of jobs with one serial key the oldest goes first, whatever its priority."""
        first = added(store, serial="k")
        second = added(store, serial="k", priority=9)
        other = added(store, serial="another")
        free = added(store)
        assert begun(store, job_id=second.id) is None
        assert [claimed_id(store) for _ in range(3)] == [first.id, other.id, free.id]
        assert begun(store) is None
        ended(store, first.id)
        assert claimed_id(store) == second.id

    @pytest.mark.parametrize(
        "end", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST]
    )
    def test_every_end_frees_a_serial_key(self, store: Store, end: JobState) -> None:
        """However the job ended, the next one goes."""
        first, second = added(store, serial="k"), added(store, serial="k", durable=False)
        assert claimed_id(store) == first.id
        ended(store, first.id, end)
        assert claimed_id(store) == second.id

    def test_a_late_job_keeps_its_serial_key(self, store: Store) -> None:
        """The next one waits until its thread has come back."""
        first, second = added(store, serial="k"), added(store, serial="k")
        assert claimed_id(store) == first.id
        ended(store, first.id, JobState.FAILED, holds=True)
        assert begun(store) is None
        assert store.change(first.id, {"holds": False}) is not None
        assert claimed_id(store) == second.id

    def test_a_job_that_is_put_off_holds_up_its_line(self, store: Store) -> None:
        """A scheduled job and a retry keep their place: order is kept."""
        first = added(store, serial="k", state=JobState.SCHEDULED, run_at=5000.0)
        second = added(store, serial="k")
        assert begun(store) is None
        assert store.promote(5000.0) is None
        assert claimed_id(store) == first.id
        later = {"state": JobState.SCHEDULED, "run_at": 6000.0}
        assert store.change(first.id, later) is not None
        assert begun(store) is None
        ended(store, first.id, JobState.CANCELLED)
        assert claimed_id(store) == second.id

    @pytest.mark.parametrize("late", [False, True])
    def test_an_older_job_that_comes_back_waits(self, store: Store, late: bool) -> None:
        """While a younger one of its key runs or is late; then the older one is next."""
        first, second, third = (added(store, serial="k") for _ in range(3))
        ended(store, first.id, JobState.FAILED)
        assert claimed_id(store) == second.id
        again = {"state": JobState.QUEUED, "holds": True}
        assert store.change(first.id, again) is not None
        if late:
            ended(store, second.id, JobState.FAILED, holds=True)
        assert begun(store) is None
        ended(store, second.id)
        assert claimed_id(store) == first.id
        ended(store, first.id)
        assert claimed_id(store) == third.id

    def test_racing_threads_run_a_line_in_order(self, store: Store) -> None:
        """However many threads claim, the jobs of a key begin one after the other, in order."""
        rows = [added(store, serial=f"key {number % 2}") for number in range(24)]
        order: list[str] = []
        running: set[str | None] = set()

        def work() -> None:
            for _ in range(200):
                row = begun(store)
                if row is None:
                    continue
                assert row.serial not in running
                running.add(row.serial)
                order.append(row.id)
                running.remove(row.serial)
                ended(store, row.id)

        together(*[work] * 4)
        for key in ("key 0", "key 1"):
            line = [row.id for row in rows if row.serial == key]
            assert [job_id for job_id in order if job_id in line] == line

    def test_a_tick_happens_once(self, store: Store) -> None:
        """Who knows the last tick notes the next one and adds its job; all others get ``False``."""
        job = new_row(store)
        assert store.tick(_schedule(100.0), None, job) is True
        assert store.schedules() == [_schedule(100.0)]
        assert store.get(job.id) is not None
        for last_seen in (None, 90.0):
            late = new_row(store)
            assert store.tick(_schedule(200.0), last_seen, late) is False
            assert store.get(late.id) is None
        assert store.schedules() == [_schedule(100.0)]
        assert store.tick(_schedule(200.0), 100.0, None) is True
        assert store.schedules() == [_schedule(200.0)]

    def test_a_schedule_that_never_ticked(self, store: Store) -> None:
        """It is remembered with no last tick, and its first tick is dealt with once."""
        assert store.tick(_schedule(None), None, None) is True
        assert store.schedules() == [_schedule(None)]
        assert store.tick(_schedule(100.0), 50.0, new_row(store)) is False
        assert store.tick(_schedule(100.0), None, new_row(store)) is True

    def test_a_tick_whose_job_is_refused_is_not_noted(self, store: Store) -> None:
        """Both or neither: a duplicate leaves the tick as it was."""
        holder = added(store, unique="k")
        refused = new_row(store, unique="k")
        with pytest.raises(DuplicateJob) as caught:
            store.tick(_schedule(100.0), None, refused)
        assert caught.value.job_id == holder.id
        assert store.schedules() == []
        ended(store, holder.id)
        assert store.tick(_schedule(100.0), None, refused) is True
        assert claimed_id(store) == refused.id

    def test_racing_threads_tick_once(self, store: Store) -> None:
        """Of many that deal with one tick, one does."""
        last: float | None = None
        for tick in (100.0, 200.0, 300.0):
            calls: list[Any] = [
                lambda tick=tick, last=last: store.tick(_schedule(tick), last, new_row(store))
            ] * 6
            assert sum(together(*calls)) == 1
            last = tick
        assert store.waiting() == 3

    def test_queues_are_paused_and_resumed(self, store: Store) -> None:
        """The store remembers which; twice is as good as once."""
        assert store.paused() == frozenset()
        for queue in ("mail", "cpu", "mail"):
            store.pause(queue, True)
        assert store.paused() == {"mail", "cpu"}
        for _ in range(2):
            store.pause("mail", False)
        assert store.paused() == {"cpu"}


def _schedule(last_tick: float | None) -> ScheduleState:
    following = None if last_tick is None else last_tick + 100.0
    return ScheduleState("digest", "tests.digest", "every 100 s", last_tick, following)
