"""``using(request=True)``: a task works as if within the request, which is long over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate, User, add_login
from flask import (
    Flask,
    abort,
    current_app,
    g,
    has_request_context,
    request,
    session,
    url_for,
)
from flask_login import current_user, login_user
from werkzeug.datastructures import Authorization

from flask_bgtask import ArgumentError, BackgroundTasks, current_job

Apps = Callable[..., Flask]

BOTH = pytest.mark.parametrize("durable", [False, True], ids=["volatile", "durable"])


def described() -> dict[str, Any]:
    """What a task sees of the request."""
    return {
        "method": request.method,
        "url": request.url,
        "base": request.url_root,
        "path": request.path,
        "args": request.args.to_dict(flat=False),
        "agent": request.headers["User-Agent"],
        "languages": list(request.accept_languages.values()),
        "custom": request.headers.get("X-Custom"),
        "address": request.remote_addr,
        "route": request.access_route,
        "endpoint": request.endpoint,
        "view_args": request.view_args,
        "secure": request.is_secure,
        "type": request.content_type,
        "link": url_for("shop", name="x"),
    }


@BOTH
def test_it_looks_like_the_request(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """Method, URL, arguments, headers, client address and the matched rule."""

    @app.route("/shops/<name>", methods=["PUT"], endpoint="shop")
    def shop(name: str) -> list[Any]:
        return [described(), bg.using(request=True, durable=durable).submit(described).result()]

    answer = app.test_client().put(
        "/shops/caf%C3%A9?q=ü&q=2",
        base_url="https://example.org:8443/sub",
        json={"body": 1},
        headers={
            "User-Agent": "tests/1",
            "Accept-Language": "de, en;q=0.5",
            "X-Custom": "one",
            "X-Forwarded-For": "192.0.2.9",
        },
        environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
    )
    in_request, in_task = answer.json
    assert in_request["address"] == "192.0.2.1"
    assert in_task == in_request


@BOTH
def test_there_is_no_body(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """Neither data nor form nor files came along, and reading them does not fail."""
    for given in ({"json": {"a": 1}}, {"data": {"a": "1"}}, {"data": b"raw"}):
        with app.test_request_context(method="POST", **given):
            handle = bg.using(request=True, durable=durable).submit(body)
            assert handle.result(PATIENCE) == ["", 0, 0, None, None]


def body() -> list[Any]:
    """All that could be left of the body."""
    return [
        request.get_data().decode(),
        len(request.form),
        len(request.files),
        request.get_json(silent=True),
        request.content_length,
    ]


def credentials() -> list[Any]:
    """What could log somebody in."""
    authorization = request.authorization
    return [
        dict(request.cookies),
        None if authorization is None else authorization.username,
        request.headers.get("Proxy-Authorization"),
    ]


def test_credentials_stay_in_the_process(app: Flask, bg: BackgroundTasks) -> None:
    """A job that may be stored leaves ``Authorization`` and ``Cookie`` out; another has them."""
    task = bg.task(credentials, name="credentials", request=True)
    headers = {"Cookie": "a=1; b=2", "Proxy-Authorization": "Basic x"}
    auth = Authorization("basic", {"username": "ann", "password": "secret"})
    with app.test_request_context(headers=headers, auth=auth):
        volatile = bg.using(request=True).submit(credentials)
        assert volatile.result(PATIENCE) == [{"a": "1", "b": "2"}, "ann", "Basic x"]
        durable = task.submit()
        assert durable.result(PATIENCE) == [{}, None, None]
        stored = durable.job.record.carried
    assert stored is not None
    assert "Basic" not in stored
    assert "a=1" not in stored


@BOTH
def test_the_session(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """It can be read, as it was at submit."""
    task = bg.task(lambda: [dict(session), session.get("user"), "cart" in session], name="look")

    @app.get("/")
    def view() -> list[Any]:
        session["user"] = "ann"
        session["cart"] = {"apples": [1, 2]}
        gate = Gate()
        workers = [bg.submit(gate) for _ in range(current_app.config["BGTASK_WORKERS"])]
        handle = task.using(request=True, durable=durable).submit()
        session["cart"]["apples"].append(3)
        session["user"] = "bob"
        gate.open()
        for worker in workers:
            worker.result(PATIENCE)
        return handle.result(PATIENCE)

    found = app.test_client().get("/").json
    assert found == [{"user": "ann", "cart": {"apples": [1, 2]}}, "ann", True]


@pytest.mark.parametrize(
    "change",
    [
        lambda: session.__setitem__("a", 2),
        lambda: session.__delitem__("a"),
        lambda: session.pop("a"),
        lambda: session.clear(),
        lambda: session.update(a=2),
        lambda: session.setdefault("b", 2),
        lambda: session.popitem(),
        lambda: session._get_current_object().__ior__({"a": 2}),
    ],
)
def test_the_session_cannot_be_changed(
    app: Flask, bg: BackgroundTasks, change: Callable[[], Any]
) -> None:
    """The response with its cookie is gone: a change would be lost, so it is an error."""
    with app.test_request_context():
        session["a"] = 1
        handle = bg.using(request=True).submit(change)
        error = handle.exception(PATIENCE)
        assert isinstance(error, TypeError)
        assert "snapshot" in str(error)
        assert dict(session) == {"a": 1}


def test_each_attempt_has_its_own(app: Flask, bg: BackgroundTasks) -> None:
    """What an attempt does to the request, or to a list in the session, the next does not see."""

    def spoil() -> list[Any]:
        found = [list(session["cart"]), getattr(request, "mark", None), list(g)]
        session["cart"].append("spoiled")
        request.mark = g.mark = 1  # type: ignore[attr-defined]
        if current_job.attempt == 1:
            raise ValueError("again")
        return found

    with app.test_request_context():
        session["cart"] = ["apple"]
        handle = bg.using(request=True, retries=1, backoff=0).submit(spoil)
        assert handle.result(PATIENCE) == [["apple"], None, []]
        assert session["cart"] == ["apple"]


@BOTH
def test_current_user_works_in_it(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """Flask-Login finds the user of the session, as in the request."""
    add_login(app)
    task = bg.task(lambda: str(current_user.get_id()), name="who", durable=durable, request=True)

    @app.post("/login")
    def login() -> str:
        login_user(User("7"))
        return task.submit().result(PATIENCE)

    @app.get("/again")
    def again() -> str:
        return task.submit().result(PATIENCE)

    client = app.test_client()
    assert client.post("/login").text == "7"
    assert client.get("/again").text == "7"
    assert app.test_client().get("/again").text == "None"


def test_outside_a_request(make_app: Apps, bg: BackgroundTasks) -> None:
    """A clear error at submit; so in a request of another app. Nothing is queued."""
    one, two = make_app("one"), make_app("two")
    with one.app_context():
        with pytest.raises(ArgumentError, match="request=True needs a request of this app"):
            bg.using(request=True).submit(int)
        assert bg.jobs().items == []
    with two.test_request_context(), one.app_context():
        with pytest.raises(ArgumentError, match="request=True"):
            bg.using(request=True).submit(int)
        assert bg.jobs().items == []


def test_a_task_hands_its_snapshot_on(app: Flask, bg: BackgroundTasks) -> None:
    """Within a snapshot ``request=True`` takes it again; without the option nothing is taken."""

    def outer() -> list[Any]:
        again = bg.using(request=True).submit(lambda: request.headers["X-Name"])
        without = bg.submit(has_request_context)
        return [again.result(PATIENCE), without.result(PATIENCE)]

    with app.test_request_context(headers={"X-Name": "ann"}):
        assert bg.using(request=True).submit(outer).result(PATIENCE) == ["ann", False]


def test_teardown_handlers(app: Flask, bg: BackgroundTasks) -> None:
    """Those of the request and those of the app run once, with the task's exception."""
    error, seen = ValueError("mine"), []
    app.teardown_request(lambda given: seen.append(("request", given)) if current_job else None)
    app.teardown_appcontext(lambda given: seen.append(("app", given)) if current_job else None)

    def fail() -> None:
        raise error

    with app.test_request_context():
        assert bg.using(request=True).submit(fail).exception(PATIENCE) is error
        assert seen == [("request", error), ("app", error)]
        seen.clear()
        bg.using(request=True).submit(int).result(PATIENCE)
        assert seen == [("request", None), ("app", None)]


def test_a_failing_teardown_changes_no_result(app: Flask, bg: BackgroundTasks, caplog: Any) -> None:
    """An error of a request's teardown function is logged, like one of the app's."""

    @app.teardown_request
    def teardown(_: BaseException | None) -> None:
        if current_job:
            raise RuntimeError("teardown")

    def fail() -> None:
        raise ValueError("the task's own")

    with app.test_request_context(), caplog.at_level(logging.ERROR):
        assert bg.using(request=True).submit(int, "3").result(PATIENCE) == 3
        [record] = caplog.records
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "teardown"
        error = bg.using(request=True).submit(fail).exception(PATIENCE)
        assert str(error) == "the task's own"


def test_no_request_handling_happens(app: Flask, bg: BackgroundTasks) -> None:
    """The functions before and after a request are not called, nor an error handler."""
    called: list[str] = []
    app.before_request(lambda: called.append("before"))
    app.after_request(lambda response: called.append("after") or response)
    app.register_error_handler(404, lambda _: called.append("handler") or "")
    with app.test_request_context():
        handle = bg.using(request=True).submit(abort, 404)
        assert getattr(handle.exception(PATIENCE), "code", None) == 404
    assert called == []


def test_an_unknown_client_address_stays_unknown(app: Flask, bg: BackgroundTasks) -> None:
    """Behind a Unix socket there is none."""
    with app.test_request_context(environ_overrides={"REMOTE_ADDR": None}):
        assert request.remote_addr is None
        assert bg.using(request=True).submit(lambda: request.remote_addr).result(PATIENCE) is None


def test_a_session_that_cannot_be_stored(app: Flask, bg: BackgroundTasks) -> None:
    """A session kept on the server may hold anything; a durable job names what it cannot take."""
    with app.test_request_context():
        session["thing"] = [object()]
        with pytest.raises(ArgumentError) as caught:
            bg.task(int, name="number", request=True).submit()
        assert caught.value.path == "carried['request']['session']['thing'][0]"
        assert bg.jobs().items == []


def test_without_a_secret_key(make_app: Apps, bg: BackgroundTasks) -> None:
    """There is no session then, and the task finds an empty one."""
    app = make_app()
    app.secret_key = None
    with app.test_request_context():
        assert bg.using(request=True).submit(lambda: dict(session)).result(PATIENCE) == {}


def test_what_it_submits_has_its_owner(app: Flask, bg: BackgroundTasks) -> None:
    """Also where the credentials that tell the user were left out, or an owner was given."""
    add_login(app)

    def nested() -> str | None:
        return bg.submit(int).job.owner

    task = bg.task(nested, name="nested", request=True)
    with app.test_request_context(headers={"X-User": "7"}):
        assert task.submit().result(PATIENCE) == "7"
        assert task.using(owner="8").submit().result(PATIENCE) == "8"
        assert task.using(owner=None).submit().result(PATIENCE) is None
    with app.test_request_context(headers={"Authorization": "Bearer 7"}):
        assert task.submit().result(PATIENCE) == "7"
