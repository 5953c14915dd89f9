"""Rules of the store: lists, counts and names."""

from __future__ import annotations

import os
import socket

import pytest
from store_rows import added, begun, ended

from flask_bgtask.job import COLUMNS, LONG_COLUMNS, JobState, Record
from flask_bgtask.store import Filter, Store


class ListRules:
    """``listing``, ``counts``, ``waiting``, ``oldest_queued``, ``tasks``, ``processes``."""

    def test_newest_first_page_by_page(self, store: Store) -> None:
        """Pages follow each other without gap or overlap, also when jobs are added meanwhile."""
        rows = [added(store) for _ in range(7)]
        newest_first = [row.id for row in reversed(rows)]
        first = _page(store, Filter(), limit=3)
        added(store)
        second = _page(store, Filter(), limit=3, after=first[-1].seq)
        third = _page(store, Filter(), limit=3, after=second[-1].seq)
        assert [row.id for row in first + second + third] == newest_first
        assert _page(store, Filter(), after=third[-1].seq) == []

    def test_a_brief_listing_leaves_out_what_is_long(self, store: Store) -> None:
        """All but arguments, carried data, result, log and memo; the rows stay what they are."""
        long = {"arguments": "[]", "carried": "{}"}
        row = added(store, label="L", owner="7", error='["E", "", ""]', progress="[1]", **long)
        [brief] = store.listing(Filter(), limit=5, now=1e6, brief=True)
        [whole] = _page(store, Filter())
        kept = [name for name in COLUMNS if name not in LONG_COLUMNS]
        assert [getattr(brief, n) for n in kept] == [getattr(whole, n) for n in kept]
        assert [getattr(brief, n) for n in LONG_COLUMNS] == [None] * len(LONG_COLUMNS)
        found = store.get(row.id)
        assert found is not None
        assert (found.arguments, found.carried) == ("[]", "{}")

    def test_many_rows_come_without_what_only_their_runner_needs(self, store: Store) -> None:
        """A mail of many megabytes is not read with each look at a list, or at what is awaited."""
        for durable in (True, False):
            added(store, arguments="[]", carried="{}", durable=durable)
        ids = _ids(store, Filter())
        for rows in (_page(store, Filter()), store.get_many(ids)):
            assert [(row.arguments, row.carried) for row in rows] == [(None, None)] * 2
        for durable in (True, False):
            row = added(store, arguments="[]", durable=durable)
            ended(store, row.id, JobState.SUCCEEDED, result='"R"')
            [found] = store.get_many([row.id])
            assert (found.arguments, found.result) == (None, '"R"')

    def test_filters(self, store: Store) -> None:
        """Each filter alone, and all together."""
        one = added(store, task="a.one", queue="mail", owner="7", label="Newsletter")
        two = added(store, task="a.two", queue="mail", owner="8")
        three = added(store, task="a.one", owner="8", durable=False)
        assert _ids(store, Filter()) == [three.id, two.id, one.id]
        assert _ids(store, Filter(task="a.one")) == [three.id, one.id]
        assert _ids(store, Filter(queue="mail")) == [two.id, one.id]
        assert _ids(store, Filter(owner="8")) == [three.id, two.id]
        assert _ids(store, Filter(owner="8", queue="mail", task="a.two", text="TWO")) == [two.id]
        assert _ids(store, Filter(owner="nobody")) == []

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("newsLETTER", True),
            ("über", True),
            ("ÜBER", True),
            ("STRASSE", True),
            ("WEEKLY.rep", True),
            ("100%", True),
            ("a_b", True),
            ("%", True),
            ("n%r", False),
            ("a_c", False),
            ("zzz", False),
        ],
    )
    def test_text_is_found_in_any_case(self, store: Store, text: str, found: bool) -> None:
        """In id, task and label; no character of the text means anything else."""
        row = added(store, task="weekly.Report", label="Newsletter Über 100% a_b Straße")
        assert _ids(store, Filter(text=text)) == ([row.id] if found else [])

    def test_text_is_found_in_ids(self, store: Store) -> None:
        """A part of the id finds the job."""
        row = added(store, id="00ab" * 8, label=None)
        added(store)
        assert _ids(store, Filter(text="B00A")) == [row.id]

    def test_states(self, store: Store) -> None:
        """A list by state shows a scheduled job as queued once its time has come."""
        rows = {state: added(store, state=state) for state in JobState}
        due, put_off = (added(store, state=JobState.SCHEDULED, run_at=at) for at in (50.0, 51.0))
        store.change(rows[JobState.SCHEDULED].id, {"run_at": 9e9})
        for state in set(JobState) - {JobState.SCHEDULED, JobState.QUEUED}:
            assert _ids(store, Filter(state=state)) == [rows[state].id]
        waiting, scheduled = rows[JobState.QUEUED].id, rows[JobState.SCHEDULED].id
        assert _ids(store, Filter(state=JobState.QUEUED), now=50.0) == [due.id, waiting]
        assert _ids(store, Filter(state=JobState.SCHEDULED), now=50.0) == [put_off.id, scheduled]

    @pytest.mark.parametrize("durable", [True, False])
    def test_counts_follow_every_change(self, store: Store, durable: bool) -> None:
        """Each state's number is right after submit, claim, end, retry and delete."""
        assert store.counts() == dict.fromkeys(JobState, 0)
        row = added(store, durable=durable)
        added(store, state=JobState.SCHEDULED, run_at=9e9, durable=durable)
        assert _counted(store) == {"queued": 1, "scheduled": 1}
        assert begun(store) is not None
        assert _counted(store) == {"running": 1, "scheduled": 1}
        ended(store, row.id, JobState.FAILED)
        assert _counted(store) == {"failed": 1, "scheduled": 1}
        assert store.change(row.id, {"state": JobState.QUEUED}) is not None
        assert _counted(store) == {"queued": 1, "scheduled": 1}
        ended(store, row.id, JobState.CANCELLED)
        ended(store, added(store, durable=durable).id, JobState.LOST)
        added(store, state=JobState.SUCCEEDED, durable=durable)
        assert _counted(store) == {"cancelled": 1, "scheduled": 1, "lost": 1, "succeeded": 1}
        assert store.delete(row.id)
        assert _counted(store) == {"scheduled": 1, "lost": 1, "succeeded": 1}

    def test_a_second_end_counts_once(self, store: Store) -> None:
        """A late result that changes an end changes the counts with it."""
        row = added(store)
        ended(store, row.id, JobState.FAILED)
        ended(store, row.id, JobState.FAILED)
        assert _counted(store) == {"failed": 1}
        ended(store, row.id, JobState.LOST)
        assert _counted(store) == {"lost": 1}

    def test_waiting_counts_durable_queued_jobs(self, store: Store) -> None:
        """Scheduled ones and those that are not durable do not count."""
        rows = [added(store) for _ in range(3)]
        added(store, durable=False)
        added(store, state=JobState.SCHEDULED, run_at=9e9)
        added(store, serial="k")
        added(store, serial="k")
        assert store.waiting() == 5
        assert begun(store) is not None
        ended(store, rows[1].id, JobState.CANCELLED)
        assert store.waiting() == 3

    def test_the_oldest_queued_job(self, store: Store) -> None:
        """When it became due: at its submission, or later at its own time."""
        assert store.oldest_queued() is None
        added(store, state=JobState.SCHEDULED, run_at=1.0)
        assert store.oldest_queued() is None
        added(store, created_at=50.0, run_at=70.0)
        assert store.oldest_queued() == 70.0
        row = added(store, created_at=60.0, run_at=60.0, durable=False)
        assert store.oldest_queued() == 60.0
        ended(store, row.id)
        assert store.oldest_queued() == 70.0

    def test_names_of_tasks(self, store: Store) -> None:
        """Of all jobs that are kept, or of those that wait."""
        assert store.tasks() == set()
        added(store, task="queued")
        added(store, task="scheduled", state=JobState.SCHEDULED, run_at=9e9)
        added(store, task="running", state=JobState.RUNNING)
        over = added(store, task="over")
        ended(store, over.id)
        ended(store, added(store, task="queued").id)
        assert store.tasks(waiting=True) == {"queued", "scheduled"}
        assert store.tasks() == {"queued", "scheduled", "running", "over"}
        assert store.delete(over.id)
        assert store.tasks() == {"queued", "scheduled", "running"}

    def test_this_process_is_among_the_live_ones(self, store: Store) -> None:
        """Once it has submitted a job it is named as ``host:pid``."""
        added(store)
        assert store.processes() == [f"{socket.gethostname()}:{os.getpid()}"]
        assert store.processes(working=True) == store.processes()

    def test_own_rows_are_no_orphans(self, store: Store) -> None:
        """What is bound to this process, and what is bound to none, is nobody's orphan."""
        added(store)
        added(store, durable=False)
        assert begun(store) is not None
        store.flush()
        assert store.orphans() == []

    def test_the_version_stays_while_nobody_else_writes(self, store: Store) -> None:
        """Only changes by other processes make it differ."""
        added(store)
        before = store.version()
        assert store.version() == before
        added(store)
        assert begun(store) is not None
        store.counts()
        assert store.version() == before


def _page(
    store: Store, wanted: Filter, *, limit: int = 50, after: int | None = None
) -> list[Record]:
    return store.listing(wanted, limit=limit, after=after, now=1e6)


def _ids(store: Store, wanted: Filter, now: float = 1e6) -> list[str]:
    return [row.id for row in store.listing(wanted, limit=50, now=now)]


def _counted(store: Store) -> dict[str, int]:
    return {state.value: jobs for state, jobs in store.counts().items() if jobs}
