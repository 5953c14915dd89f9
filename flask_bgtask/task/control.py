"""Stopping jobs and running them again."""

from __future__ import annotations

import time

from ..errors import JobStateError
from ..job import RETRIABLE, Job, JobState, Record
from ..runtime import Runtime
from ..signals import job_retrying


def cancel(runtime: Runtime, job_id: str) -> Job:
    """End a waiting job; ask a running one to stop at its next checkpoint.

    :raises JobNotFound: there is no such job.
    :raises JobStateError: it has ended.
    """
    while True:
        if runtime.cancel_waiting(job_id):
            return runtime.jobs.get(job_id)
        asked = runtime.store.change(job_id, {"cancel_requested": True}, states=(JobState.RUNNING,))
        if asked is not None:
            runtime.ask_to_stop(job_id)
            return runtime.jobs.show(asked)
        record = runtime.jobs.record(job_id)
        if record.state.finished:
            raise JobStateError(job_id, record.state, "it has ended already")


def retry(runtime: Runtime, job_id: str) -> Job:
    """Queue a job that did not end well again, with the arguments of its submission.

    :raises JobNotFound: there is no such job.
    :raises JobStateError: its state forbids it, or its arguments are gone.
    :raises DuplicateJob: another job holds its ``unique`` key by now.
    """
    again = requeue(runtime, job_id)
    runtime.deliver(again)
    return runtime.jobs.show(again)


def requeue(runtime: Runtime, job_id: str) -> Record:
    """The same where this process runs no jobs: one that does will find the row.

    :raises JobNotFound: there is no such job.
    :raises JobStateError: its state forbids it, or its arguments are gone.
    :raises DuplicateJob: another job holds its ``unique`` key by now.
    """
    record = runtime.jobs.record(job_id)
    if record.state not in RETRIABLE:
        why = "only a failed, cancelled or lost job can be queued again"
        raise JobStateError(job_id, record.state, why)
    if not record.durable:
        why = "it was not durable: its arguments were in memory and are gone"
        raise JobStateError(job_id, record.state, why)
    if record.holds:
        raise JobStateError(job_id, record.state, "the thread of its last attempt still runs")
    again = runtime.store.change(job_id, _anew(), states=(record.state,), token=record.token)
    if again is None:
        raise JobStateError(job_id, runtime.jobs.record(job_id).state, "its state has just changed")
    runtime.send(job_retrying, again)
    return again


def _anew() -> dict[str, object]:
    return {
        "state": JobState.QUEUED,
        "run_at": time.time(),
        "attempt": 0,
        "crashes": 0,
        "token": None,
        "process": None,
        "worker": None,
        "holds": True,
        "cancel_requested": False,
        "drained": False,
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "progress": None,
        "error": None,
        "result": None,
        "memo": None,
    }
