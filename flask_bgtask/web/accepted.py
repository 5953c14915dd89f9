"""The answer of a view that has submitted a job."""

from __future__ import annotations

from typing import Any

from flask import Response, has_request_context

from ..errors import JobNotFound
from ..handle import Handle
from ..job import Job, JobState
from ..runtime import Runtime
from .answers import json_response
from .representation import SOONEST, retry_after, status
from .streams import has_streams


def accepted(runtime: Runtime, handle: Handle[Any]) -> Response:
    """202 with ``Location``, ``Retry-After`` and the status; without a blueprint no ``Location``.

    Of the links only those to the status itself are given: what else the client may do, the
    status page tells it (and not ``authorize``, in a view that is none of its business).
    """
    job = _job(handle)
    response = json_response(_body(runtime, handle, job), 202)
    response.headers["Retry-After"] = str((job and retry_after(job)) or SOONEST)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if handle.status_url is not None:
        response.headers["Location"] = handle.status_url
    return response


def _job(handle: Handle[Any]) -> Job | None:
    try:
        return handle.job
    except JobNotFound:
        return None  # it waits for the commit of a session, and is not in the store before


def _body(runtime: Runtime, handle: Handle[Any], job: Job | None) -> dict[str, Any]:
    url = handle.status_url
    if job is None:
        links = {} if url is None else {"self": url}
        return {"id": handle.id, "state": JobState.SCHEDULED, "links": links}
    events = has_request_context() and has_streams(runtime)
    return status(job, url, _nothing, events=events)


def _nothing(_: str, __: Job) -> bool:
    return False
