"""The application of the crash tests: each attempt writes what it does to a file of its own."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from flask import Flask, request

from flask_bgtask import BackgroundTasks, QueueFull, current_job

bg = BackgroundTasks()


def note(word: str, what: str) -> None:
    """Append a line with one call, so that none is torn or lost with its process."""
    line = f"{time.time():.4f} {word} {what} {os.getpid()}\n"
    file = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


@bg.task
def work(key: str, seconds: float) -> str:
    note("begin", key)
    threading.Event().wait(seconds)
    note("end", key)
    return key


@bg.task(on_crash="fail")
def once(key: str, seconds: float) -> None:
    note("begin", key)
    threading.Event().wait(seconds)
    note("end", key)


@bg.task
def poison() -> None:
    note("begin", "poison")
    os.kill(os.getpid(), 9)


@bg.task
def watched(seconds: float) -> None:
    """Runs until it is cancelled."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        current_job.checkpoint()
        threading.Event().wait(0.01)


@bg.task
def tick() -> None:
    note("tick", f"{time.time():.0f}")


if "TICK" in os.environ:
    bg.periodic(every=1)(tick)


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE"])
    app.config.update(SECRET_KEY="crash tests", DEBUG=False)
    app.config.from_prefixed_env("APP")
    bg.init_app(app)
    bg.authorize(lambda action, job: True)

    @app.post("/jobs")
    def submit() -> Any:
        task = bg.tasks[f"crash_app.{request.args.get('task', 'work')}"]
        given = request.args
        options: dict[str, Any] = {n: given[n] for n in ("unique", "serial") if n in given}
        options["delay"] = float(given.get("delay", "0"))
        args = [] if task.name.endswith("poison") else [request.args["key"]]
        if not task.name.endswith("poison"):
            args.append(float(request.args.get("seconds", "0.05")))
        try:
            return bg.accepted(task.using(**options).submit(*args))
        except QueueFull as full:
            return {"error": str(full)}, 503

    @app.get("/")
    def index() -> str:
        return str(os.getpid())

    return app


app = create_app()
