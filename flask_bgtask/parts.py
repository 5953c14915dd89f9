"""Puts the parts of an app's run-time state together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flask import Flask, request, request_started

from .config import Settings, store_setting
from .engine import Engine
from .engines.inline import InlineEngine
from .engines.threads import ThreadsEngine
from .errors import ConfigError
from .recovery import Recovery, Watcher
from .runner import Runner
from .runtime import Runtime
from .scheduler import Ticker
from .store import Store
from .stores.memory import MemoryStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What executes jobs and keeps house for one app in one process."""

    runner: Runner
    watcher: Watcher
    recovery: Recovery
    ticker: Ticker


def make_parts(runtime: Runtime) -> Parts:
    """The parts, which open nothing and start nothing by themselves."""
    return Parts(Runner(runtime), Watcher(runtime), Recovery(runtime), Ticker(runtime))


def check(settings: Settings) -> None:
    """Refuse settings that have a meaning, and that this version cannot make a part for.

    :raises ConfigError: there is one.
    """
    if settings.engine != "threads":
        raise ConfigError("BGTASK_ENGINE", settings.engine, "this version has 'threads' only")
    if settings.store not in (None, "memory"):
        _file(settings.store)


def make_store(runtime: Runtime) -> Store:
    """The store that the app's configuration names at this moment.

    :raises ConfigError: it was set after ``init_app``, and there is no such store.
    """
    setting = store_setting(runtime.app)
    if setting == "memory":
        _warn_of_memory(runtime)
        return MemoryStore(runtime.app.name, takes_jobs=runtime.takes_jobs)
    return _sqlite(runtime, Path(runtime.app.instance_path) / _file(setting))


def _file(setting: str) -> str:
    """The file that a setting of the store names; a relative one is in the instance folder."""
    if setting == "sqlite":
        return "bgtask.sqlite3"
    scheme, _, file = setting.partition(":///")
    if scheme != "sqlite":
        allowed = "this version has stores 'sqlite' and 'memory' only"
        raise ConfigError("BGTASK_STORE", setting, allowed)
    return file


def _warn_of_memory(runtime: Runtime) -> None:
    """Say what the memory store cannot do here, once for each process."""
    app = runtime.app
    if app.testing:
        return
    if not runtime.capacity.workers:
        app.logger.warning(
            "BGTASK_STORE is 'memory' and this process runs no jobs: nobody ever will. Set "
            "BGTASK_STORE = 'sqlite', or leave BGTASK_RUN_WORKERS out"
        )

    def look(_: Flask, **__: object) -> None:
        request_started.disconnect(look, app)
        if request.environ.get("wsgi.multiprocess"):
            app.logger.warning(
                "BGTASK_STORE is 'memory' under several server processes: each knows only its own "
                "jobs, and durable ones end with it. Set BGTASK_STORE = 'sqlite'"
            )

    # The server tells with each request whether there are several (PEP 3333).
    request_started.connect(look, app, weak=False)


def _sqlite(runtime: Runtime, path: Path) -> Store:
    from .stores.sqlite import SQLiteStore

    store = SQLiteStore(
        runtime.app.name,
        path,
        synchronous=runtime.settings.sqlite_synchronous,
        takes_jobs=runtime.takes_jobs,
    )
    store.on_pending = runtime.flush_soon
    return store


def make_engine(runtime: Runtime) -> Engine:
    """The engine of this process; with no workers if it only submits."""
    settings = runtime.settings
    if settings.immediate:
        return InlineEngine(runtime.parts.runner.run_now)
    engine = ThreadsEngine(
        f"bgtask-{runtime.app.name}",
        run=runtime.parts.runner.run,
        store=lambda: runtime.store_as_is,
        claiming=runtime.columns.claiming,
        pending=lambda: bool(runtime.calls),
        keeper=runtime.keeper,
        capacity=runtime.capacity,
        knows=runtime.parts.runner.knows,
        failed=runtime.troubles.tell,
    )
    engine.pause_all(runtime.store_as_is.paused())
    return engine
