"""Two apps on one ``bg``: every task sees its own app, its own URL root and its own user."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from core_helpers import PATIENCE, add_login
from flask import Flask, current_app, g, request, url_for
from flask_login import current_user

from flask_bgtask import BackgroundTasks, Handle

Apps = Callable[..., Flask]

THREADS = 8
REQUESTS = 100  # of each thread
EACH = 12  # tasks of each request, and one of them submits another


def plain(number: int) -> tuple[Any, ...]:
    return number, current_app.name, url_for("home", _external=True), list(g)


def with_request(number: int) -> tuple[Any, ...]:
    seen = plain(number)
    user, header = current_user.get_id(), request.headers["X-User"]
    return *seen[:3], [] if user == header == request.args["user"] else [user, header]


def test_10_000_tasks_of_two_apps(make_app: Apps, bg: BackgroundTasks) -> None:
    """Requests to both are interleaved from 8 threads."""
    apps = [make_app(name, BGTASK_WORKERS=4) for name in ("one", "two")]

    def nested(number: int) -> tuple[Any, ...]:
        return bg.submit(plain, number).result(PATIENCE)

    submitted: dict[str, list[Handle[Any]]] = {}
    owners: dict[str, set[str | None]] = {}

    def view() -> str:
        handles = [bg.submit(plain, number) for number in range(EACH - 6)]
        handles += [bg.using(request=True).submit(with_request, n) for n in range(EACH - 6, EACH)]
        handles.append(bg.submit(nested, EACH))
        user = request.args["user"]
        submitted[user] = handles
        owners[user] = {handles[0].job.owner, handles[-1].job.owner}
        return "ok"

    for app in apps:
        add_login(app)
        app.add_url_rule("/", "home", view)
    barrier = threading.Barrier(THREADS)

    def visit(thread: int) -> None:
        clients = [app.test_client() for app in apps]
        barrier.wait(PATIENCE)
        for number in range(REQUESTS):
            user = f"{thread}-{number}"
            response = clients[number % 2].get(
                f"/?user={user}", base_url=f"https://{user}.example/", headers={"X-User": user}
            )
            assert response.text == "ok"

    with ThreadPoolExecutor(THREADS) as pool:
        for visitor in [pool.submit(visit, thread) for thread in range(THREADS)]:
            visitor.result(60)
    everything = [handle for handles in submitted.values() for handle in handles]
    assert wait(everything, 60).not_done == set()
    assert len(everything) >= 10_000
    for user, handles in submitted.items():
        app = ("one", "two")[int(user.partition("-")[2]) % 2]
        expected = [(n, app, f"https://{user}.example/", []) for n in range(EACH + 1)]
        assert [handle.result() for handle in handles] == expected
        assert owners[user] == {user}
