"""Code as users write it, that only has to type-check; never run.

Lines that end in ``# wrong`` have to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

from flask import Flask, Response, redirect
from werkzeug.wrappers import Response as BaseResponse

from flask_bgtask import BackgroundTasks, Handle, Job, MailReceipt, Page, Task, current_job

bg = BackgroundTasks()


@bg.task
def report(project: int, *, draft: bool = False) -> str:
    for _ in current_job.track(range(project)):
        current_job.progress(1, 2, note="half")
    return "report.pdf"


@bg.task(retries=3, queue="slow")
def configured(name: str) -> int:
    return len(name)


@bg.task
async def fetched(url: str) -> bytes:
    return url.encode()


@bg.task(timeout=5)
async def configured_fetch(url: str) -> bytes:
    return url.encode()


def plain(a: int, b: str = "") -> float:
    return float(a)


async def asynchronous(a: int) -> str:
    return str(a)


assert_type(report.submit(7), Handle[str])
assert_type(report.submit(7, draft=True), Handle[str])
assert_type(report(7), str)
assert_type(report.using(delay=5).submit(7), Handle[str])
assert_type(configured.submit("x"), Handle[int])
assert_type(fetched.submit("x"), Handle[bytes])
assert_type(configured_fetch.submit("x"), Handle[bytes])
assert_type(bg.submit(plain, 1, b="x"), Handle[float])
assert_type(bg.submit(asynchronous, 1), Handle[str])
assert_type(bg.using(queue="x").submit(plain, 1), Handle[float])
assert_type(bg.submit(plain, 1).result(), float)
assert_type(bg.map(plain, [1, 2]), Iterator[float])
assert_type(bg.get("x"), Job)
assert_type(bg.jobs(), Page[Job])
assert_type(bg.accepted(bg.submit(plain, 1)), Response)

bg.submit(plain, "1")  # wrong
bg.submit(plain)  # wrong
bg.submit(plain, 1, c=2)  # wrong
report.submit("7")  # wrong
report.submit(7, final=True)  # wrong
report.using(delay=5).submit()  # wrong
bg.using(queue="x").submit(plain, b=1)  # wrong
fetched.submit(1)  # wrong


def create_app() -> Flask:
    app = Flask(__name__)
    bg.init_app(app)

    @bg.authorize
    def allowed(action: str, job: Job | None) -> bool:
        return action == "view"

    @bg.authorize
    def by_login(action: str, job: Job | None) -> bool | BaseResponse | None:
        return redirect("/login") if job is None else None

    @bg.authorize  # wrong
    def by_number(action: str, job: Job | None) -> int:
        return 1

    @bg.periodic(every=60)
    @bg.task
    def tidy() -> None: ...

    assert_type(tidy, Task[[], None])
    return app


def receipt(handle: Handle[MailReceipt]) -> str:
    return handle.result().message_id
