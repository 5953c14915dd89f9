"""Retries: whether there is another attempt, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core_helpers import PATIENCE, hearing
from flask import Flask

from flask_bgtask import Abort, BackgroundTasks, Job, Retry, current_job
from flask_bgtask.options import LONGEST_BACKOFF, exponential
from flask_bgtask.signals import job_retrying

Apps = Callable[..., Flask]


class Flaky:
    """A task that fails a few times."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.attempts: list[int] = []

    def __call__(self) -> str:
        self.attempts.append(current_job.attempt)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def fail(text: str = "always") -> None:
    raise ValueError(text)


def wait_of(job: Job) -> float:
    """Seconds from now until the job's next attempt."""
    return (job.run_at - datetime.now(UTC)).total_seconds()


# How often.


def test_without_retries_there_is_one_attempt(app: Flask, bg: BackgroundTasks) -> None:
    """The default, for functions and for tasks."""
    task = bg.task(fail, name="fail")
    with app.app_context():
        for handle in (bg.submit(fail), task.submit()):
            assert isinstance(handle.exception(PATIENCE), ValueError)
            assert (handle.job.attempt, handle.job.max_attempts) == (1, 1)
            assert handle.job.state == "failed"


def test_as_many_attempts_as_it_takes(app: Flask, bg: BackgroundTasks) -> None:
    """Attempts are counted from 1; the result is that of the one that did not fail."""
    flaky = Flaky(ValueError("first"), ValueError("second"))
    with app.app_context():
        handle = bg.using(retries=5, backoff=0).submit(flaky)
        assert handle.result(PATIENCE) == "done"
        assert flaky.attempts == [1, 2, 3]
        assert (handle.job.attempt, handle.job.max_attempts) == (3, 6)
        assert handle.job.state == "succeeded"


def test_no_more_attempts_than_given(app: Flask, bg: BackgroundTasks) -> None:
    """The failure of the last attempt is the job's."""
    last = ValueError("third")
    flaky = Flaky(ValueError("first"), ValueError("second"), last)
    with app.app_context():
        handle = bg.using(retries=2, backoff=0).submit(flaky)
        assert handle.exception(PATIENCE) is last
        assert flaky.attempts == [1, 2, 3]
        job = handle.job
        assert (job.state, job.attempt, job.max_attempts) == ("failed", 3, 3)
        assert (job.error.type, job.error.message) == ("ValueError", "third")
        assert "Flaky" in job.error.traceback or "__call__" in job.error.traceback


def test_the_error_is_of_the_last_attempt(app: Flask, bg: BackgroundTasks) -> None:
    """While a job waits for its retry it shows why; once it succeeded it has no error."""
    flaky = Flaky(ValueError("first"))
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=1, backoff=0).submit(flaky)
        assert handle.result(PATIENCE) == "done"
        assert heard.wait()[0].error.message == "first"
        assert handle.job.error is None


@pytest.mark.parametrize("durable", [False, True])
def test_a_task_s_own_options(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """``@bg.task(retries=…)`` counts wherever the job was submitted, ``using`` over it."""
    task = bg.task(fail, name="fail", retries=2, backoff=0, durable=durable)
    with app.app_context():
        assert task.submit().exception(PATIENCE) is not None
        jobs = {"own": task.submit(), "less": task.using(retries=0).submit()}
        for handle in jobs.values():
            handle.exception(PATIENCE)
        assert jobs["own"].job.attempt == 3
        assert jobs["less"].job.attempt == 1
        handle = bg.submit(task)
        handle.exception(PATIENCE)
        assert handle.job.attempt == 3


def test_only_on_these_errors(app: Flask, bg: BackgroundTasks) -> None:
    """``retry_on`` takes a type or several; subclasses count, all else fails at once."""
    with app.app_context():
        for kinds in (LookupError, (LookupError,), [OSError, LookupError]):
            flaky = Flaky(KeyError("a"), ValueError("b"))
            handle = bg.using(retries=5, backoff=0, retry_on=kinds).submit(flaky)
            assert isinstance(handle.exception(PATIENCE), ValueError)
            assert flaky.attempts == [1, 2]


def test_an_exit_is_no_reason_to_try_again(app: Flask, bg: BackgroundTasks) -> None:
    """By default only an ``Exception`` is; the job fails with whatever ended it."""
    for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        flaky = Flaky(error)
        with app.app_context():
            handle = bg.using(retries=1, backoff=0).submit(flaky)
            assert handle.exception(PATIENCE) is error
            assert flaky.attempts == [1]
    with app.app_context():
        flaky = Flaky(SystemExit(3))
        handle = bg.using(retries=1, backoff=0, retry_on=BaseException).submit(flaky)
        assert handle.result(PATIENCE) == "done"


@pytest.mark.parametrize("durable", [False, True])
def test_abort(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """``raise Abort(reason)`` fails at once, whatever retries are left."""
    attempts: list[int] = []

    def give_up() -> None:
        attempts.append(current_job.attempt)
        raise Abort("no such customer")

    task = bg.task(give_up, name="give_up", durable=durable)
    with app.app_context():
        handle = task.using(retries=5, backoff=0, retry_on=Abort).submit()
        assert isinstance(handle.exception(PATIENCE), Abort)
        assert attempts == [1]
        assert (handle.job.error.type, handle.job.error.message) == ("Abort", "no such customer")


@pytest.mark.parametrize("durable", [False, True])
def test_retry_by_hand(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """``raise Retry()`` tries again now, whatever ``retry_on`` and ``backoff`` say."""
    attempts: list[int] = []

    def again() -> int:
        attempts.append(current_job.attempt)
        if current_job.attempt < 3:
            raise Retry
        return len(attempts)

    task = bg.task(again, name="again", durable=durable)
    with app.app_context():
        handle = task.using(retries=2, backoff=1000, retry_on=LookupError).submit()
        assert handle.result(PATIENCE) == 3
        attempts.clear()
        handle = task.using(retries=1, backoff=1000).submit()
        assert isinstance(handle.exception(PATIENCE), Retry)
        assert attempts == [1, 2]


@pytest.mark.parametrize("delay", [300, 300.0, timedelta(minutes=5)])
def test_retry_by_hand_later(app: Flask, bg: BackgroundTasks, delay: Any) -> None:
    """``Retry(delay)`` takes seconds or a ``timedelta``."""
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=1, backoff=0).submit(Flaky(Retry(delay)))
        [job] = heard.wait()
        assert job.state == "scheduled"
        assert 290 < wait_of(job) <= 300
        assert handle.cancel()


@pytest.mark.parametrize("delay", ["soon", float("nan"), float("inf"), True])
def test_a_wrong_delay_is_told_where_it_is_given(delay: Any) -> None:
    """``Retry`` looks at what it is given: the traceback points at the task."""
    with pytest.raises(TypeError, match="delay="):
        Retry(delay)


def test_a_delay_that_is_over_means_now(app: Flask, bg: BackgroundTasks) -> None:
    """Such as ``Retry(deadline - now)``."""
    with app.app_context():
        for delay in (-1, 0, timedelta(seconds=-3)):
            handle = bg.using(retries=1, backoff=300).submit(Flaky(Retry(delay)))
            assert handle.result(PATIENCE) == "done"


# When.


def test_the_default_backoff_is_exponential() -> None:
    """About 1, 2, 4, … seconds, a quarter more or less, and no more than ten minutes."""
    for attempt in range(1, 40):
        expected = min(LONGEST_BACKOFF, 2.0 ** (attempt - 1))
        waits = [exponential(attempt) for _ in range(100)]
        assert 0.75 * expected <= min(waits) < max(waits) <= 1.25 * expected


def test_it_waits_by_default(app: Flask, bg: BackgroundTasks) -> None:
    """The first retry comes about a second after the failure."""
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=1).submit(fail)
        [job] = heard.wait()
        assert job.state == "scheduled"
        assert 0.5 < wait_of(job) <= 1.25
        assert handle.cancel()


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (300, [300]),
        ([0, 300], [0, 300]),
        ([0, 0, timedelta(seconds=300)], [0, 0, 300]),
        (lambda attempt: 300 * (attempt - 1), [0, 300]),
        ([0, 300, 900], [0, 300]),
    ],
    ids=["number", "list", "timedelta", "function", "longer"],
)
def test_backoff(
    app: Flask, bg: BackgroundTasks, backoff: Any, waits: list[float], durable: bool
) -> None:
    """Seconds, seconds for each retry, or a function of the attempt that failed."""
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=5, backoff=backoff, durable=durable).submit(fail)
        jobs = heard.wait(len(waits))
        assert [job.attempt for job in jobs] == list(range(1, len(waits) + 1))
        assert wait_of(jobs[-1]) == pytest.approx(waits[-1], abs=10)
        assert jobs[-1].state == "scheduled"
        assert handle.cancel()


def test_the_last_of_a_list_counts_for_the_rest(app: Flask, bg: BackgroundTasks) -> None:
    """A list that is shorter than the retries is not at its end."""
    flaky = Flaky(*[ValueError(str(n)) for n in range(4)])
    with app.app_context():
        assert bg.using(retries=4, backoff=[0.001, 0]).submit(flaky).result(PATIENCE) == "done"


@pytest.mark.parametrize("wrong", [lambda attempt: 1 // 0, lambda attempt: "soon"])
def test_a_backoff_that_fails(app: Flask, bg: BackgroundTasks, caplog: Any, wrong: Any) -> None:
    """The job is tried again all the same, as without one; the failure is logged."""
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=1, backoff=wrong).submit(fail)
        [job] = heard.wait()
        assert 0.5 < wait_of(job) <= 1.25
        assert handle.cancel()
    assert any("backoff" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("wild", [float("inf"), 1e300, float("nan"), -5])
def test_a_wild_backoff_harms_nothing(app: Flask, bg: BackgroundTasks, wild: float) -> None:
    """The job can still be looked at, and stopped."""
    with app.app_context(), hearing(job_retrying, app) as heard:
        handle = bg.using(retries=1, backoff=lambda attempt: wild).submit(fail)
        [job] = heard.wait()
        if wild > 0:
            assert handle.job.state == "scheduled"
            assert handle.cancel()
        else:
            assert isinstance(handle.exception(PATIENCE), ValueError)
        assert job.run_at.year < 2500
