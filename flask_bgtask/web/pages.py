"""Pages for people: rendered here, readable without a script.

The environment of the templates is our own. That of the application may have other delimiters,
no autoescape, and context processors that have nothing to do with these pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from flask import Response, redirect
from jinja2 import Environment, PackageLoader, StrictUndefined
from werkzeug.wrappers import Response as BaseResponse

from ..job import Job, JobState
from ..runtime import Runtime
from .answers import json_text
from .csrf import FIELD, page_token
from .queries import BULK_ACTIONS, PAGE, Listing

#: Characters of a text (traceback, result, log line) that a page shows at most.
LONGEST_SHOWN = 20_000


def index_page(
    runtime: Runtime,
    listing: Listing,
    *,
    jobs: list[Job],
    labels: Mapping[str, str | None],
    counts: Mapping[str, int],
    following: str | None,
    manages: bool,
    events: bool,
) -> Response:
    """The list of jobs, with filters and paging, and what may be done with many at once.

    :param labels: of the jobs whose label the client may see.
    """
    paused = runtime.store.paused() if manages else frozenset()
    queues = sorted(paused | runtime.settings.queues.keys() | {job.queue for job in jobs})
    return _page(
        runtime,
        "index.html",
        jobs=jobs,
        labels=labels,
        counts=counts,
        listing=listing,
        following=following,
        manages=manages,
        queues=queues if manages else [],
        paused=paused,
        actions=BULK_ACTIONS,
        page_size=PAGE,
        events=f"{_root(runtime)}/events" if events else None,
    )


def job_page(runtime: Runtime, job: Job, shown: Mapping[str, Any]) -> Response:
    """One job: state, progress and what may be done; with the ``detail`` right all the rest.

    :param shown: the status that the client may read as JSON.
    """
    return _page(
        runtime,
        "job.html",
        job=job,
        shown=shown,
        links=shown["links"],
        detailed="args" in shown,
        unfinished=not job.state.finished,
    )


def listing_url(runtime: Runtime, listing: Listing, after: str | None = None) -> str:
    """Path of the same list from another place on."""
    query: dict[str, object] = dict(listing.filters)
    if listing.limit != PAGE:
        query["limit"] = listing.limit
    if after is not None:
        query["after"] = after
    return f"{_root(runtime)}?{urlencode(query)}" if query else _root(runtime)


def see_page(runtime: Runtime, job_id: str | None = None) -> BaseResponse:
    """Send a browser back to a page of ours, never to an address that it came with."""
    root = _root(runtime)
    return redirect(f"{root}/{job_id}" if job_id else root, 303)


def _root(runtime: Runtime) -> str:
    """Path of the list, below the request's script root."""
    return (runtime.jobs.status_url("") or "").rstrip("/")


def _page(runtime: Runtime, template: str, **values: Any) -> Response:
    token = page_token()
    text = (
        _templates()
        .get_template(template)
        .render(
            root=_root(runtime),
            app_name=runtime.app.name,
            token=None if token is None else token.value,
            token_field=FIELD,
            states=list(JobState),
            now=datetime.now(UTC),
            **values,
        )
    )
    # A lone surrogate, as in the name of a file, is no text that can be sent.
    response = Response(text.encode("utf-8", "replace"), content_type="text/html; charset=utf-8")
    if token is not None:
        token.remember(response, _root(runtime))
    return response


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("flask_bgtask.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=_moment, span=_span, shown=_shown)
    return environment


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    """A duration in two units at most."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json_text(value, readable=True)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"
