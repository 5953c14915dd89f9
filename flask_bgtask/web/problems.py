"""Errors of the blueprint, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response as BaseResponse

from ..errors import JobNotFound, JobStateError, QueueFull, StoreError
from .answers import json_text

#: Seconds after which a client may try again what was refused for a moment.
TRY_AGAIN = 5


class Problem(HTTPException):
    """Ends the request with a problem document.

    :param code: HTTP status.
    :param detail: what happened and what to do, for people.
    :param headers: sent besides.
    :param members: further members of the document, for programs.
    """

    def __init__(
        self, code: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


def not_found(job_id: str) -> Problem:
    """The answer for a job that is not there and for one that is not the client's alike."""
    return Problem(404, f"There is no job {job_id[:32]!r}.")


def unavailable(detail: str, retry_after: int = TRY_AGAIN) -> Problem:
    """Something is exhausted or out of reach for the moment."""
    return Problem(503, detail, {"Retry-After": str(retry_after)})


def problem_response(problem: Problem) -> Response:
    """The document of a problem."""
    code = problem.code or 500
    document = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(code, "Error"),
        "status": code,
        "detail": problem.detail,
        **problem.members,
    }
    response = Response(json_text(document), code, content_type="application/problem+json")
    response.headers.update(problem.headers)
    return response


def _of_http(error: HTTPException) -> BaseResponse:
    """What the framework, or the application's own hooks, raised."""
    if isinstance(error, Problem):
        return problem_response(error)
    code = error.code or 500
    if error.response is not None or code < 400:
        return error.get_response()
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return problem_response(Problem(code, error.description or error.name, headers))


def _of_store(error: StoreError) -> Response:
    # The message may hold paths and addresses; it is for the log, not for the client.
    current_app.extensions["bgtask"].troubles.tell(error)
    return problem_response(unavailable("The store of the jobs cannot be reached."))


def _of_missing(error: JobNotFound) -> Response:
    return problem_response(not_found(error.job_id))


def _of_state(error: JobStateError) -> Response:
    return problem_response(Problem(409, f"The job is {error.state}: {error.why}."))


def _of_full(error: QueueFull) -> Response:
    return problem_response(unavailable(f"{error.limit} jobs wait already."))


def register_problems(blueprint: Blueprint) -> None:
    """Turn whatever goes wrong in the blueprint, and nowhere else, into problem documents."""
    blueprint.register_error_handler(HTTPException, _of_http)
    blueprint.register_error_handler(StoreError, _of_store)
    blueprint.register_error_handler(JobNotFound, _of_missing)
    blueprint.register_error_handler(JobStateError, _of_state)
    blueprint.register_error_handler(QueueFull, _of_full)
