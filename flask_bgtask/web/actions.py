"""What clients may change: cancel, retry, delete, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import JobNotFound, JobStateError
from ..job import Job
from ..runtime import Runtime
from .access import Access
from .listing import visible_ids
from .problems import Problem
from .queries import Bulk

if TYPE_CHECKING:
    from ..extension import BackgroundTasks

#: Longest name of a queue.
LONGEST_QUEUE = 100


class Actions:
    """Changes in the name of the client of the present request."""

    def __init__(self, bg: BackgroundTasks, runtime: Runtime, access: Access) -> None:
        self._bg = bg
        self._runtime = runtime
        self._access = access
        #: What is done with one job, and the right that it needs.
        self._steps: dict[str, tuple[str, Callable[[Job], object]]] = {
            "cancel": ("cancel", lambda job: bg.cancel(job.id)),
            "retry": ("retry", lambda job: bg.retry(job.id)),
            "delete": ("manage", self._delete),
        }

    def one(self, action: str, job_id: str) -> Job:
        """Cancel or retry one job.

        :raises Problem: 404 or 403.
        :raises JobStateError: the job's state forbids it.
        """
        job = self._access.job(job_id)
        right, step = self._steps[action]
        self._access.require(right, job)
        step(job)
        return self._bg.get(job_id)

    def many(self, bulk: Bulk) -> dict[str, object]:
        """One action on many jobs; says how many were changed, and which not and why.

        :raises Problem: 403; 409 if a filter finds another number of jobs than was expected.
        """
        self._access.require("manage")
        ids = self._expected(bulk) if bulk.ids is None else bulk.ids
        refused = []
        for job_id in ids:
            why = self._try(bulk.action, job_id)
            if why is not None:
                refused.append({"id": job_id, "why": why})
        return {"done": len(ids) - len(refused), "refused": refused}

    def pause(self, queue: str, paused: bool) -> dict[str, object]:
        """Let nobody take jobs of the queue, or let them again.

        :raises Problem: 403, or 404 for what cannot be a queue's name.
        """
        self._access.require("manage")
        if not 1 <= len(queue) <= LONGEST_QUEUE or "\0" in queue:
            raise Problem(404, f"A queue has a name of 1 to {LONGEST_QUEUE} characters.")
        (self._bg.pause if paused else self._bg.resume)(queue)
        return {"queue": queue, "paused": paused}

    def _expected(self, bulk: Bulk) -> list[str]:
        ids = visible_ids(self._runtime, self._access, bulk.wanted, bulk.expect + 1)
        if len(ids) == bulk.expect:
            return ids
        found = f"more than {bulk.expect}" if len(ids) > bulk.expect else str(len(ids))
        raise Problem(
            409, f"You expect {bulk.expect} jobs and the filter finds {found}; nothing was done."
        )

    def _try(self, action: str, job_id: str) -> str | None:
        """Change one job; why not, if not."""
        right, step = self._steps[action]
        job = self._access.find(job_id)
        if job is None:
            return "there is no such job"
        if not self._access.allows(right, job):
            return "you may not do this"
        try:
            step(job)
        except JobNotFound:
            return "there is no such job"
        except JobStateError as error:
            return f"the job is {error.state}: {error.why}"
        return None

    def _delete(self, job: Job) -> None:
        if not self._runtime.store.delete(job.id):
            raise JobStateError(job.id, self._bg.get(job.id).state, "only an ended job is deleted")
