"""What a job takes along of the context in which it is submitted."""

from __future__ import annotations

from typing import Any

from ..context import (
    OWNER,
    REQUEST,
    RunningJob,
    capture_builtin,
    freeze_request,
    request_of,
    submitting_job,
)
from ..errors import ArgumentError
from ..options import CARRIED, Options
from ..runtime import Runtime


def capture(runtime: Runtime, options: Options) -> dict[str, Any]:
    """The data of the carriers; a task's own jobs inherit what it has.

    :raises ArgumentError: the request is to be carried, and there is none.
    """
    carried = capture_builtin(runtime.app)
    parent = submitting_job()
    if parent is not None and runtime.running.get(parent.id) is not parent:
        parent = None  # a job of another app
    if parent is not None:
        carried = {**parent.carried, **carried}
        if carried.pop(REQUEST, None) is not None:
            # It works in a snapshot, which may lack what tells the user.
            carried[OWNER] = parent.carried.get(OWNER)
    for carrier in runtime.registry.carriers:
        data = carrier.capture()
        if data is not None:
            carried[carrier.name] = data
    if options.request:
        carried[REQUEST] = _request(runtime, parent, options)
    if options.owner is not CARRIED:
        carried[OWNER] = options.owner
    return carried


def _request(runtime: Runtime, parent: RunningJob | None, options: Options) -> dict[str, Any]:
    request = request_of(runtime.app)
    if request is not None:
        return freeze_request(request, credentials=not options.durable)
    if parent is not None and REQUEST in parent.carried:
        return dict(parent.carried[REQUEST])
    raise ArgumentError("request=True", "needs a request of this app, and there is none here")
