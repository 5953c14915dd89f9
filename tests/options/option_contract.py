"""What each option promises, in every store. Subclasses give the configuration of one."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from flask_bgtask import (
    BackgroundTasks,
    DuplicateJob,
    Handle,
    JobStateError,
    JobTimeout,
    QueueFull,
    current_job,
    testing,
)

PATIENCE = 20.0

#: Seconds by which a job may start later than its time on an idle machine.
EXACT = 0.1


class Gate:
    """Holds tasks until it is opened, and knows who came."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.came = threading.Semaphore(0)
        self.order: list[Any] = []

    def pass_through(self, who: Any = None) -> Any:
        self.order.append(who)
        self.came.release()
        assert self.opened.wait(PATIENCE)
        return who

    def wait_for(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=PATIENCE)


class OptionContract:
    """One rule a test; each runs for durable and other jobs where both make sense."""

    config: ClassVar[dict[str, Any]]

    @pytest.fixture
    def app(self, make_app: Any) -> Flask:
        app: Flask = make_app(**{**self.config, "BGTASK_WORKERS": 2})
        return app

    @pytest.fixture(params=[True, False], ids=["durable", "volatile"])
    def durable(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param)

    @pytest.fixture
    def gate(self, bg: BackgroundTasks, durable: bool) -> Any:
        gate = Gate()
        gate.task = bg.task(gate.pass_through, name="pass", durable=durable)  # type: ignore[attr-defined]
        yield gate
        gate.opened.set()

    # When.

    def test_delay_and_eta(self, app: Flask, bg: BackgroundTasks, durable: bool) -> None:
        """Not before its time, and within 100 ms after it."""
        began: dict[str, float] = {}

        def note(name: str) -> None:
            began[name] = time.time()

        task = bg.task(note, name="note", durable=durable)
        with app.app_context():
            now = time.time()
            eta = datetime.fromtimestamp(now + 0.4, ZoneInfo("Asia/Kolkata"))
            handles = [
                task.using(delay=0.2).submit("number"),
                task.using(delay=timedelta(seconds=0.3)).submit("timedelta"),
                task.using(eta=eta).submit("eta"),
            ]
            assert handles[0].job.state == "scheduled"
            assert handles[2].job.run_at == eta
            for handle in handles:
                handle.result(PATIENCE)
        for name, due in {"number": 0.2, "timedelta": 0.3, "eta": 0.4}.items():
            assert 0 <= began[name] - now - due < EXACT, name

    def test_a_time_in_the_past_is_now(self, app: Flask, bg: BackgroundTasks) -> None:
        """An ``eta`` that has gone by starts at once."""
        with app.app_context():
            past = datetime.now(UTC) - timedelta(days=1)
            assert bg.using(eta=past).submit(max, 1, 2).result(PATIENCE) == 2

    def test_priority(self, make_app: Any, bg: BackgroundTasks, gate: Any) -> None:
        """Higher first, and in the order of submission within one."""
        app = make_app(**self.config, BGTASK_WORKERS=1)
        with app.app_context():
            held = [gate.task.submit("held")]
            gate.wait_for()
            rest = [
                gate.task.using(priority=priority).submit((priority, n))
                for n, priority in enumerate([0, 5, 0, -1, 5])
            ]
            gate.order.clear()
            gate.opened.set()
            for handle in held + rest:
                handle.result(PATIENCE)
        assert gate.order == [(5, 1), (5, 4), (0, 0), (0, 2), (-1, 3)]

    def test_queue_limits(self, make_app: Any, bg: BackgroundTasks, gate: Any) -> None:
        """A queue takes no more places than it may; others go past it."""
        app = make_app(**self.config, BGTASK_WORKERS=4, BGTASK_QUEUES={"mail": 2, "cpu": 0})
        with app.app_context():
            mails = [gate.task.using(queue="mail").submit("mail") for _ in range(4)]
            cpu = gate.task.using(queue="cpu", durable=True).submit("cpu")
            gate.wait_for(2)
            other = gate.task.using(queue="other").submit("other")
            gate.wait_for(1)
            assert gate.order == ["mail", "mail", "other"]
            assert sum(handle.running() for handle in mails) == 2
            gate.opened.set()
            for handle in [*mails, other]:
                handle.result(PATIENCE)
            assert gate.order.count("mail") == 4
            assert cpu.job.state == "queued"  # left to a worker that takes the queue
            assert cpu.cancel()

    def test_pause_and_resume(self, app: Flask, bg: BackgroundTasks, gate: Any) -> None:
        """Nothing of a paused queue begins; all of it does once it is resumed."""
        gate.opened.set()
        with app.app_context():
            bg.pause("mail")
            waiting = gate.task.using(queue="mail").submit("mail")
            gate.task.using(queue="other").submit("other").result(PATIENCE)
            assert waiting.job.state == "queued"
            bg.resume("mail")
            assert waiting.result(PATIENCE) == "mail"

    # Once and in order.

    def test_unique_refuses(self, app: Flask, bg: BackgroundTasks, gate: Any) -> None:
        """At most one unfinished job a key; the error names it. Free again once it ended."""
        with app.app_context():
            first = gate.task.using(unique="batch").submit(1)
            gate.wait_for()
            with pytest.raises(DuplicateJob) as refused:
                gate.task.using(unique="batch").submit(2)
            assert refused.value.job_id == first.id
            assert refused.value.key == "batch"
            gate.task.using(unique="another").submit(3)
            gate.opened.set()
            first.result(PATIENCE)
            assert gate.task.using(unique="batch").submit(4).result(PATIENCE) == 4

    def test_unique_returns(self, app: Flask, bg: BackgroundTasks, gate: Any) -> None:
        """``on_duplicate="return"`` gives the handle of the job that is there."""
        with app.app_context():
            first = gate.task.using(unique="batch").submit(1)
            again = gate.task.using(unique="batch", on_duplicate="return").submit(2)
            assert again.id == first.id
            gate.opened.set()
            assert again.result(PATIENCE) == 1
        assert gate.order == [1]

    def test_unique_among_many_threads(self, app: Flask, bg: BackgroundTasks, gate: Any) -> None:
        """Of those that submit at the same instant exactly one is accepted."""
        start = threading.Barrier(8)
        accepted: list[Handle[Any]] = []

        def submit() -> None:
            with app.app_context():
                start.wait(PATIENCE)
                with contextlib.suppress(DuplicateJob):
                    accepted.append(gate.task.using(unique="one").submit(0))

        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(accepted) == 1
        gate.opened.set()
        accepted[0].result(PATIENCE)

    def test_serial(self, app: Flask, bg: BackgroundTasks, durable: bool) -> None:
        """Jobs of one key run one at a time and in order; a failure and a cancel free the key."""
        order: list[int] = []
        inside = threading.Lock()

        def work(n: int) -> None:
            assert inside.acquire(blocking=False), "two at a time"
            try:
                order.append(n)
                if n == 1:
                    raise ValueError("one fails")
            finally:
                inside.release()

        task = bg.task(work, name="work", durable=durable)
        with app.app_context():
            gate = threading.Event()
            holder = bg.using(serial="key", durable=False).submit(gate.wait, PATIENCE)
            handles = [task.using(serial="key").submit(n) for n in range(6)]
            assert handles[3].cancel()
            other = task.using(serial="another").submit(100)
            other.result(PATIENCE)
            gate.set()
            holder.result(PATIENCE)
            handles[5].result(PATIENCE)
            assert isinstance(handles[1].exception(PATIENCE), ValueError)
        assert order == [100, 0, 1, 2, 4, 5]

    def test_serial_keeps_its_order_over_a_retry(self, app: Flask, bg: BackgroundTasks) -> None:
        """A job that waits for its next attempt keeps its key: those behind it wait too."""
        order: list[str] = []

        @bg.task(retries=1, backoff=0.2)
        def work(name: str) -> None:
            order.append(name)
            if order == ["first"]:
                raise OSError("once")

        with app.app_context():
            first = work.using(serial="key").submit("first")
            second = work.using(serial="key").submit("second")
            second.result(PATIENCE)
            first.result(PATIENCE)
        assert order == ["first", "first", "second"]

    # Stopping.

    def test_cancel_a_waiting_job(self, app: Flask, bg: BackgroundTasks, gate: Any) -> None:
        """It ends at once; a second cancel and one of an ended job are refused."""
        with app.app_context():
            held = [gate.task.submit(0) for _ in range(2)]
            gate.wait_for(2)
            waiting = gate.task.submit(1)
            later = gate.task.using(delay=3600).submit(2)
            assert bg.cancel(waiting.id).state == "cancelled"
            assert bg.cancel(later.id).state == "cancelled"
            assert waiting.cancelled()
            with pytest.raises(CancelledError):
                later.result(PATIENCE)
            with pytest.raises(JobStateError):
                bg.cancel(waiting.id)
            gate.opened.set()
            for handle in held:
                handle.result(PATIENCE)
            with pytest.raises(JobStateError):
                bg.cancel(held[0].id)

    def test_cancel_a_running_job(self, app: Flask, bg: BackgroundTasks, durable: bool) -> None:
        """It is asked, and stops at its next checkpoint."""
        began = threading.Event()

        def spin() -> None:
            began.set()
            while True:
                current_job.checkpoint()

        task = bg.task(spin, name="spin", durable=durable, retries=3)
        with app.app_context():
            handle = task.submit()
            assert began.wait(PATIENCE)
            assert bg.cancel(handle.id).cancel_requested
            with pytest.raises(CancelledError):
                handle.result(PATIENCE)
            assert handle.job.state == "cancelled"
            assert handle.job.attempt == 1

    def test_timeout(self, app: Flask, bg: BackgroundTasks, durable: bool) -> None:
        """The waiter knows at once; the thread keeps its place and the keys until it is back."""
        release, late = threading.Event(), threading.Event()

        def slow() -> str:
            release.wait(PATIENCE)
            late.set()
            return "too late"

        task = bg.task(slow, name="slow", durable=durable, timeout=0.1)
        with app.app_context():
            handle = task.using(unique="key", serial="row").submit()
            next_in_row = bg.using(serial="row").submit(max, 1, 2)
            with pytest.raises(JobTimeout):
                handle.result(PATIENCE)
            assert handle.job.state == "failed"
            assert handle.job.error is not None
            assert handle.job.error.type == "JobTimeout"
            with pytest.raises(DuplicateJob):
                task.using(unique="key").submit()
            assert not next_in_row.done()
            release.set()
            assert next_in_row.result(PATIENCE) == 2
            assert late.is_set()
            testing.drain(app)
            assert handle.job.result is None  # what came late is dropped
            release.clear()
            again = task.using(unique="key", timeout=None).submit()
            release.set()
            assert again.result(PATIENCE) == "too late"

    def test_timeout_with_a_retry(self, app: Flask, bg: BackgroundTasks, durable: bool) -> None:
        """The retry waits for the thread of the attempt before."""
        release = threading.Event()
        running: list[int] = []
        most: list[int] = []

        def slow() -> int:
            running.append(1)
            most.append(len(running))
            try:
                if current_job.attempt == 1:
                    release.wait(PATIENCE)
                return current_job.attempt
            finally:
                running.pop()

        task = bg.task(slow, name="slow", durable=durable, timeout=0.1, retries=1, backoff=0)
        with app.app_context():
            handle = task.submit()
            with pytest.raises(TimeoutError):
                handle.result(0.4)
            assert handle.job.state == "running"
            release.set()
            assert handle.result(PATIENCE) == 2
        assert max(most) == 1

    # Keeping.

    def test_retry_by_hand(self, app: Flask, bg: BackgroundTasks) -> None:
        """A failed durable job runs again under its id with its arguments."""
        seen: list[Any] = []

        @bg.task
        def work(given: list[int]) -> int:
            seen.append(list(given))
            given.append(99)
            if len(seen) == 1:
                raise ValueError("first")
            return len(seen)

        with app.app_context():
            handle = work.submit([1, 2])
            assert isinstance(handle.exception(PATIENCE), ValueError)
            assert bg.retry(handle.id).state in ("queued", "running", "succeeded")
            again = bg.handle(handle.id)
            assert again.result(PATIENCE) == 2
            assert isinstance(handle.exception(0), ValueError)
            assert again.job.error is None
            with pytest.raises(JobStateError):
                bg.retry(handle.id)
        assert seen == [[1, 2], [1, 2]]

    def test_label_owner_and_ttl(self, app: Flask, bg: BackgroundTasks, durable: bool) -> None:
        """They are on the job, and an expired one goes."""
        task = bg.task(lambda: 1, name="one", durable=durable)
        with app.app_context():
            handle = task.using(label="Mine", owner="7", result_ttl=0).submit()
            handle.result(PATIENCE)
            assert (handle.job.label, handle.job.owner) == ("Mine", "7")
            assert [job.id for job in bg.jobs(owner="7")] == [handle.id]
            store = app.extensions["bgtask"].store
            assert store.purge(time.time() + 1) == 1
            assert not bg.jobs().items

    def test_queue_full(self, make_app: Any, bg: BackgroundTasks, gate: Any) -> None:
        """Over the limit nothing is accepted; scheduled jobs do not count."""
        app = make_app(**self.config, BGTASK_WORKERS=1, BGTASK_MAX_QUEUED=3)
        with app.app_context():
            gate.task.submit(0)
            gate.wait_for()
            waiting = [gate.task.submit(n) for n in range(3)]
            with pytest.raises(QueueFull):
                gate.task.submit(3)
            gate.task.using(delay=3600).submit(4)
            assert len(bg.jobs()) == 5
            gate.opened.set()
            for handle in waiting:
                handle.result(PATIENCE)
            assert gate.task.submit(5).result(PATIENCE) == 5
