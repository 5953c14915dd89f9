"""Rules of the store: rows come and go, and change by compare-and-set."""

from __future__ import annotations

from functools import partial

import pytest
from store_rows import added, begun, ended, new_row, together

from flask_bgtask.errors import StoreError
from flask_bgtask.job import COLUMNS, FINISHED, WAITING, JobState, Record
from flask_bgtask.store import BATCH, Filter, Store

TEXTS = ("", "plain", "äöü 日本語 🎉", 'it\'s "quoted"; --', "line\nbreak\ttab", "x" * 300_000)


class RowRules:
    """``add``, ``get``, ``change``, ``delete``, ``purge``."""

    def test_every_column_comes_back(self, store: Store) -> None:
        """A row is read as it was written, each column with its value and type."""
        values = {
            name: f"{name} text" for name, kind in Record.__annotations__.items() if "str" in kind
        }
        values |= {name: 7 for name, kind in Record.__annotations__.items() if kind == "int"}
        values |= {name: 7.25 for name, kind in Record.__annotations__.items() if "float" in kind}
        flags = {name: True for name, kind in Record.__annotations__.items() if kind == "bool"}
        row = Record(**{**values, **flags, "app": "tests", "state": JobState.RUNNING})
        store.add(row)
        found = store.get(row.id)
        assert found is not None
        for name in set(COLUMNS) - {"seq"}:
            assert getattr(found, name) == getattr(row, name), name
            assert type(getattr(found, name)) is type(getattr(row, name)), name

    @pytest.mark.parametrize("durable", [True, False])
    def test_columns_not_given_have_their_defaults(self, store: Store, durable: bool) -> None:
        """What a submit leaves out reads as the class default."""
        row = added(store, durable=durable)
        store.flush()
        found = store.get(row.id)
        assert found is not None
        for name in set(COLUMNS) - set(row.__dict__) - {"seq"}:
            assert getattr(found, name) == getattr(Record, name), name
            assert type(getattr(found, name)) is type(getattr(Record, name)), name

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("durable", [True, False])
    def test_any_text_is_kept(self, store: Store, text: str, durable: bool) -> None:
        """Texts come back as they were, whatever is in them."""
        row = added(store, label=text, arguments=text, durable=durable)
        store.flush()
        store.change(row.id, {"result": text})
        found = store.get(row.id)
        assert found is not None
        assert (found.label, found.arguments, found.result) == (text, text, text)

    @pytest.mark.parametrize("durable", [True, False])
    def test_a_lone_surrogate_keeps_no_job_from_its_end(self, store: Store, durable: bool) -> None:
        """File names and messages may hold what UTF-8 cannot; the row is written all the same."""
        row = added(store, label="a\udcffb", durable=durable)
        store.flush()
        ended(store, row.id, JobState.FAILED, error="no such file: \udcff")
        found = store.get(row.id)
        assert found is not None
        assert found.state is JobState.FAILED
        assert found.label is not None
        assert found.label[0] + found.label[-1] == "ab"

    def test_rows_are_numbered_in_the_order_of_their_submission(self, store: Store) -> None:
        """``seq`` grows from row to row."""
        rows = [added(store, durable=number % 2 == 0) for number in range(6)]
        store.flush()
        found = [store.get(row.id) for row in rows]
        durable = [row.seq for row in found if row is not None and row.durable]
        others = [row.seq for row in found if row is not None and not row.durable]
        assert durable == sorted(set(durable))
        assert others == sorted(set(others))
        assert not set(durable) & set(others)

    def test_rows_are_copies(self, store: Store) -> None:
        """Changing a record that the store gave changes nothing in the store."""
        for durable in (True, False):
            row = added(store, label="first", durable=durable)
            for found in (store.get(row.id), *store.get_many([row.id])):
                assert found is not None
                assert found.label == "first"
                found.label = "changed by a reader"
            changed = store.change(row.id, {"owner": "7"})
            assert changed is not None
            changed.label = "changed by a writer"
            again = store.get(row.id)
            assert again is not None
            assert again.label == "first"

    def test_a_row_that_is_not_there(self, store: Store) -> None:
        """An unknown id is ``None``, for reading and for changing; nothing can be deleted."""
        assert store.get("f" * 32) is None
        assert store.change("f" * 32, {"label": "x"}) is None
        assert store.get_many(["f" * 32]) == []
        assert store.delete("f" * 32) is False

    def test_many_rows_at_once(self, store: Store) -> None:
        """``get_many`` gives each row that is there, once."""
        rows = [added(store, durable=number % 2 == 0) for number in range(4)]
        asked = [rows[0].id, rows[1].id, rows[3].id, rows[0].id, "f" * 32]
        assert {row.id for row in store.get_many(asked)} == {rows[0].id, rows[1].id, rows[3].id}
        assert len(store.get_many(asked)) == 3
        assert store.get_many([]) == []

    @pytest.mark.parametrize("durable", [True, False])
    def test_an_id_is_there_once(self, store: Store, durable: bool) -> None:
        """A second row of the same id is refused, and the first stays."""
        row = added(store, label="first", durable=durable)
        with pytest.raises(StoreError):
            store.add(new_row(store, id=row.id, label="second", durable=durable))
        found = store.get(row.id)
        assert found is not None
        assert found.label == "first"

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("written", [True, False])
    def test_a_change_is_a_compare_and_set(
        self, store: Store, durable: bool, written: bool
    ) -> None:
        """A row changes only in one of the states and with the token that the caller expects."""
        row = added(store, durable=durable)
        if written:
            store.flush()
        running = {"state": JobState.RUNNING, "token": "mine", "attempt": 1}
        assert store.change(row.id, running, states={JobState.SCHEDULED}) is None
        changed = store.change(row.id, running, states=WAITING)
        assert changed is not None
        assert (changed.state, changed.token, changed.id) == (JobState.RUNNING, "mine", row.id)
        assert store.change(row.id, running, states=WAITING) is None
        assert store.change(row.id, {"result": "1"}, token="another's") is None
        assert store.change(row.id, {"result": "2"}, token="mine") is not None
        found = store.get(row.id)
        assert found is not None
        assert (found.result, found.attempt) == ("2", 1)

    @pytest.mark.parametrize("durable", [True, False])
    @pytest.mark.parametrize("written", [True, False])
    def test_an_attempt_ends_once(self, store: Store, durable: bool, written: bool) -> None:
        """Only the attempt that runs can end the job, and only while it runs."""
        row = added(store, durable=durable)
        if written:
            store.flush()
        attempt = row.copy(state=JobState.RUNNING, token="mine", attempt=1)
        ending = {"state": JobState.SUCCEEDED, "result": "1"}
        assert not store.end(attempt, ending)  # it has not begun
        store.change(row.id, {"state": JobState.RUNNING, "token": "mine", "attempt": 1})
        assert not store.end(attempt.copy(token="another's"), ending)
        assert not store.end(attempt.copy(id="f" * 32), ending)
        assert store.end(attempt, ending)
        assert not store.end(attempt, {**ending, "result": "2"})
        found = store.get(row.id)
        assert found is not None
        assert (found.state, found.result) == (JobState.SUCCEEDED, "1")

    def test_only_one_of_many_changes_wins(self, store: Store) -> None:
        """Threads that expect the same state: one gets the row, the others ``None``."""
        for durable in (True, False):
            row = added(store, durable=durable)
            taken = [{"state": JobState.RUNNING, "token": str(number)} for number in range(8)]
            tries = [partial(store.change, row.id, mine, states=WAITING) for mine in taken]
            won = [changed for changed in together(*tries) if changed is not None]
            found = store.get(row.id)
            assert found is not None
            assert [changed.token for changed in won] == [found.token]

    def test_rows_of_this_process_can_be_seen_at_once(self, store: Store) -> None:
        """A row that may be written later is in every answer of this process already."""
        row = added(store, durable=False, task="tests.later")
        assert store.get(row.id) is not None
        assert [found.id for found in store.listing(Filter(), limit=5, now=0)] == [row.id]
        assert store.counts()[JobState.QUEUED] == 1
        assert store.tasks() == {"tests.later"}
        again = added(store, durable=False)
        assert store.oldest_queued() == row.run_at
        assert store.change(again.id, {"label": "x"}) is not None
        store.flush()
        store.flush()
        assert store.counts()[JobState.QUEUED] == 2

    def test_a_finished_row_can_be_deleted(self, store: Store) -> None:
        """Only a finished row goes, and it is gone."""
        for durable in (True, False):
            row = added(store, durable=durable)
            assert store.delete(row.id) is False
            ended(store, row.id)
            assert store.delete(row.id) is True
            assert store.get(row.id) is None
            assert store.delete(row.id) is False

    @pytest.mark.parametrize("key", ["unique", "serial"])
    def test_a_late_row_that_holds_a_key_stays(self, store: Store, key: str) -> None:
        """While its thread has not come back a failed job keeps its key, so its row too."""
        row = added(store, **{key: "k"})
        ended(store, row.id, JobState.FAILED, holds=True, expires_at=1.0)
        assert store.delete(row.id) is False
        assert store.purge(9e9) == 0
        assert store.change(row.id, {"holds": False}, states=FINISHED) is not None
        assert store.purge(9e9) == 1

    def test_what_expired_is_purged(self, store: Store) -> None:
        """Finished rows go when their time is over; others stay, however old."""
        over, kept, endless, waiting = (added(store) for _ in range(4))
        ended(store, over.id, expires_at=5000.0)
        ended(store, kept.id, JobState.LOST, expires_at=5001.0)
        ended(store, endless.id, expires_at=None)
        assert store.purge(4999.0) == 0
        assert store.purge(5000.0) == 1
        assert store.get(over.id) is None
        assert all(store.get(row.id) is not None for row in (kept, endless, waiting))

    def test_a_purge_is_bounded(self, store: Store) -> None:
        """One call removes ``BATCH`` rows at most, so that it keeps nobody waiting."""
        for _ in range(BATCH + 3):
            ended(store, added(store, durable=False).id, expires_at=5000.0)
        store.flush()
        assert [store.purge(6000.0) for _ in range(3)] == [BATCH, 3, 0]

    def test_a_closed_store_opens_again(self, store: Store) -> None:
        """After ``close`` the next call finds the rows, also those that were kept back."""
        rows = [added(store, durable=durable) for durable in (True, False)]
        store.close()
        assert {row.id for row in store.get_many([row.id for row in rows])} == {
            row.id for row in rows
        }
        assert begun(store) is not None
        store.close()
