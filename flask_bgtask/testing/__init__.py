"""Helpers for the tests of applications: no job is waited for with a sleep.

See :mod:`flask_bgtask.testing.plugin` for the pytest fixtures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from ..context import inside
from ..engines.inline import HoldingEngine, InlineEngine
from ..job import WAITING, Job, JobState
from ..runtime import Runtime
from ..store import Filter

__all__ = ["Captured", "capture", "drain", "immediate"]

#: Seconds between two looks at the jobs in :func:`drain`.
LOOK_EVERY = 0.01


@contextmanager
def immediate(app: Flask) -> Iterator[None]:
    """Run each job inside its ``submit``, in a fresh context and through the same encoding.

    Delays, the waits before retries and timeouts are skipped. A failure is in the handle, as
    always.
    """
    runtime = _runtime(app)
    with runtime.using_engine(InlineEngine(runtime.parts.runner.run_now)):
        yield


@contextmanager
def capture(app: Flask) -> Iterator[Captured]:
    """Record what is submitted and run none of it, unless told to by :meth:`Captured.run_all`."""
    runtime = _runtime(app)
    engine = HoldingEngine(runtime.parts.runner.run_now)
    with runtime.using_engine(engine):
        captured = Captured(runtime, engine)
        try:
            yield captured
        finally:
            captured.discard()


class Captured:
    """What was submitted in a :func:`capture` block."""

    def __init__(self, runtime: Runtime, engine: HoldingEngine) -> None:
        self._runtime = runtime
        self._engine = engine
        self._before = {job.id for job in runtime.jobs.page(Filter(), limit=10_000)}

    @property
    def jobs(self) -> list[Job]:
        """The jobs as they are now, oldest first."""
        page = self._runtime.jobs.page(Filter(), limit=10_000)
        return [job for job in reversed(page.items) if job.id not in self._before]

    def arguments(self, job: Job) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of a captured job, as its task would get them."""
        call = self._runtime.calls.get(job.id)
        with inside(self._runtime.app):
            if call is not None and call.prepared is not None:
                return call.prepared.attempt()[1:]
            text = self._runtime.jobs.record(job.id).arguments  # a list of jobs comes without
            return self._runtime.codec.decode_arguments(text or "")

    def run_all(self) -> None:
        """Run what was captured, and what that submits, in order; delays are skipped."""
        while (job_id := self._engine.take()) is not None:
            self._runtime.parts.runner.run_now(job_id)

    def discard(self) -> None:
        """Cancel what did not run."""
        while (job_id := self._engine.take()) is not None:
            self._runtime.cancel_waiting(job_id)


def drain(app: Flask, timeout: float = 10) -> bool:
    """Wait until every job of the app has ended; the workers stay.

    A job that is scheduled for later than the timeout is not waited for.

    :param timeout: seconds.
    :raises TimeoutError: some have not ended; the message names them.
    """
    runtime = _runtime(app)
    end = time.time() + timeout
    pause = threading.Event()
    while unfinished := _unfinished(runtime, end):
        if time.time() >= end:
            names = ", ".join(f"{job.task} ({job.state}, {job.id})" for job in unfinished)
            raise TimeoutError(f"after {timeout} s these jobs have not ended: {names}")
        pause.wait(LOOK_EVERY)
    return True


def _unfinished(runtime: Runtime, end: float) -> list[Job]:
    found = []
    for state in (JobState.RUNNING, *WAITING):
        found += runtime.jobs.page(Filter(state=state), limit=100).items
    return [
        job for job in found if job.state is not JobState.SCHEDULED or job.run_at.timestamp() <= end
    ]


def _runtime(app: Flask) -> Runtime:
    runtime = app.extensions.get("bgtask")
    if not isinstance(runtime, Runtime):
        raise RuntimeError(f"Flask-BgTask is not initialised on {app.name!r}")
    return runtime
