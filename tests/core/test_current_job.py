"""``current_job``: what a task says of itself, and what it learns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate, hearing
from flask import Flask

from flask_bgtask import BackgroundTasks, Progress, current_job
from flask_bgtask.signals import job_progressed

Apps = Callable[..., Flask]


def test_outside_a_job_it_says_so(app: Flask) -> None:
    """``RuntimeError`` that says where it works."""
    with app.app_context():
        for use in (
            lambda: current_job.id,
            lambda: current_job.progress(1),
            lambda: current_job.checkpoint(),
        ):
            with pytest.raises(RuntimeError, match=r"bg\.submit or a\s+task's submit"):
                use()
        assert not current_job


def test_it_is_the_job(app: Flask, bg: BackgroundTasks) -> None:
    """Its id is that of the handle, in functions and in what they call."""
    with app.app_context():
        handle = bg.submit(lambda: (current_job.id, current_job.attempt))
        assert handle.result(PATIENCE) == (handle.id, 1)


def test_each_job_has_its_own(app: Flask, bg: BackgroundTasks) -> None:
    """Jobs that run at the same time, and those that a task submits."""

    def outer() -> list[str]:
        handles = [bg.submit(lambda: current_job.id) for _ in range(3)]
        return [current_job.id, *[h.result(PATIENCE) for h in handles], *[h.id for h in handles]]

    with app.app_context():
        handle = bg.submit(outer)
        mine, *others = handle.result(PATIENCE)
    assert mine == handle.id
    assert others[:3] == others[3:]
    assert len({mine, *others}) == 4


def test_progress(app: Flask, bg: BackgroundTasks) -> None:
    """It can be seen while the job runs, and the last one stays."""
    gate, said = Gate(), threading.Event()

    def work() -> None:
        current_job.progress(2, 8, "reading")
        said.set()
        gate()
        current_job.progress(8, 8)

    with app.app_context():
        handle = bg.submit(work)
        assert said.wait(PATIENCE)
        shown = handle.job.progress
        assert shown == Progress(2, 8, "reading")
        assert shown.percent == 25.0
        gate.open()
        handle.result(PATIENCE)
        assert handle.job.progress == Progress(8, 8, "")


@pytest.mark.parametrize(
    ("given", "percent"),
    [
        ((3,), None),
        ((3, None, "rows"), None),
        ((0, 0), None),
        ((1, 3), pytest.approx(33.33, abs=0.01)),
        ((5, 4), 100.0),
        ((-1, 4), 0.0),
        ((0.5, 2.0), 25.0),
    ],
)
def test_percent(app: Flask, bg: BackgroundTasks, given: Any, percent: Any) -> None:
    """Between 0 and 100, and unknown without a total."""
    with app.app_context():
        handle = bg.submit(lambda: current_job.progress(*given))
        handle.result(PATIENCE)
        progress = handle.job.progress
    assert progress is not None
    assert progress.done == given[0]
    assert progress.percent == percent


class Count:
    """An integer of another library: numpy's are no ``int`` either."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((Decimal("1.5"), Decimal(2)), Progress(1.5, 2.0)),
        ((Fraction(1, 4), 1), Progress(0.25, 1)),
        ((Count(3), Count(4)), Progress(3, 4)),
        ((True, 2), Progress(1, 2)),
        ((float("nan"), 10), Progress(0, 10)),
        ((3, float("inf")), Progress(3, None)),
        ((Decimal("-Infinity"), Decimal("sNaN")), Progress(0, None)),
        ((10**5000, Fraction(10**400)), Progress(0, None)),
    ],
)
def test_numbers_of_any_kind(app: Flask, bg: BackgroundTasks, given: Any, shown: Any) -> None:
    """A report fails no work; what is not finite counts as nothing done, or no known total."""
    with app.app_context():
        handle = bg.submit(lambda: current_job.progress(*given))
        handle.result(PATIENCE)
        assert handle.job.progress == shown
        assert type(shown.done) is type(handle.job.progress.done)


@pytest.mark.parametrize(
    ("given", "named"), [(("3",), "done='3'"), ((None,), "done=None"), ((1, [2]), r"total=\[2\]")]
)
def test_what_is_no_number(app: Flask, bg: BackgroundTasks, given: Any, named: str) -> None:
    """It is a mistake at that line, which the error names."""
    with app.app_context():
        handle = bg.submit(lambda: current_job.progress(*given))
        with pytest.raises(TypeError, match=f"^{named}: a number is expected"):
            handle.result(PATIENCE)


def test_track(app: Flask, bg: BackgroundTasks) -> None:
    """It gives the items, counts them, and knows the length of what has one."""

    def rows() -> Iterator[int]:
        yield from range(5)

    def work(kind: str) -> list[int]:
        if kind == "sized":
            return list(current_job.track([0, 1, 2, 3, 4]))
        return list(current_job.track(rows(), 5 if kind == "given" else None))

    with app.app_context():
        for kind, total in (("sized", 5), ("given", 5), ("unknown", None)):
            handle = bg.submit(work, kind)
            assert handle.result(PATIENCE) == [0, 1, 2, 3, 4]
            assert handle.job.progress == Progress(5, total, "")


def test_track_counts_what_is_done(app: Flask, bg: BackgroundTasks) -> None:
    """An item counts once the task asks for the next; what is left out at the end does not."""

    def work() -> None:
        for item in current_job.track("abc"):
            if item == "b":
                raise ValueError

    with app.app_context():
        handle = bg.submit(work)
        handle.exception(PATIENCE)
        assert handle.job.progress == Progress(1, 3, "")


def test_progress_is_signalled(app: Flask, bg: BackgroundTasks) -> None:
    """What comes fast is written together: the first, and the last before the end."""

    def work() -> None:
        for _ in current_job.track(range(1000)):
            pass

    with app.app_context(), hearing(job_progressed, app) as heard:
        handle = bg.submit(work)
        handle.result(PATIENCE)
        first = heard.wait()[0]
        assert first.id == handle.id
        assert first.progress.total == 1000
        assert len(heard.jobs) < 500
        assert handle.job.progress == Progress(1000, 1000, "")


def test_progress_that_comes_fast_is_still_written(app: Flask, bg: BackgroundTasks) -> None:
    """What was held back is there soon, also while the task says nothing more."""
    gate = Gate()

    def work() -> None:
        for done in range(10):
            current_job.progress(done, 10)
        gate()

    with app.app_context(), hearing(job_progressed, app) as heard:
        handle = bg.submit(work)
        heard.wait(2)
        assert handle.job.progress == Progress(9, 10, "")
        gate.open()
        handle.result(PATIENCE)


def test_log(app: Flask, bg: BackgroundTasks) -> None:
    """Lines in their order, as text; the newest 500, of 2,000 characters."""

    def work() -> None:
        current_job.log("first")
        current_job.log(7)  # type: ignore[arg-type]
        current_job.log("x" * 5_000)

    def much() -> None:
        for number in range(600):
            current_job.log(str(number))

    with app.app_context():
        handle = bg.submit(work)
        handle.result(PATIENCE)
        assert [line.message for line in handle.job.logs] == ["first", "7", "x" * 2_000]
        handle = bg.submit(much)
        handle.result(PATIENCE)
        assert [line.message for line in handle.job.logs] == [str(n) for n in range(100, 600)]


def test_several_threads_of_a_task(app: Flask, bg: BackgroundTasks) -> None:
    """A task may hand its ``current_job`` to threads of its own."""

    def work() -> None:
        job = current_job._get_current_object()

        def talk(number: int) -> None:
            for line in range(50):
                job.log(f"{number} {line}")
                job.progress(line, 50)

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

    with app.app_context():
        handle = bg.submit(work)
        handle.result(PATIENCE)
        messages = [line.message for line in handle.job.logs]
    assert sorted(messages) == sorted(f"{n} {line}" for n in range(4) for line in range(50))


def test_checkpoint_in_peace(app: Flask, bg: BackgroundTasks) -> None:
    """A job that nobody asked to stop goes on."""

    def work() -> bool:
        for _ in range(100):
            current_job.checkpoint()
        return current_job.cancel_requested

    with app.app_context():
        assert bg.submit(work).result(PATIENCE) is False
