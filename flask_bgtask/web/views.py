"""What is read: the list, one job, its result, health, metrics, events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, request

from ..job import Job, JobState
from ..runtime import Runtime
from .access import Access
from .answers import conditional, json_response, wants_html
from .health import health
from .listing import visible_counts, visible_page
from .pages import index_page, job_page, listing_url
from .problems import Problem
from .queries import Listing, read_listing
from .representation import details, result, retry_after, status
from .sources import JobSource, ListSource
from .streams import has_streams, stream_response

if TYPE_CHECKING:
    from ..extension import BackgroundTasks

Metrics = Callable[[Runtime], str]
"Gives an app's figures as Prometheus text."


def present_runtime() -> Runtime:
    """The run-time state of the request's app."""
    runtime: Runtime = current_app.extensions["bgtask"]
    return runtime


class Views:
    """The reading half of the blueprint."""

    def __init__(self, bg: BackgroundTasks, metrics: Metrics | None) -> None:
        self._access = Access(bg)
        self._metrics = metrics

    def index(self) -> Response:
        """The list of jobs."""
        self._access.require("list")
        runtime, listing = present_runtime(), read_listing(request.args)
        page = visible_page(
            runtime, self._access, listing.wanted, limit=listing.limit, after=listing.after
        )
        counts = visible_counts(runtime, self._access)
        following = None if page.next is None else listing_url(runtime, listing, page.next)
        if wants_html():
            return self._index_page(runtime, listing, page.items, counts, following)
        events = has_streams(runtime)
        jobs = [self._status(runtime, job, events) for job in page]
        return json_response({"jobs": jobs, "counts": counts, "next": following})

    def _index_page(
        self,
        runtime: Runtime,
        listing: Listing,
        jobs: list[Job],
        counts: dict[str, int],
        following: str | None,
    ) -> Response:
        return index_page(
            runtime,
            listing,
            jobs=jobs,
            labels={job.id: job.label for job in jobs if self._access.allows("detail", job)},
            counts=counts,
            following=following,
            manages=self._access.allows("manage"),
            events=has_streams(runtime),
        )

    def job(self, job_id: str) -> Response:
        """One job's status."""
        job, runtime = self._access.job(job_id), present_runtime()
        shown = self.shown(runtime, job)
        page = wants_html()
        response = job_page(runtime, job, shown) if page else json_response(shown)
        again = retry_after(job)
        if again is not None:
            response.headers["Retry-After"] = str(again)
        return response if page else conditional(response)

    def shown(self, runtime: Runtime, job: Job) -> dict[str, Any]:
        """All that the client may know of a job that it sees."""
        shown = self._status(runtime, job, has_streams(runtime))
        if self._access.allows("detail", job):
            shown |= details(runtime, job)
        return shown

    def result(self, job_id: str) -> Response:
        """A job's result."""
        job = self._access.job(job_id)
        self._access.require("result", job)
        if job.state is JobState.SUCCEEDED:
            return json_response(result(present_runtime(), job))
        again = retry_after(job)
        if again is None:
            raise Problem(410, f"The job is {job.state}: there will be no result.")
        headers = {"Retry-After": str(again)}
        raise Problem(409, f"The job is {job.state}: there is no result yet.", headers)

    def job_events(self, job_id: str) -> Response:
        """One job's status, each time that it changes."""
        job = self._access.job(job_id)
        runtime, rights = present_runtime(), self._access.rights(job) or ()
        source = JobSource(runtime, job, rights, request.headers.get("Last-Event-ID"))
        if source.finished:
            # The client has seen the end: this keeps it from coming back (HTML, 9.2.3).
            return Response(status=204)
        return stream_response(runtime, source)

    def events(self) -> Response:
        """The status of each job that changes, of those that the client may see."""
        self._access.require("list")
        runtime = present_runtime()
        seen = request.headers.get("Last-Event-ID")
        return stream_response(runtime, ListSource(runtime, self._access.rights, seen))

    def health(self) -> Response:
        """Whether jobs are taken."""
        return health(present_runtime(), detailed=self._access.allows("metrics"))

    def metrics(self) -> Response:
        """The figures of the app, for Prometheus."""
        self._access.require("metrics")
        if self._metrics is None:
            raise Problem(404, "There are no metrics here.")
        text = self._metrics(present_runtime())
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    def _status(self, runtime: Runtime, job: Job, events: bool) -> dict[str, Any]:
        return status(job, runtime.jobs.status_url(job.id), self._access.allows, events=events)
