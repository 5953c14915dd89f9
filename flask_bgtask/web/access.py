"""Who may do what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import current_app
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ..context import user_id
from ..errors import JobNotFound
from ..job import Job
from .problems import Problem, not_found

if TYPE_CHECKING:
    from ..extension import BackgroundTasks

#: ``fn(action, job)`` that decides who may do what over HTTP; ``None`` is a no, like ``False``.
Authorizer = Callable[[str, Job | None], bool | BaseResponse | None]

#: Actions with one job that its status has links to.
LINKED = ("result", "cancel", "retry")

HOW_TO_OPEN = (
    "Nobody may do this here until the application says who may: register a function with "
    "@bg.authorize that takes (action, job) and returns True or False. With app.debug or "
    "app.testing everything is open."
)


class Access:
    """Decides what the client of the present request may do.

    The function of ``@bg.authorize`` always decides, if there is one. It is asked anew for each
    request and job; what goes wrong in it refuses everything.
    """

    def __init__(self, bg: BackgroundTasks) -> None:
        self._bg = bg

    def allows(self, action: str, job: Job | None = None) -> bool:
        """Whether the action is allowed; a ``Response`` of the application counts as no."""
        return self._decide(action, job) is True

    def require(self, action: str, job: Job | None = None) -> None:
        """End the request unless the action is allowed.

        :raises Problem: 403.
        :raises HTTPException: with the ``Response`` that the application answers instead.
        """
        decision = self._decide(action, job)
        if decision is True:
            return
        if decision is not False:
            raise HTTPException(response=decision)
        opened = self._bg.authorizer is not None
        raise Problem(403, "You may not do this." if opened else HOW_TO_OPEN, action=action)

    def job(self, job_id: str) -> Job:
        """The job, if the client may know of it.

        :raises Problem: 404, for an unknown id and a job that is not the client's alike.
        """
        job = self._get(job_id)
        if job is None:
            raise not_found(job_id)
        decision = self._decide("view", job)
        if decision is False:
            raise not_found(job_id)
        if decision is not True:
            raise HTTPException(response=decision)
        return job

    def find(self, job_id: str) -> Job | None:
        """The job, if it is there and the client may know of it."""
        job = self._get(job_id)
        return job if job is not None and self.allows("view", job) else None

    def rights(self, job: Job) -> frozenset[str] | None:
        """Which of the things that links lead to are allowed; ``None``: not even to see it."""
        if not self.allows("view", job):
            return None
        return frozenset(each for each in LINKED if self.allows(each, job))

    def _get(self, job_id: str) -> Job | None:
        if not is_job_id(job_id):
            return None
        try:
            return self._bg.get(job_id)
        except JobNotFound:
            return None

    def _decide(self, action: str, job: Job | None) -> bool | BaseResponse:
        authorizer = self._bg.authorizer
        if authorizer is None:
            return _by_default(action, job)
        try:
            answer: Any = current_app.ensure_sync(authorizer)(action, job)
        except HTTPException as error:
            return _of_abort(error)
        except Exception as error:
            current_app.logger.exception("the function of @bg.authorize failed for %r", action)
            raise Problem(500, "The application could not decide who may do this.") from error
        if answer is None:  # what a nullable column of the user's may say
            return False
        if isinstance(answer, (bool, BaseResponse)):
            return answer
        current_app.logger.error(
            "the function of @bg.authorize returned %r for %r: True, False, None or a "
            "Response is expected",
            type(answer),
            action,
        )
        raise Problem(500, "The application could not decide who may do this.")


def is_job_id(text: str) -> bool:
    """Whether the text could be a job's id: 32 hexadecimal digits, in lower case."""
    return len(text) == 32 and not text.strip("0123456789abcdef")


def _of_abort(error: HTTPException) -> bool | BaseResponse:
    """``abort(403)`` and ``abort(404)`` in the function are a plain no."""
    if error.response is None and error.code in (403, 404):
        return False
    if isinstance(error.response, BaseResponse):
        return error.response
    raise error


def _by_default(action: str, job: Job | None) -> bool:
    """What is allowed while the application has said nothing.

    An owner is compared in debug and testing too where Flask-Login can tell who asks, so that an
    application shows each user the same there as in production.
    """
    opened = current_app.debug or current_app.testing
    if job is not None and job.owner is not None and job.owner != user_id():
        return opened and not hasattr(current_app, "login_manager")
    return opened or (action == "view" and job is not None)
