"""Who may do what."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import pytest
from flask import abort, redirect, request
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin

ACTIONS = [
    ("list", "GET", "/bgtasks"),
    ("list", "GET", "/bgtasks/events"),
    ("metrics", "GET", "/bgtasks/metrics"),
    ("manage", "POST", "/bgtasks/bulk"),
    ("manage", "POST", "/bgtasks/queues/mail/pause"),
    ("manage", "POST", "/bgtasks/queues/mail/resume"),
    ("result", "GET", "/bgtasks/{id}/result"),
    ("cancel", "POST", "/bgtasks/{id}/cancel"),
    ("retry", "POST", "/bgtasks/{id}/retry"),
]
BULK = {"action": "cancel", "ids": []}


def call(client: FlaskClient, method: str, path: str) -> Any:
    return client.open(path, method=method, json=BULK if method == "POST" else None)


@pytest.fixture
def closed(make_site):
    """An application in production that has said nothing."""
    return make_site()


@pytest.mark.parametrize(("action", "method", "path"), ACTIONS)
def test_in_production_nothing_is_open_by_itself(closed, action, method, path) -> None:
    """Without authorize all but the minimal status is 403, and the text says how to open it."""
    answer = call(closed.client(), method, path.format(id=closed.done()))
    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["action"] == action
    assert "@bg.authorize" in answer.get_json()["detail"]


def test_in_production_who_holds_an_id_reads_the_minimal_status(closed) -> None:
    """No message, no arguments, no result, and no link that leads to a 403."""
    body = closed.client().get(f"/bgtasks/{closed.failed()}").get_json()
    assert body["error"] == {"type": body["error"]["type"]}
    assert body.keys().isdisjoint({"args", "kwargs", "result", "logs"})
    assert body["links"].keys() == {"self"}


def test_in_production_health_says_up_alone(closed) -> None:
    """No detail for who may not read metrics."""
    assert closed.client().get("/bgtasks/health").get_json() == {"health": "up"}


@pytest.mark.parametrize("config", [{"TESTING": True}, {"DEBUG": True}])
def test_in_debug_and_testing_everything_is_open(make_site, config) -> None:
    """Without authorize; also jobs with an owner that nobody could prove to be."""
    site = make_site(**config)
    job_id = site.later(owner="7")
    client = site.client()
    for _, method, path in ACTIONS:
        with call(client, method, path.format(id=job_id)) as answer:
            assert answer.status_code in (200, 409), path
    assert "args" in client.get(f"/bgtasks/{job_id}").get_json()


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "127.0.0.1"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_HOST": "localhost"},
        {"HTTP_AUTHORIZATION": "Basic YTpi"},
    ],
)
def test_addresses_decide_nothing(closed, environ) -> None:
    """A local address opens nothing."""
    answer = closed.client().get("/bgtasks", environ_overrides=environ)
    assert answer.status_code == 403


def test_authorize_decides_in_debug_and_testing_too(site) -> None:
    """A given function is always asked; its no is a plain 403, of a job 404."""
    job_id = site.done()
    site.bg.authorize(lambda action, job: False)
    client = site.client()
    assert client.get("/bgtasks").status_code == 403
    assert "@bg.authorize" not in client.get("/bgtasks").get_json()["detail"]
    assert client.get(f"/bgtasks/{job_id}").status_code == 404
    assert client.get("/bgtasks/health").get_json() == {"health": "up"}


def test_authorize_is_asked_with_action_and_job(closed) -> None:
    """Each action has its name, and its job if it is about one."""
    job_id = closed.failed()
    asked = []

    @closed.bg.authorize
    def allow(action, job) -> bool:
        asked.append((action, job and job.id))
        return True

    for action, method, path in ACTIONS:
        asked.clear()
        call(closed.client(), method, path.format(id=job_id)).close()
        about = job_id if "{id}" in path else None
        assert (action, about) in asked
        if about:
            assert asked[0] == ("view", job_id)


def test_authorize_lets_in_where_an_owner_is_another(closed) -> None:
    """What it lets in is let in, whoever owns the job."""
    job_id = closed.later(owner="7")
    closed.bg.authorize(lambda action, job: action in ("view", "detail"))
    assert "args" in closed.client().get(f"/bgtasks/{job_id}").get_json()


@pytest.mark.parametrize("answer", [1, "yes", 0, (), "", object()])
def test_any_other_answer_of_authorize_is_an_error(closed, answer, caplog) -> None:
    """Only True, False, None and a Response are answers; nothing is open by mistake."""
    job_id = closed.done()
    closed.bg.authorize(lambda action, job: answer)
    caplog.set_level(logging.ERROR)
    for path in ("/bgtasks", f"/bgtasks/{job_id}"):
        response = closed.client().get(path)
        assert response.status_code == 500
        assert response.content_type == "application/problem+json"
    assert "authorize" in caplog.text


def test_none_of_authorize_is_a_no(closed, caplog) -> None:
    """As of ``user.is_authenticated and user.is_administrator``, if the column has no value."""
    job_id = closed.done()
    closed.bg.authorize(lambda action, job: None)
    assert closed.client().get("/bgtasks").status_code == 403
    assert closed.client().get(f"/bgtasks/{job_id}").status_code == 404
    assert closed.client().get("/bgtasks/health").get_json() == {"health": "up"}
    assert caplog.records == []


def test_a_failing_authorize_opens_nothing(site, caplog) -> None:
    """500, logged with its traceback, without what it said."""
    job_id = site.done()

    @site.bg.authorize
    def allow(action, job) -> bool:
        raise RuntimeError("the user's table is away")

    for path in ("/bgtasks", f"/bgtasks/{job_id}", "/bgtasks/health"):
        answer = site.client().get(path)
        assert answer.status_code == 500
        assert b"table" not in answer.data
    assert "the user's table is away" in caplog.text


def test_a_response_of_authorize_is_sent_as_it_is(closed) -> None:
    """Such as a redirect to the login."""
    job_id = closed.done()
    closed.bg.authorize(lambda action, job: redirect("/login"))
    for method, path in (
        ("GET", "/bgtasks"),
        ("GET", f"/bgtasks/{job_id}"),
        ("GET", f"/bgtasks/{job_id}/result"),
        ("POST", f"/bgtasks/{job_id}/cancel"),
    ):
        answer = call(closed.client(), method, path)
        assert (answer.status_code, answer.location) == (302, "/login")
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("code", "expected"), [(403, 403), (404, 403), (401, 401)])
def test_abort_in_authorize(closed, code, expected) -> None:
    """403 and 404 are a no; 401 is what the application wants to say."""
    closed.bg.authorize(lambda action, job: abort(code))
    assert closed.client().get("/bgtasks").status_code == expected
    job_id = closed.done()
    assert closed.client().get(f"/bgtasks/{job_id}").status_code == (401 if code == 401 else 404)


def test_a_list_leaves_out_what_view_refuses(closed) -> None:
    """Pages are full all the same, and counts are of what is seen."""
    mine = [closed.later(queue="mine") for _ in range(3)]
    for _ in range(20):
        closed.later(queue="other", label="secret plan")
    mine += [closed.later(queue="mine") for _ in range(2)]
    closed.bg.authorize(
        lambda action, job: action == "list" or (action == "view" and job.queue == "mine")
    )
    client = closed.client()
    body = client.get("/bgtasks?limit=4").get_json()
    assert [job["id"] for job in body["jobs"]] == mine[:0:-1]
    assert body["counts"]["scheduled"] == 5
    rest = client.get(body["next"]).get_json()
    assert [job["id"] for job in rest["jobs"]] == mine[:1]
    for query in ("queue=other", "q=secret", "state=scheduled&queue=other"):
        assert client.get(f"/bgtasks?{query}").get_json()["jobs"] == []


def test_counts_are_of_all_for_who_may_read_the_metrics(closed) -> None:
    """They tell the same figures."""
    closed.later(queue="other")
    closed.bg.authorize(lambda action, job: action in ("list", "metrics"))
    body = closed.client().get("/bgtasks").get_json()
    assert (body["jobs"], body["counts"]["scheduled"]) == ([], 1)


def test_a_label_cannot_be_found_out_by_searching(closed) -> None:
    """Who may view but not read details finds a job by id and task alone."""
    job_id = closed.later(label="secret plan")
    rights = {"list", "view"}
    closed.bg.authorize(lambda action, job: action in rights)
    client = closed.client()
    assert client.get("/bgtasks?q=secret").get_json()["jobs"] == []
    assert len(client.get(f"/bgtasks?q={job_id}").get_json()["jobs"]) == 1
    assert b"secret plan" not in client.get("/bgtasks", headers={"Accept": "text/html"}).data
    rights.add("detail")
    assert len(client.get("/bgtasks?q=secret").get_json()["jobs"]) == 1
    assert b"secret plan" in client.get("/bgtasks", headers={"Accept": "text/html"}).data


def test_a_response_of_authorize_for_one_job_leaves_it_out_of_lists(closed) -> None:
    """In a list, and in bulk, a redirect is a no."""
    job_id = closed.later()
    closed.bg.authorize(lambda action, job: job is None or redirect("/login"))
    client = closed.client()
    assert client.get("/bgtasks").get_json()["jobs"] == []
    body = {"action": "cancel", "ids": [job_id]}
    answer = client.post("/bgtasks/bulk", json=body).get_json()
    assert answer == {"done": 0, "refused": [{"id": job_id, "why": "there is no such job"}]}


def test_an_owner_cannot_be_found_out_by_searching(closed) -> None:
    """Who may view but not read details finds no job by its owner, unless that is himself."""
    with_users(closed)
    job_id = closed.later(owner="7")
    rights = {"list", "view"}
    closed.bg.authorize(lambda action, job: action in rights)
    client = closed.client()
    assert client.get("/bgtasks?owner=7").get_json()["jobs"] == []
    assert client.get("/bgtasks?owner=7", headers=as_user(8)).get_json()["jobs"] == []
    mine = client.get("/bgtasks?owner=7", headers=as_user(7)).get_json()["jobs"]
    assert [job["id"] for job in mine] == [job_id]
    rights.add("detail")
    assert len(client.get("/bgtasks?owner=7").get_json()["jobs"]) == 1


@pytest.mark.parametrize("query", ["", "q=secret+plan", "task=failing", "state=scheduled"])
def test_a_next_page_tells_nothing_of_the_jobs_of_others(closed, query: str) -> None:
    """There is one only if something on it is for this client."""
    for _ in range(3):
        closed.later(owner="7", label="secret plan")
    mine = closed.later(owner="8", label="my secret plan")
    with_users(closed)
    closed.bg.authorize(lambda action, job: job is None or job.owner == request.headers["X-User"])
    body = closed.client().get(f"/bgtasks?limit=1&{query}", headers=as_user(8)).get_json()
    assert [job["id"] for job in body["jobs"]] in ([mine], [])
    assert body["next"] is None
    theirs = closed.client().get(f"/bgtasks?limit=1&{query}", headers=as_user(7)).get_json()
    assert len(theirs["jobs"]) == (0 if query == "task=failing" else 1)


def test_links_are_those_that_are_allowed(closed) -> None:
    """A link never leads to a 403."""
    job_id = closed.failed()
    rights = {"view"}
    closed.bg.authorize(lambda action, job: action in rights)
    assert "retry" not in closed.client().get(f"/bgtasks/{job_id}").get_json()["links"]
    rights.add("retry")
    assert "retry" in closed.client().get(f"/bgtasks/{job_id}").get_json()["links"]


class User(UserMixin):
    def __init__(self, number: int) -> None:
        self.id = number


def with_users(site) -> None:
    """Flask-Login with users that are named in a header."""

    def load(request) -> User | None:
        number = request.headers.get("X-User")
        return None if number is None else User(int(number))

    LoginManager(site.app).request_loader(load)


def as_user(number: int | None) -> dict[str, str]:
    return {} if number is None else {"X-User": str(number)}


@pytest.mark.parametrize("config", [{}, {"TESTING": True}])
def test_an_owned_job_answers_to_its_owner_alone(make_site, config) -> None:
    """For anybody else it is exactly what an unknown id is."""
    site = make_site(**config)
    with_users(site)
    job_id, unknown = site.later(owner="7"), "0" * 32
    client = site.client()
    assert client.get(f"/bgtasks/{job_id}", headers=as_user(7)).status_code == 200
    for other in (8, None):
        for method, end in (
            ("GET", ""),
            ("GET", "/result"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
        ):
            answers = [
                client.open(f"/bgtasks/{each}{end}", method=method, headers=as_user(other))
                for each in (job_id, unknown)
            ]
            assert answers[0].status_code == answers[1].status_code == 404
            assert answers[0].data.replace(job_id.encode(), b"") == answers[1].data.replace(
                unknown.encode(), b""
            )
            assert dict(answers[0].headers) == dict(answers[1].headers)


def test_the_owner_is_carried_from_the_request(make_site) -> None:
    """Who submitted a job in a request sees it."""
    site = make_site()
    with_users(site)

    @site.app.post("/report")
    def report() -> dict[str, str]:
        return {"id": site.bg.using(delay=60).submit(str).id}

    client = site.client()
    job_id = client.post("/report", headers=as_user(7)).get_json()["id"]
    assert client.get(f"/bgtasks/{job_id}", headers=as_user(7)).status_code == 200
    assert client.get(f"/bgtasks/{job_id}", headers=as_user(8)).status_code == 404


def test_without_flask_login_nobody_is_the_owner(closed) -> None:
    """Only authorize can let anybody in; a header or a session cannot."""
    job_id = closed.later(owner="7")
    with closed.client() as client:
        with client.session_transaction() as session:
            session["_user_id"] = session["user_id"] = "7"
        assert client.get(f"/bgtasks/{job_id}").status_code == 404
        assert client.get(f"/bgtasks/{job_id}", headers=as_user(7)).status_code == 404


def test_owned_jobs_do_not_leak_in_lists(make_site) -> None:
    """With Flask-Login, in testing: not in the list, by a filter, or in bulk."""
    site = make_site(TESTING=True)
    with_users(site)
    job_id = site.later(owner="7", label="secret plan")
    client = site.client()
    for query in ("", "?owner=7", "?q=secret", f"?q={job_id}", "?state=scheduled"):
        body = client.get(f"/bgtasks{query}", headers=as_user(8)).get_json()
        assert body["jobs"] == []
        body = client.get(f"/bgtasks{query}", headers=as_user(7)).get_json()
        assert [job["id"] for job in body["jobs"]] == [job_id]
    answer = client.post(
        "/bgtasks/bulk", json={"action": "cancel", "ids": [job_id]}, headers=as_user(8)
    )
    assert answer.get_json()["refused"] == [{"id": job_id, "why": "there is no such job"}]
    bulk = {"action": "cancel", "filter": {"owner": "7"}, "expect": 1}
    assert client.post("/bgtasks/bulk", json=bulk, headers=as_user(8)).status_code == 409


def test_the_authorizer_may_use_the_request(closed) -> None:
    """It runs in the request that it decides on."""
    closed.bg.authorize(lambda action, job: request.headers.get("X-Key") == "sesame")
    assert closed.client().get("/bgtasks").status_code == 403
    assert closed.client().get("/bgtasks", headers={"X-Key": "sesame"}).status_code == 200


def test_an_async_authorizer_is_no_yes(closed) -> None:
    """Flask runs a coroutine where asgiref is installed; without it nothing is open."""

    @closed.bg.authorize
    async def allow(action, job) -> bool:
        return False

    assert closed.client().get("/bgtasks").status_code == (403 if find_spec("asgiref") else 500)
