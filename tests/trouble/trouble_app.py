"""The application of the trouble tests; what happens to it is set in its environment."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import Any

from flask import Flask, request

from flask_bgtask import BackgroundTasks, BgTaskError, current_job

if "NO_LOCKS" in os.environ:
    import fcntl

    def _no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.lockf = _no_locks

if "CLOCK" in os.environ:
    # Seconds by which the clock is wrong, in a file that the test writes.
    _true_time = time.time

    def _wrong_time() -> float:
        try:
            with open(os.environ["CLOCK"]) as file:
                return _true_time() + float(file.read() or 0)
        except FileNotFoundError:
            return _true_time()

    time.time = _wrong_time

bg = BackgroundTasks()


def note(word: str, key: str) -> None:
    """Append a line with one call, so that none is torn or lost with its process."""
    line = f"{time.monotonic():.4f} {word} {key} {os.getpid()}\n"
    file = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def bare(key: str, seconds: float = 0.0) -> str:
    """A function that is no task: in the store its name is signed."""
    note("begin", key)
    threading.Event().wait(seconds)
    note("end", key)
    return key


@bg.task(retries=1)
def work(key: str, seconds: float = 0.0) -> str:
    """Notes its beginning and its end."""
    return bare(key, seconds)


@bg.task
def chatty(key: str, seconds: float) -> None:
    """Shows its progress all the time."""
    note("begin", key)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        current_job.progress(1, 2)
        current_job.log("a line")
        threading.Event().wait(0.02)
    note("end", key)


if os.environ.get("RELEASE") == "new":
    import release  # it has a function that the old release of this module lacks, or is new

    bg.task(release.fresh, name="fresh")

if "TICK" in os.environ:
    bg.periodic(every=1)(bg.task(lambda: note("tick", "tick"), name="tick"))


def create_app() -> Flask:
    app = Flask(os.environ.get("NAME", __name__), instance_path=os.environ["INSTANCE"])
    app.config.update(SECRET_KEY="trouble tests")
    app.config.from_prefixed_env("APP")
    bg.init_app(app)
    bg.authorize(lambda action, job: True)

    @app.post("/jobs")
    def submit() -> Any:
        given = request.args
        note("sent", given["key"])
        args = [given["key"], float(given.get("seconds", "0"))]
        options: dict[str, Any] = {"delay": float(given["delay"])} if "delay" in given else {}
        try:
            if "function" in given:
                function = release.fresh if given["function"] == "fresh" else bare
                durable = given["function"] != "volatile"
                handle = bg.using(durable=durable, **options).submit(function, *args)
            else:
                name = given.get("task", "work")
                task = bg.tasks["fresh" if name == "fresh" else f"{__name__}.{name}"]
                handle = task.using(**options).submit(*args)
        except BgTaskError as error:
            return {"error": f"{type(error).__name__}: {error}"}, 503
        return bg.accepted(handle)

    @app.get("/")
    def index() -> str:
        return str(os.getpid())

    return app


app = create_app()
