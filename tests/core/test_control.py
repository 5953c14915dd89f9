"""``get``, ``jobs``, ``handle``, ``cancel`` and ``retry``: looking at jobs and steering them."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask, url_for

from flask_bgtask import (
    BackgroundTasks,
    Handle,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobState,
    JobStateError,
    current_job,
)
from flask_bgtask.signals import job_cancelled, job_retrying, job_started, job_succeeded

Apps = Callable[..., Flask]

UNKNOWN = "0" * 32


def fail() -> None:
    raise ValueError("always")


# Looking.


def test_a_job_is_a_frozen_snapshot(app: Flask, bg: BackgroundTasks) -> None:
    """It shows how the job was when asked for."""
    gate = Gate()
    with app.app_context():
        handle = bg.using(label="a label", queue="q", priority=3).submit(gate, "result")
        assert gate.began()
        job = bg.get(handle.id)
        gate.open()
        assert handle.result(PATIENCE) == "result"
        assert (job.state, job.result, job.finished_at) == ("running", None, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            job.state = JobState.FAILED  # type: ignore[misc]
        after = handle.job
    assert (after.state, after.result, after.error) == ("succeeded", "result", None)
    assert (after.label, after.queue, after.priority) == ("a label", "q", 3)
    assert after.id == handle.id
    assert len(after.id) == 32
    assert int(after.id, 16)
    assert after.task == "core_helpers:Gate"
    assert not after.durable
    assert after.worker is not None
    assert after.worker.rpartition(":")[2].isdigit()


def test_times_are_aware_and_in_order(app: Flask, bg: BackgroundTasks) -> None:
    """All of them in UTC."""
    before = datetime.now(UTC)
    with app.app_context():
        handle = bg.submit(int)
        handle.result(PATIENCE)
        job = handle.job
        later = bg.using(delay=60).submit(int)
        assert later.job.run_at - later.job.created_at == timedelta(seconds=60)
        assert later.job.state == "scheduled"
        later.cancel()
    times = [before, job.created_at, job.started_at, job.finished_at, datetime.now(UTC)]
    assert times == sorted(times, key=lambda time: time or before)
    assert all(time is not None and time.utcoffset() == timedelta(0) for time in times)


def test_an_unknown_id(app: Flask, bg: BackgroundTasks) -> None:
    """``JobNotFound`` is a ``LookupError``, and says which id."""
    with app.app_context():
        for ask in (bg.get, bg.handle, bg.cancel, bg.retry):
            with pytest.raises(JobNotFound, match=UNKNOWN) as caught:
                ask(UNKNOWN)
            assert isinstance(caught.value, LookupError)
            assert caught.value.job_id == UNKNOWN


def test_apps_do_not_see_each_other_s_jobs(make_app: Apps, bg: BackgroundTasks) -> None:
    """A job belongs to its app."""
    one, two = make_app("one"), make_app("two")
    with one.app_context():
        handle = bg.submit(int)
        handle.result(PATIENCE)
    with two.app_context():
        with pytest.raises(JobNotFound):
            bg.get(handle.id)
        assert bg.jobs().items == []


def test_listing(app: Flask, bg: BackgroundTasks) -> None:
    """Newest first, filtered, page by page."""
    task = bg.task(fail, name="fail")
    with app.app_context():
        ids = []
        for number in range(7):
            handle = bg.using(queue="odd" if number % 2 else "even", owner=str(number)).submit(int)
            handle.result(PATIENCE)
            ids.append(handle.id)
        failed = task.submit()
        failed.exception(PATIENCE)
        newest = [failed.id, *reversed(ids)]
        assert [job.id for job in bg.jobs()] == newest
        assert [job.id for job in bg.jobs(state="failed")] == [failed.id]
        assert [job.id for job in bg.jobs(state=JobState.FAILED)] == [failed.id]
        assert [job.id for job in bg.jobs(task="fail")] == [failed.id]
        assert [job.id for job in bg.jobs(queue="odd")] == list(reversed(ids[1::2]))
        assert [job.id for job in bg.jobs(owner="3", state="succeeded")] == [ids[3]]
        found: list[str] = []
        page = bg.jobs(limit=3)
        while True:
            assert len(page) <= 3
            found += [job.id for job in page]
            if page.next is None:
                break
            page = bg.jobs(limit=3, after=page.next)
        assert found == newest


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"limit": 0}, "limit=0: 1 to 500 is expected"),
        ({"limit": 501}, "limit=501: 1 to 500 is expected"),
        ({"state": "done"}, "'done'"),
        ({"after": "yesterday"}, "after='yesterday': the next of a page is expected"),
        ({"after": "9" * 40}, "after='9+': the next of a page is expected"),
        ({"limit": "3"}, "limit='3': a whole number is expected"),
        ({"limit": None}, "limit=None: a whole number is expected"),
        ({"after": 3}, "after=3: a text is expected"),
    ],
)
def test_a_wrong_listing(
    app: Flask, bg: BackgroundTasks, wrong: dict[str, Any], message: str
) -> None:
    """A wrong value is an error that names the argument and shows it."""
    is_kind = message.endswith(("whole number is expected", "text is expected"))
    expected = TypeError if is_kind else ValueError
    with app.app_context(), pytest.raises(expected, match=message):
        bg.jobs(**wrong)


def test_a_handle_by_id(app: Flask, bg: BackgroundTasks) -> None:
    """Of a job that runs it is live; of one that ended it is done, with what is written down."""
    gate = Gate()
    with app.app_context():
        first = bg.submit(gate, {"a": (1, 2)})
        second = bg.handle(first.id)
        assert not second.done()
        gate.open()
        assert second.result(PATIENCE) == {"a": (1, 2)}
        third = bg.handle(first.id)
        assert third.done()
        assert third.result() == {"a": (1, 2)}
        failed = bg.submit(fail)
        failed.exception(PATIENCE)
        error = bg.handle(failed.id).exception()
        assert isinstance(error, JobFailed)
        assert (error.type_name, error.message) == ("ValueError", "always")
        assert "raise ValueError" in error.traceback_text
        waiting = bg.using(delay=60).submit(int)
        waiting.cancel()
        assert bg.handle(waiting.id).cancelled()


def test_handles_of_several_threads(make_app: Apps, bg: BackgroundTasks) -> None:
    """All who ask for a job's handle at the same time get to know of its end."""
    app = make_app(BGTASK_STORE="sqlite")
    task = bg.task(int, name="int").using(delay=3600)
    both = threading.Barrier(2)
    handles: list[Handle[Any]] = []

    def ask(job_id: str) -> None:
        with app.app_context():
            both.wait(PATIENCE)
            handles.append(bg.handle(job_id))

    with app.app_context():
        for _ in range(100):
            job_id = task.submit().id  # nobody keeps the handle
            threads = [threading.Thread(target=ask, args=[job_id]) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            bg.cancel(job_id)
        assert len(handles) == 200
        assert [handle for handle in handles if not handle.cancelled()] == []


def test_a_result_that_cannot_be_stored(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """The job succeeded; its handle has the object, the store its ``repr``, with a warning."""
    thing = object()
    task = bg.task(lambda: thing, name="thing")
    with app.app_context():
        handle = task.submit()
        assert handle.result(PATIENCE) is thing
        assert (handle.job.state, handle.job.result) == ("succeeded", repr(thing))
        [record] = caplog.records
        assert record.levelname == "WARNING"
        assert handle.id in record.getMessage()


def test_a_result_that_is_too_large(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """Above 1 MiB there is a warning for plain jobs too; for what only handles can give, none."""
    with app.app_context():
        assert bg.submit(object).result(PATIENCE) is not None
        handle = bg.submit(bytes, 1_000_000)
        assert handle.result(PATIENCE) == bytes(1_000_000)
        assert handle.job.result.startswith("b'")
        [record] = caplog.records
        assert record.levelname == "WARNING"
        assert f"job {handle.id}" in record.getMessage()
        assert "1,048,576 are the limit" in record.getMessage()


def test_status_url(make_app: Apps, bg: BackgroundTasks) -> None:
    """A path below the prefix and the script root; ``None`` without the blueprint."""
    app = make_app("one", BGTASK_URL_PREFIX="/tasks")
    bare = make_app("two", BGTASK_URL_PREFIX=None)
    with app.app_context():
        handle = bg.submit(int)
        assert handle.status_url == f"/tasks/{handle.id}"
        handle.result(PATIENCE)
    with app.test_request_context(base_url="http://example.org/root"):
        assert handle.status_url == f"/root/tasks/{handle.id}"
    with bare.app_context():
        assert bg.submit(int).status_url is None


@pytest.mark.parametrize("root", ["//elsewhere.org", "/\\elsewhere.org", "/\t/elsewhere.org"])
def test_status_url_stays_on_the_site(app: Flask, bg: BackgroundTasks, root: str) -> None:
    """A proxy may hand on any script root; browsers read two slashes as another host.

    They read a backslash as a slash, and leave out a tab.
    """
    with app.test_request_context(environ_overrides={"SCRIPT_NAME": root}):
        handle = bg.submit(int)
        location = bg.accepted(handle).headers["Location"]
        assert handle.status_url == location
        assert urljoin("http://here.org/", location).startswith("http://here.org/")
        assert not {"\\", "\t"} & set(location)


# Stopping.


@pytest.mark.parametrize("durable", [False, True])
def test_cancel_what_waits(make_app: Apps, bg: BackgroundTasks, durable: bool) -> None:
    """A queued job ends at once and never runs; so does one that is scheduled."""
    app, gate, ran = make_app(BGTASK_WORKERS=1), Gate(), []
    task = bg.task(lambda: ran.append(1), name="note", durable=durable)
    with app.app_context(), hearing(job_cancelled, app) as heard:
        bg.submit(gate)
        queued, later = task.submit(), task.using(delay=60).submit()
        for handle in (queued, later):
            job = bg.cancel(handle.id)
            assert isinstance(job, Job)
            assert job.state == "cancelled"
            assert job.finished_at is not None
            assert handle.cancelled()
            with pytest.raises(CancelledError):
                handle.result(PATIENCE)
        gate.open()
        bg.submit(int).result(PATIENCE)
        assert [job.id for job in heard.wait(2)] == [queued.id, later.id]
    assert ran == []


def obey(began: threading.Event) -> None:
    """Runs until it is asked to stop."""
    began.set()
    while True:
        current_job.checkpoint()


@pytest.mark.parametrize("retries", [0, 3])
def test_cancel_what_runs(app: Flask, bg: BackgroundTasks, retries: int) -> None:
    """It is asked to stop, and does so at its next checkpoint; retries do not bring it back."""
    began = threading.Event()
    with app.app_context(), hearing(job_cancelled, app) as heard:
        handle = bg.using(retries=retries, backoff=0).submit(obey, began)
        assert began.wait(PATIENCE)
        job = bg.cancel(handle.id)
        assert job.cancel_requested
        with pytest.raises(CancelledError):
            handle.result(PATIENCE)
        assert handle.job.state == "cancelled"
        assert handle.job.error is None
        assert [job.id for job in heard.wait()] == [handle.id]


def test_each_step_of_track_is_a_checkpoint(app: Flask, bg: BackgroundTasks) -> None:
    """A task that only tracks its items can be stopped, too."""
    began = threading.Event()

    def work() -> None:
        for _ in current_job.track(itertools.count()):
            began.set()

    with app.app_context():
        handle = bg.submit(work)
        assert began.wait(PATIENCE)
        bg.cancel(handle.id)
        with pytest.raises(CancelledError):
            handle.result(PATIENCE)


def test_a_task_can_clean_up(app: Flask, bg: BackgroundTasks) -> None:
    """``JobCancelled`` goes through it like any exception; it can also look by itself."""
    began, seen = threading.Event(), []

    def clean() -> None:
        try:
            obey(began)
        except JobCancelled:
            seen.append(current_job.cancel_requested)
            raise

    with app.app_context():
        handle = bg.submit(clean)
        assert began.wait(PATIENCE)
        bg.cancel(handle.id)
        with pytest.raises(CancelledError):
            handle.result(PATIENCE)
    assert seen == [True]


def test_a_task_that_does_not_look_ends_as_it_ends(app: Flask, bg: BackgroundTasks) -> None:
    """Asked to stop, it may still succeed, or fail; a failed one is not tried again."""
    gates = [Gate(), Gate()]

    def ignore(gate: Gate) -> None:
        gate()
        if gate is gates[1]:
            raise ValueError("too late")

    with app.app_context():
        good = bg.submit(ignore, gates[0])
        bad = bg.using(retries=3, backoff=0).submit(lambda: ignore(gates[1]))
        for gate, handle in zip(gates, (good, bad)):
            assert gate.began()
            bg.cancel(handle.id)
            gate.open()
        assert good.result(PATIENCE) is None
        assert good.job.state == "succeeded"
        with pytest.raises(CancelledError):
            bad.result(PATIENCE)
        assert (bad.job.state, bad.job.attempt) == ("cancelled", 1)


def test_cancelling_what_ended(app: Flask, bg: BackgroundTasks) -> None:
    """``JobStateError`` names the job and its state."""
    with app.app_context():
        good, bad = bg.submit(int), bg.submit(fail)
        good.result(PATIENCE)
        bad.exception(PATIENCE)
        for handle, state in ((good, "succeeded"), (bad, "failed")):
            with pytest.raises(JobStateError, match=f"{handle.id} is {state}") as caught:
                bg.cancel(handle.id)
            assert (caught.value.job_id, caught.value.state) == (handle.id, state)
            assert not handle.cancel()


# Running again.


def test_retry_runs_a_durable_job_again(app: Flask, bg: BackgroundTasks) -> None:
    """Under its id, with the arguments of its submission and all its attempts anew."""
    broken, seen = [True], []

    @bg.task(name="mend", retries=1, backoff=0)
    def mend(numbers: list[int]) -> int:
        seen.append((current_job.attempt, list(numbers)))
        numbers.append(9)
        if broken:
            raise ValueError("broken")
        return len(seen)

    with app.app_context():
        handle = mend.submit([1])
        assert isinstance(handle.exception(PATIENCE), ValueError)
        broken.clear()
        with hearing(job_retrying, app) as heard, hearing(job_succeeded, app) as succeeded:
            job = bg.retry(handle.id)
            assert (job.id, job.attempt, job.error) == (handle.id, 0, None)
            assert bg.handle(handle.id).result(PATIENCE) == 3
            assert heard.wait()[0].id == succeeded.wait()[0].id == handle.id
        assert seen == [(1, [1]), (2, [1]), (1, [1])]
        assert handle.job.state == "succeeded"
        assert isinstance(handle.exception(0), ValueError)  # a done handle stays so


def test_retry_of_a_cancelled_job(app: Flask, bg: BackgroundTasks) -> None:
    """It runs as if it had just been submitted."""
    task = bg.task(int, name="number")
    with app.app_context():
        handle = task.using(delay=60).submit("3")
        bg.cancel(handle.id)
        assert bg.retry(handle.id).state in ("queued", "running", "succeeded")
        assert bg.handle(handle.id).result(PATIENCE) == 3
        assert handle.cancelled()
        assert not bg.get(handle.id).cancel_requested


def test_what_cannot_run_again(app: Flask, bg: BackgroundTasks) -> None:
    """A job that is not over, one that succeeded, and one whose arguments are gone."""
    task = bg.task(int, name="number")
    gate = Gate()
    with app.app_context():
        bare, good, later = bg.submit(fail), task.submit(), task.using(delay=60).submit()
        bare.exception(PATIENCE)
        good.result(PATIENCE)
        running = bg.submit(gate)
        assert gate.began()
        for handle, why in (
            (bare, "arguments"),
            (good, "succeeded"),
            (later, "scheduled"),
            (running, "running"),
        ):
            with pytest.raises(JobStateError, match=why):
                bg.retry(handle.id)
        gate.open()
        later.cancel()


def test_retry_keeps_the_carriers(app: Flask, bg: BackgroundTasks) -> None:
    """The owner and the URL root are those of the submission."""
    app.add_url_rule("/", "home")
    broken = [True]

    @bg.task(name="link")
    def link() -> str:
        if broken:
            raise ValueError
        return url_for("home", _external=True)

    with app.test_request_context(base_url="https://example.org/root"):
        handle = link.using(owner="7").submit()
        handle.exception(PATIENCE)
    broken.clear()
    with app.app_context(), hearing(job_started, app) as heard:
        bg.retry(handle.id)
        assert bg.handle(handle.id).result(PATIENCE) == "https://example.org/root/"
        assert heard.wait()[0].owner == "7"
