"""The blueprint: which URL leads where."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import PathConverter
from werkzeug.wrappers import Response as BaseResponse

from .access import Access
from .actions import Actions
from .answers import add_headers, json_response, wants_html
from .csrf import check_unsafe
from .pages import see_page
from .problems import Problem, register_problems
from .queries import read_bulk
from .views import Metrics, Views, present_runtime

if TYPE_CHECKING:
    from ..extension import BackgroundTasks

#: Every method of RFC 9110 and RFC 5789, so that the wrong ones are answered here as well.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

View = Callable[..., BaseResponse]


def create_blueprint(bg: BackgroundTasks, *, metrics: Metrics | None = None) -> Blueprint:
    """The status pages and the HTTP interface of a ``BackgroundTasks``, for all of its apps.

    :param metrics: gives an app's figures as Prometheus text; without it there are none.
    """
    blueprint = Blueprint(
        "bgtask", "flask_bgtask.web", static_folder="static", static_url_path="/static"
    )
    blueprint.record(_add_converter)
    views, changes = Views(bg, metrics), Changes(bg)
    rules: list[tuple[str, tuple[str, ...], dict[str, View]]] = [
        ("index", ("", "/"), {"GET": views.index}),
        ("events", ("/events",), {"GET": views.events}),
        ("health", ("/health",), {"GET": views.health}),
        ("metrics", ("/metrics",), {"GET": views.metrics}),
        ("bulk", ("/bulk",), {"POST": changes.bulk}),
        ("pause", ("/queues/<bgtask_path:queue>/pause",), {"POST": changes.pause}),
        ("resume", ("/queues/<bgtask_path:queue>/resume",), {"POST": changes.resume}),
        ("job", ("/<job_id>",), {"GET": views.job}),
        ("result", ("/<job_id>/result",), {"GET": views.result}),
        ("job_events", ("/<job_id>/events",), {"GET": views.job_events}),
        ("cancel", ("/<job_id>/cancel",), {"POST": changes.cancel}),
        ("retry", ("/<job_id>/retry",), {"POST": changes.retry}),
        ("nothing", ("/<bgtask_path:rest>",), {}),
    ]
    for endpoint, paths, methods in rules:
        view = _dispatch(methods)
        for path in paths:
            blueprint.add_url_rule(
                path, endpoint, view, methods=METHODS, provide_automatic_options=False
            )
    register_problems(blueprint)
    blueprint.after_request(add_headers)
    return blueprint


class AnyPath(PathConverter):
    """A path in which line breaks may be as well, so that no path below the prefix is left out."""

    regex = "[^/](?s:.*?)"


def _add_converter(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["bgtask_path"] = AnyPath


def _dispatch(methods: dict[str, View]) -> View:
    """A view that answers each method itself, the wrong ones with a problem.

    Flask's own routing would answer those outside the blueprint, with the application's page.
    """
    allowed = {"OPTIONS", *methods, *(("HEAD",) if "GET" in methods else ())}
    allow = {"Allow": ", ".join(sorted(allowed))}

    def view(**values: Any) -> BaseResponse:
        if not methods:
            raise Problem(404, "There is nothing here.")
        method = "GET" if request.method == "HEAD" else request.method
        if method in methods:
            return methods[method](**values)
        if method == "OPTIONS":
            return Response(status=204, headers=allow)
        raise Problem(405, f"{request.method} means nothing here.", allow)

    return view


class Changes:
    """The writing half of the blueprint."""

    def __init__(self, bg: BackgroundTasks) -> None:
        self._bg = bg
        self._access = Access(bg)
        self._views = Views(bg, None)

    def cancel(self, job_id: str) -> BaseResponse:
        """Cancel one job."""
        return self._one("cancel", job_id)

    def retry(self, job_id: str) -> BaseResponse:
        """Queue one job again."""
        return self._one("retry", job_id)

    def _one(self, action: str, job_id: str) -> BaseResponse:
        form = check_unsafe()
        runtime = present_runtime()
        job = Actions(self._bg, runtime, self._access).one(action, job_id)
        if form and wants_html():
            return see_page(runtime, job.id)
        return json_response(self._views.shown(runtime, job))

    def bulk(self) -> BaseResponse:
        """One action on many jobs."""
        form = check_unsafe()
        runtime, bulk = present_runtime(), read_bulk(form)
        done = Actions(self._bg, runtime, self._access).many(bulk)
        return see_page(runtime) if form and wants_html() else json_response(done)

    def pause(self, queue: str) -> BaseResponse:
        """Let nobody take jobs of a queue."""
        return self._pause(queue, True)

    def resume(self, queue: str) -> BaseResponse:
        """Let the jobs of a queue be taken again."""
        return self._pause(queue, False)

    def _pause(self, queue: str, paused: bool) -> BaseResponse:
        form = check_unsafe()
        runtime = present_runtime()
        done = Actions(self._bg, runtime, self._access).pause(queue, paused)
        return see_page(runtime) if form and wants_html() else json_response(done)
