"""Whether jobs are taken and run, for load balancers and people."""

from __future__ import annotations

import time
from typing import Any

from flask import Response

from ..errors import StoreError
from ..runtime import Runtime
from .answers import json_response
from .problems import problem_response, unavailable


def health(runtime: Runtime, *, detailed: bool) -> Response:
    """200 while the store can be read, else 503.

    :param detailed: tell of the store, the engine, the workers and what waits too.
    """
    try:
        oldest = runtime.store.oldest_queued()
        # Anybody may ask, as often as he likes: who hears no figures causes none to be gathered.
        figures = _figures(runtime, oldest) if detailed else {}
    except StoreError as error:
        runtime.troubles.tell(error)
        problem = unavailable("The store of the jobs cannot be reached.")
        problem.members = {"health": "down", **({"store": "down"} if detailed else {})}
        return problem_response(problem)
    return json_response({"health": "up", **figures})


def _figures(runtime: Runtime, oldest: float | None) -> dict[str, Any]:
    """``oldest_queued_age`` is in seconds; ``workers`` are ``host:pid`` of the live processes
    that take jobs.
    """
    store = runtime.store
    return {
        "store": "up",
        "engine": runtime.settings.engine,
        "workers": store.processes(working=True),
        "oldest_queued_age": None if oldest is None else max(0.0, time.time() - oldest),
        "unknown_tasks": sorted(runtime.unknown_tasks()),
        "paused": sorted(store.paused()),
    }
