"""A job's status as clients read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import current_app

from ..job import RETRIABLE, Job, JobError, JobState, Progress
from ..runtime import Runtime
from .masking import shown_arguments

#: Seconds after which a client should look again, at least and at most.
SOONEST, LATEST = 1, 60

Allows = Callable[[str, Job], bool]
"Whether the client may do an action with a job."


def status(job: Job, base: str | None, allows: Allows, *, events: bool) -> dict[str, Any]:
    """What everybody sees who may see the job.

    :param base: path of the job's status page, if there is one.
    :param events: whether there are event streams here.
    """
    return {
        "id": job.id,
        "task": job.task,
        "state": job.state,
        "progress": _progress(job.progress),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
        "error": None if job.error is None else {"type": job.error.type},
        "result_available": job.state is JobState.SUCCEEDED,
        "links": _links(base, job, allows, events),
    }


def details(runtime: Runtime, job: Job) -> dict[str, Any]:
    """What only those see besides who have the ``detail`` right."""
    args, kwargs = shown_arguments(runtime, job)
    return {
        "error": _error(job.error),
        "args": args,
        "kwargs": kwargs,
        "result": result(runtime, job),
        "logs": [
            {"attempt": line.attempt, "at": _time(line.at), "message": line.message}
            for line in job.logs
        ],
    }


def result(runtime: Runtime, job: Job) -> Any:
    """The result as plain data; nothing is loaded for it, references stay what they are."""
    text = job.record.result
    if job.state is not JobState.SUCCEEDED or text is None:
        return None
    try:
        return runtime.codec.plain(text)
    except Exception:
        current_app.logger.exception("the stored result of job %s cannot be read", job.id)
        return None


def may_cancel(job: Job) -> bool:
    """Whether the job's state lets it be cancelled (again)."""
    return not job.state.finished and not job.cancel_requested


def may_retry(job: Job) -> bool:
    """Whether the job's state lets it run again: its arguments have to be in the store."""
    return job.state in RETRIABLE and job.durable


def retry_after(job: Job) -> int | None:
    """Seconds until something may have changed; ``None`` once the job ended."""
    if job.state.finished:
        return None
    if job.state is not JobState.SCHEDULED:
        return SOONEST
    wait = (job.run_at - datetime.now(UTC)).total_seconds()
    return max(SOONEST, min(LATEST, math.ceil(wait)))


def _links(base: str | None, job: Job, allows: Allows, events: bool) -> dict[str, str]:
    if base is None:
        return {}
    links = {"self": base}
    if events and not job.state.finished:
        links["events"] = f"{base}/events"
    if job.state is JobState.SUCCEEDED and allows("result", job):
        links["result"] = f"{base}/result"
    if may_cancel(job) and allows("cancel", job):
        links["cancel"] = f"{base}/cancel"
    if may_retry(job) and allows("retry", job):
        links["retry"] = f"{base}/retry"
    return links


def _progress(progress: Progress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "done": progress.done,
        "total": progress.total,
        "note": progress.note,
        "percent": progress.percent,
    }


def _error(error: JobError | None) -> dict[str, str] | None:
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
