"""A job as the commands show it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..job import Job, Progress
from .output import stamp

#: Headings of a list of jobs.
HEAD = ("ID", "STATE", "TASK", "QUEUE", "ATTEMPT", "PROGRESS", "CREATED (UTC)", "LABEL")

_FIELDS = (
    "id", "task", "state", "queue", "priority", "attempt", "max_attempts", "created_at", "run_at",
    "started_at", "finished_at", "label", "owner", "unique", "serial", "durable", "worker",
    "cancel_requested",
)  # fmt: skip


def row(job: Job) -> tuple[object, ...]:
    """One line of a list."""
    progress = _progress(job.progress)
    return job.id, job.state, job.task, job.queue, job.attempt, progress, job.created_at, job.label


def data(job: Job) -> dict[str, Any]:
    """The job as plain data, without what needs the ``detail`` right over HTTP."""
    plain: dict[str, Any] = {name: _plain(getattr(job, name)) for name in _FIELDS}
    done = job.progress
    plain["progress"] = None
    if done is not None:
        plain["progress"] = {**dataclasses.asdict(done), "percent": done.percent}
    plain["error"] = None if job.error is None else {"type": job.error.type}
    return plain


def fields(job: Job, details: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Everything about a job, for people.

    :param details: its arguments, result, error and log lines as plain data.
    """
    for name in _FIELDS:
        yield name.replace("_", " "), getattr(job, name)
    yield "progress", _progress(job.progress)
    for name in ("args", "kwargs", "result"):
        yield name, json.dumps(details[name], ensure_ascii=False)
    for line in details["logs"]:
        yield "log", f"attempt {line['attempt']}, {line['at']}: {line['message']}"
    error = details["error"]
    if error is not None:
        yield "error", f"{error['type']}: {error['message']}"
        yield "traceback", error["traceback"].rstrip()


def _plain(value: object) -> object:
    return stamp(value) if isinstance(value, datetime) else value


def _progress(progress: Progress | None) -> str:
    if progress is None:
        return ""
    total = "" if progress.total is None else f"/{progress.total:g}"
    note = f" {progress.note}" if progress.note else ""
    return f"{progress.done:g}{total}{note}"
