"""Rules of the store: which waiting job a worker gets."""

from __future__ import annotations

from collections import Counter

import pytest
from store_rows import added, begun, claimed_id, ended, together

from flask_bgtask.job import WAITING, JobState
from flask_bgtask.store import Store, Wanted


class ClaimRules:
    """``claim`` and ``promote``."""

    def test_a_claim_begins_an_attempt(self, store: Store) -> None:
        """It sets what the caller gives, state, process and the number of the attempt."""
        row = added(store, attempt=2)
        taken = store.claim(Wanted(), {"token": "t", "started_at": 12.5, "worker": "host:9"})
        assert taken is not None
        assert taken.id == row.id
        found = store.get(row.id)
        for claimed in (taken, found):
            assert claimed is not None
            assert (claimed.state, claimed.process) == (JobState.RUNNING, store.process)
            assert (claimed.token, claimed.started_at, claimed.worker) == ("t", 12.5, "host:9")
            assert claimed.attempt == 3

    def test_nothing_to_claim(self, store: Store) -> None:
        """Rows that run, ended or are scheduled are no candidates."""
        assert begun(store) is None
        added(store, state=JobState.RUNNING, process=store.process)
        added(store, state=JobState.SCHEDULED, run_at=1.0)
        ended(store, added(store).id)
        assert begun(store) is None

    def test_priority_first_then_age(self, store: Store) -> None:
        """The highest priority goes first, and within one the oldest."""
        rows = [added(store, priority=priority) for priority in (0, 5, -3, 5, 0)]
        expected = [rows[place].id for place in (1, 3, 0, 4, 2)]
        assert [claimed_id(store) for _ in rows] == expected
        assert begun(store) is None

    def test_a_job_that_comes_back_keeps_its_place(self, store: Store) -> None:
        """One that is queued again goes before those that were submitted after it."""
        first, second = added(store), added(store)
        assert claimed_id(store) == first.id
        assert store.change(first.id, {"state": JobState.QUEUED, "token": None}) is not None
        assert claimed_id(store) == first.id
        assert claimed_id(store) == second.id

    def test_a_changed_priority_counts(self, store: Store) -> None:
        """A waiting job that was moved up goes first."""
        first, second = added(store), added(store)
        assert store.change(second.id, {"priority": 1}) is not None
        assert [claimed_id(store), claimed_id(store)] == [second.id, first.id]

    def test_queues(self, store: Store) -> None:
        """Only the wanted queues, and not those that are shut out."""
        mail, cpu, other = (added(store, queue=queue) for queue in ("mail", "cpu", "other"))
        assert begun(store, queues=[]) is None
        assert begun(store, queues=["nobody's"]) is None
        assert begun(store, queues=["mail"], without={"mail"}) is None
        assert claimed_id(store, without={"mail", "other"}) == cpu.id
        assert claimed_id(store, queues={"other", "cpu"}) == other.id
        assert claimed_id(store, queues=("mail",)) == mail.id

    def test_queues_hold_back_nothing_that_can_run_here_alone(self, store: Store) -> None:
        """A choice of queues is one among durable jobs; others have nobody else."""
        row = added(store, queue="mail", durable=False)
        serial = added(store, queue="mail", durable=False, serial="key")
        added(store, queue="mail")
        assert begun(store, queues=["cpu"], without={"mail"}) is None
        taken = {claimed_id(store, queues=["cpu"]) for _ in range(2)}
        assert taken == {row.id, serial.id}
        assert begun(store, queues=["cpu"]) is None

    def test_only_what_this_process_submitted(self, store: Store) -> None:
        """Without ``others``, durable jobs of other processes are left."""
        added(store, home="another process")
        added(store, home=None)
        mine = added(store)
        assert claimed_id(store, others=False) == mine.id
        assert begun(store, others=False) is None
        assert begun(store) is not None

    def test_jobs_that_are_not_durable_run_where_they_were_submitted(self, store: Store) -> None:
        """Only the process that has the function can run such a job."""
        added(store, durable=False, home="another process")
        mine = added(store, durable=False)
        store.flush()
        assert claimed_id(store) == mine.id
        assert begun(store) is None

    def test_better_than(self, store: Store) -> None:
        """Only a job of a higher priority, or of the same and older, is taken."""
        row = added(store, priority=3, created_at=500.0)
        for bound in ((4, 900.0), (3, 500.0), (3, 499.0)):
            assert begun(store, better_than=bound) is None
        assert claimed_id(store, better_than=(3, 500.5)) == row.id
        row = added(store, priority=3, created_at=500.0)
        assert claimed_id(store, better_than=(2, 1.0)) == row.id

    def test_tasks_that_this_process_does_not_know_are_left(self, store: Store) -> None:
        """They stay queued for a process that can run them, and hold up no other job."""
        strange = [added(store, task=task) for task in ("new.one", "new.two", "new.one")]
        known = added(store)
        knows = {"tests.task"}
        assert claimed_id(store, knows=knows.__contains__) == known.id
        assert begun(store, knows=knows.__contains__) is None
        assert store.waiting() == 3
        knows.add("new.two")
        assert claimed_id(store, knows=knows.__contains__) == strange[1].id
        assert claimed_id(store) == strange[0].id

    def test_one_job_by_its_id(self, store: Store) -> None:
        """The job that is asked for, if it may be taken and passes what else is wanted."""
        first, second = added(store), added(store, queue="mail")
        assert begun(store, job_id="f" * 32) is None
        assert begun(store, job_id=second.id, without={"mail"}) is None
        assert begun(store, job_id=second.id, knows=lambda task: False) is None
        assert begun(store, job_id=second.id, better_than=(7, 1.0)) is None
        assert claimed_id(store, job_id=second.id) == second.id
        assert begun(store, job_id=second.id) is None
        assert claimed_id(store) == first.id

    def test_a_job_that_a_change_took_is_no_candidate(self, store: Store) -> None:
        """The engine takes its own jobs with ``change``; ``claim`` does not see them again."""
        rows = [added(store, durable=False) for _ in range(3)]
        taken = {"state": JobState.RUNNING, "token": "t"}
        assert store.change(rows[0].id, taken, states=WAITING) is not None
        assert claimed_id(store) == rows[1].id
        assert store.change(rows[1].id, taken, states=WAITING) is None
        assert store.change(rows[2].id, taken, states=WAITING) is not None
        assert begun(store) is None

    def test_racing_threads_get_each_job_once(self, store: Store) -> None:
        """However many threads claim at once, no job is given twice and none is left."""
        rows = [added(store, priority=number % 3) for number in range(60)]

        def take_all() -> list[str]:
            taken = []
            while (job_id := claimed_id(store)) is not None:
                taken.append(job_id)
            return taken

        taken = Counter(job_id for ids in together(*[take_all] * 6) for job_id in ids)
        assert taken == Counter(row.id for row in rows)

    def test_scheduled_jobs_are_queued_when_their_time_comes(self, store: Store) -> None:
        """``promote`` queues what is due and tells when the next one is."""
        assert store.promote(1e9) is None
        late = added(store, state=JobState.SCHEDULED, run_at=5030.0)
        soon = added(store, state=JobState.SCHEDULED, run_at=5010.0, durable=False)
        assert store.promote(5009.9) == 5010.0
        assert begun(store) is None
        assert store.promote(5010.0) == 5030.0
        assert claimed_id(store) == soon.id
        assert store.promote(6000.0) is None
        assert claimed_id(store) == late.id

    def test_a_retry_waits_for_its_time(self, store: Store) -> None:
        """A job that is put off is a candidate again only after it was promoted."""
        row = added(store)
        assert begun(store) is not None
        later = {"state": JobState.SCHEDULED, "run_at": 5020.0}
        assert store.change(row.id, later) is not None
        assert begun(store) is None
        assert store.promote(5000.0) == 5020.0
        assert store.change(row.id, {"run_at": 5005.0}) is not None
        assert store.promote(5005.0) is None
        assert claimed_id(store) == row.id

    def test_a_cancelled_scheduled_job_is_not_promoted(self, store: Store) -> None:
        """Nothing of it is left among those that wait for their time."""
        row = added(store, state=JobState.SCHEDULED, run_at=5010.0)
        ended(store, row.id, JobState.CANCELLED)
        assert store.promote(9000.0) is None
        found = store.get(row.id)
        assert found is not None
        assert found.state is JobState.CANCELLED

    def test_what_others_scheduled_for_themselves_is_left(self, store: Store) -> None:
        """Only the process that has the function can run a job that is not durable."""
        row = added(
            store, state=JobState.SCHEDULED, run_at=5010.0, durable=False, home="another process"
        )
        assert store.promote(6000.0) is None
        found = store.get(row.id)
        assert found is not None
        assert found.state is JobState.SCHEDULED

    @pytest.mark.parametrize("durable", [True, False])
    def test_many_jobs_due_at_once(self, store: Store, durable: bool) -> None:
        """All of them are queued by one call."""
        for _ in range(700):
            added(store, state=JobState.SCHEDULED, run_at=5000.0, durable=durable)
        assert store.promote(5000.0) is None
        assert store.counts()[JobState.QUEUED] == 700
