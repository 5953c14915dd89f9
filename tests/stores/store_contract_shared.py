"""Rules of the stores that several processes share."""

from __future__ import annotations

import pytest
from store_rows import added, begun, claimed_id, ended, new_row, together

from flask_bgtask.errors import DuplicateJob
from flask_bgtask.job import JobState
from flask_bgtask.store import ScheduleState, Store


class SharedRules:
    """``second`` is the store of another process over the same rows."""

    def test_both_know_that_they_share(self, store: Store, second: Store) -> None:
        """The flag says so, and each process has a name of its own."""
        assert store.shared
        assert store.process != second.process

    @pytest.mark.parametrize("columns", [{"durable": True}, {"durable": False, "unique": "k"}])
    def test_a_row_is_there_for_all_when_add_returns(
        self, store: Store, second: Store, columns: dict[str, object]
    ) -> None:
        """Durable rows and those with a ``unique`` key are written at once."""
        row = added(store, **columns)
        assert second.get(row.id) is not None

    def test_other_rows_are_there_after_a_flush(self, store: Store, second: Store) -> None:
        """They may be kept back until then."""
        row = added(store, durable=False)
        store.flush()
        found = second.get(row.id)
        assert found is not None
        assert found.home == store.process

    def test_what_one_submits_another_takes(self, store: Store, second: Store) -> None:
        """A durable job runs anywhere; one that is not only at home."""
        mine, durable = added(store, durable=False), added(store)
        store.flush()
        assert claimed_id(second) == durable.id
        assert begun(second) is None
        assert claimed_id(store) == mine.id

    def test_a_change_is_seen_by_all(self, store: Store, second: Store) -> None:
        """Cancelling in one process reaches the row that another runs."""
        row = added(store)
        taken = begun(second)
        assert taken is not None
        assert store.change(row.id, {"cancel_requested": True}, states={JobState.RUNNING})
        found = second.get(row.id)
        assert found is not None
        assert found.cancel_requested is True
        assert second.change(row.id, {"result": "1"}, token=taken.token) is not None

    def test_the_version_tells_of_others(self, store: Store, second: Store) -> None:
        """It differs after another process wrote, and then stays."""
        added(store)
        before = store.version()
        added(second)
        after = store.version()
        assert after != before
        assert store.version() == after

    def test_keys_hold_across_processes(self, store: Store, second: Store) -> None:
        """A ``unique`` key is held once, a ``serial`` line is one line."""
        first = added(store, unique="k", serial="s")
        with pytest.raises(DuplicateJob) as caught:
            added(second, unique="k")
        assert caught.value.job_id == first.id
        following = added(second, serial="s")
        assert claimed_id(second) == first.id
        assert begun(store) is None
        ended(second, first.id)
        assert claimed_id(store) == following.id

    def test_a_tick_is_dealt_with_once(self, store: Store, second: Store) -> None:
        """Two processes at the same tick: one adds the job."""
        for tick in range(1, 20):
            schedule = ScheduleState("s", "tests.task", "every second", float(tick), None)
            seen = float(tick - 1) or None
            done = together(
                lambda schedule=schedule, seen=seen: store.tick(schedule, seen, new_row(store)),
                lambda schedule=schedule, seen=seen: second.tick(schedule, seen, new_row(second)),
            )
            assert sorted(done) == [False, True]
        assert store.waiting() == 19

    def test_each_job_is_claimed_once(self, store: Store, second: Store) -> None:
        """Threads of two processes race for the jobs; each gets its own."""
        rows = [added(store) for _ in range(40)]

        def take_all(mine: Store) -> list[str]:
            taken = []
            while (job_id := claimed_id(mine)) is not None:
                taken.append(job_id)
            return taken

        calls = [lambda mine=mine: take_all(mine) for mine in (store, second) * 2]
        taken = [job_id for ids in together(*calls) for job_id in ids]
        assert sorted(taken) == sorted(row.id for row in rows)

    def test_pauses_are_shared(self, store: Store, second: Store) -> None:
        """A queue that one process pauses is paused for all."""
        store.pause("mail", True)
        assert second.paused() == {"mail"}

    def test_a_live_process_keeps_its_jobs(self, store: Store, second: Store) -> None:
        """What runs in it, is late in it or waits in it alone is nobody's orphan."""
        late = added(store, unique="k")
        assert begun(store) is not None
        ended(store, late.id, JobState.FAILED, holds=True)
        added(store)
        assert begun(store) is not None
        added(store, durable=False)
        store.flush()
        assert second.orphans() == []
        assert store.orphans() == []
