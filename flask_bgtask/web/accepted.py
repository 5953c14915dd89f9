"""The answer of a view that has submitted a job."""

from __future__ import annotations

from typing import Any

from flask import Response, has_request_context

from ..errors import JobNotFound, StoreError
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
    try:
        job = handle.job
        body, seconds = _body(runtime, handle, job), retry_after(job)
    except JobNotFound:  # it waits for the commit of a session, and is not in the store before
        body, seconds = _brief(handle, JobState.SCHEDULED), None
    except StoreError:  # in trouble since it took the job
        body, seconds = _brief(handle, JobState.QUEUED), None
    response = json_response(body, 202)
    response.headers["Retry-After"] = str(seconds or SOONEST)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if handle.status_url is not None:
        response.headers["Location"] = handle.status_url
    return response


def _body(runtime: Runtime, handle: Handle[Any], job: Job) -> dict[str, Any]:
    events = has_request_context() and has_streams(runtime)
    return status(job, handle.status_url, _nothing, events=events)


def _brief(handle: Handle[Any], state: JobState) -> dict[str, Any]:
    """What can be said of a job that cannot be read now."""
    url = handle.status_url
    return {"id": handle.id, "state": state, "links": {} if url is None else {"self": url}}


def _nothing(_: str, __: Job) -> bool:
    return False
