"""The application of the worker tests: each task writes down where it ran."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any

from flask import Flask, request

from flask_bgtask import BackgroundTasks

bg = BackgroundTasks()


def note(word: str, key: str) -> None:
    """Append ``word pid key`` with one call, so that no line is torn."""
    file = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word} {os.getpid()} {key}\n".encode())
    os.close(file)


@bg.task
def work(key: str, seconds: float) -> None:
    note("begin", key)
    threading.Event().wait(seconds)
    note("end", key)


@bg.task
def family(key: str, seconds: float) -> None:
    """Jobs of a job, which only its own process can run, one of them in a queue of its own."""
    bg.submit(note, "child", key).result(20)
    bg.using(queue="other", serial="one").submit(note, "child", key).result(20)
    note("end", key)


@bg.task
def helper(key: str, seconds: float) -> None:
    """A forked child that is told to end before it would by itself."""
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait, args=(30,))
    child.start()
    child.terminate()
    child.join(20)
    note(f"status{child.exitcode}", key)
    note("end", key)


if os.environ.get("PERIODIC"):

    @bg.periodic(every=1)
    @bg.task
    def tick() -> None:
        note("tick", "")


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE"])
    app.config.update(SECRET_KEY="worker tests")
    app.config.from_prefixed_env("APP")
    bg.init_app(app)
    bg.authorize(lambda action, job: True)

    @app.get("/submit")
    def submit() -> Any:
        given = request.args
        task = bg.tasks[f"worker_app.{given.get('task', 'work')}"]
        queued = task.using(queue=given.get("queue", "default"))
        return queued.submit(given["key"], float(given.get("seconds", "0"))).id

    @app.get("/")
    def index() -> str:
        return str(os.getpid())

    return app


app = create_app()
