"""What the commands work on: the application that ``flask`` loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import current_app

from ..errors import ConfigError
from ..job import Job
from ..runtime import Runtime

if TYPE_CHECKING:
    from ..extension import BackgroundTasks

#: Where an app keeps its site, in ``app.extensions``.
KEY = "bgtask.cli"


@dataclass(frozen=True, slots=True)
class Site:
    """One app, and what upper floors hand down to the commands."""

    bg: BackgroundTasks
    runtime: Runtime
    details: Callable[[Runtime, Job], dict[str, Any]]
    "What is known of a job besides its status; arguments with their secrets masked."
    finish: Callable[[], None]
    "Says that this process comes to its end."


def current_site() -> Site:
    """The site of the app whose command runs."""
    return cast(Site, current_app.extensions[KEY])


def read_only() -> Runtime | None:
    """The runtime of the current app, to read its jobs; ``None`` if it never had any.

    Nothing is made just because somebody looks: no file, no folder.

    :raises ConfigError: the jobs are in the memory of another process.
    """
    runtime = current_site().runtime
    used_here = runtime.has_store
    store = runtime.store
    if not (store.shared or used_here):
        raise ConfigError(
            "BGTASK_STORE",
            "memory",
            "the jobs are in the memory of the process that serves the application, and no "
            "command can look into it: see the status pages, or set BGTASK_STORE to 'sqlite'",
        )
    return None if store.file is not None and not store.file.exists() else runtime
