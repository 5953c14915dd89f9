"""``GET /bgtasks/<id>`` and ``/result``; the form of every answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bgtask import BackgroundTasks, current_job

STATUS = {
    "id", "task", "state", "progress", "attempt", "max_attempts", "created_at", "started_at",
    "finished_at", "error", "result_available", "links",
}  # fmt: skip
DETAILS = {"args", "kwargs", "result", "logs"}


def test_status_has_the_keys_of_the_contract(site, client: FlaskClient) -> None:
    """With the detail right a status has the arguments, the result and the log too."""
    body = client.get(f"/bgtasks/{site.done(str, 7)}").get_json()
    assert body.keys() == STATUS | DETAILS
    assert (body["state"], body["result"], body["result_available"]) == ("succeeded", "7", True)
    assert datetime.fromisoformat(body["finished_at"]).utcoffset() is not None
    assert body["error"] is None


def test_status_shows_progress_and_logs(site, client: FlaskClient) -> None:
    """What a task says of itself is in its status."""

    def work() -> None:
        current_job.log("begun")
        current_job.progress(1, 4, "a quarter")

    body = client.get(f"/bgtasks/{site.done(work)}").get_json()
    assert body["progress"] == {"done": 1, "total": 4, "note": "a quarter", "percent": 25.0}
    assert [(line["attempt"], line["message"]) for line in body["logs"]] == [(1, "begun")]


def test_status_shows_the_error(site, client: FlaskClient) -> None:
    """With the detail right the error has its message and traceback."""
    error = client.get(f"/bgtasks/{site.failed()}").get_json()["error"]
    assert error.keys() == {"type", "message", "traceback"}
    assert "it went wrong" in error["message"]


def test_etag_is_strong_and_revalidates(site, client: FlaskClient) -> None:
    """A client that has the present status gets 304; a changed status has another ETag."""
    job_id = site.later()
    first = client.get(f"/bgtasks/{job_id}")
    etag = first.headers["ETag"]
    assert etag.startswith('"')
    again = client.get(f"/bgtasks/{job_id}", headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "no-store"
    assert client.post(f"/bgtasks/{job_id}/cancel").status_code == 200
    changed = client.get(f"/bgtasks/{job_id}", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_retry_after_while_unfinished(site, client: FlaskClient) -> None:
    """Retry-After is there while something may change, and follows the time of a scheduled job."""
    assert client.get(f"/bgtasks/{site.running()}").headers["Retry-After"] == "1"
    assert client.get(f"/bgtasks/{site.later(delay=20)}").headers["Retry-After"] == "20"
    assert client.get(f"/bgtasks/{site.later()}").headers["Retry-After"] == "60"
    assert "Retry-After" not in client.get(f"/bgtasks/{site.done()}").headers


def test_links_lead_where_the_job_can_go(site, client: FlaskClient) -> None:
    """Each state has the links that are of use in it, below the script root."""

    def links(job_id: str) -> dict[str, str]:
        path = f"/bgtasks/{job_id}"
        found = client.get(path, base_url="http://localhost/shop").get_json()["links"]
        assert found.pop("self") == f"/shop{path}"
        assert all(url == f"/shop{path}/{name}" for name, url in found.items())
        return found

    assert links(site.later()).keys() == {"events", "cancel"}
    assert links(site.done()).keys() == {"result"}
    assert links(site.failed()).keys() == {"retry"}


def test_a_running_job_that_is_asked_to_stop_has_no_cancel_link(site, client: FlaskClient) -> None:
    """Asking twice is of no use."""
    job_id = site.running()
    links = client.post(f"/bgtasks/{job_id}/cancel").get_json()["links"]
    assert "cancel" not in links


@pytest.mark.parametrize(
    "result", [None, 42, "text", [1, {"a": None}], {"größe": 1.5}, float("inf")]
)
def test_result_as_json(site, client: FlaskClient, result: Any) -> None:
    """The result's own body is the result, as valid JSON."""
    answer = client.get(f"/bgtasks/{site.done(lambda: result)}/result")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert b"Infinity" not in answer.data
    if result != float("inf"):
        assert answer.get_json() == result


def test_no_result_yet_and_never(site, client: FlaskClient) -> None:
    """409 while a job is unfinished, 410 once it failed."""
    waiting = client.get(f"/bgtasks/{site.later()}/result")
    assert (waiting.status_code, waiting.headers["Retry-After"]) == (409, "60")
    assert client.get(f"/bgtasks/{site.failed()}/result").status_code == 410


@pytest.mark.parametrize(
    "path",
    [
        "/bgtasks/" + "0" * 32,
        "/bgtasks/" + "0" * 32 + "/result",
        "/bgtasks/" + "0" * 32 + "/events",
        "/bgtasks/" + "0" * 31,
        "/bgtasks/" + "A" * 32,
        "/bgtasks/" + "٣" * 32,
        "/bgtasks/%00",
        "/bgtasks/a%0ab",
        "/bgtasks/no/such%0d%0athing",
        "/bgtasks/../../etc/passwd",
        "/bgtasks/<script>",
        "/bgtasks/static/nothing.css",
        "/bgtasks/static/../blueprint.py",
        "/bgtasks/no/such/thing",
        "/bgtasks/" + "a" * 5000,
    ],
)
def test_what_is_not_there_is_a_problem(client: FlaskClient, path: str) -> None:
    """404 as problem+json for every unknown path below the prefix."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert (body["type"], body["status"], body["title"]) == ("about:blank", 404, "Not Found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/bgtasks", "GET, HEAD, OPTIONS"),
        ("DELETE", "/bgtasks/" + "0" * 32, "GET, HEAD, OPTIONS"),
        ("GET", "/bgtasks/bulk", "OPTIONS, POST"),
        ("PUT", "/bgtasks/queues/mail/pause", "OPTIONS, POST"),
        ("GET", "/bgtasks/" + "0" * 32 + "/cancel", "OPTIONS, POST"),
        ("TRACE", "/bgtasks/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_methods_are_problems(
    client: FlaskClient, method: str, path: str, allow: str
) -> None:
    """405 is problem+json too, with what is allowed; OPTIONS says the same."""
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Allow"] == allow
    options = client.options(path)
    assert (options.status_code, options.headers["Allow"]) == (204, allow)


def test_head_has_no_body(site, client: FlaskClient) -> None:
    """HEAD answers as GET does, without the body."""
    job_id = site.done()
    for path in ("/bgtasks", f"/bgtasks/{job_id}", f"/bgtasks/{job_id}/events", "/bgtasks/health"):
        answer = client.head(path)
        assert (answer.status_code, answer.data) == (200, b"")


def test_the_list_answers_with_and_without_a_slash(client: FlaskClient) -> None:
    """No redirect for either."""
    assert client.get("/bgtasks").status_code == 200
    assert client.get("/bgtasks/").status_code == 200


def test_every_answer_has_the_headers(site, client: FlaskClient) -> None:
    """no-store, nosniff and a strict policy on all answers, also on errors and static files."""
    for path in ("", "/none", "/health", f"/{site.done()}", "/static/bgtask.css", "?limit=x"):
        with client.get(f"/bgtasks{path}") as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert {"Accept", "Cookie"} <= set(answer.vary)


def test_the_rest_of_the_application_keeps_its_own_errors(site) -> None:
    """Problems and headers are the blueprint's alone."""
    answer = site.client().get("/elsewhere")
    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert "Content-Security-Policy" not in answer.headers
    assert site.client().post("/bgtasksy").content_type.startswith("text/html")


def test_without_a_prefix_there_is_no_blueprint(make_site) -> None:
    """``BGTASK_URL_PREFIX = None`` leaves it out."""
    site = make_site(TESTING=True, BGTASK_URL_PREFIX=None)
    assert site.client().get("/bgtasks").status_code == 404
    assert "bgtask" not in site.app.blueprints


def test_another_prefix(make_site) -> None:
    """All URLs follow the prefix."""
    site = make_site(TESTING=True, BGTASK_URL_PREFIX="/admin/jobs")
    job_id = site.done()
    body = site.client().get("/admin/jobs").get_json()
    assert body["jobs"][0]["links"]["self"] == f"/admin/jobs/{job_id}"


def test_apps_of_one_bg_see_their_own_jobs_alone() -> None:
    """One blueprint object serves any number of apps."""
    bg = BackgroundTasks()
    apps = []
    for name in ("one", "two"):
        app = Flask(name)
        app.config.update(TESTING=True, BGTASK_STORE="memory")
        bg.init_app(app)
        apps.append(app)
    ids = []
    for app in apps:
        with app.app_context():
            handle = bg.submit(str)
            handle.result(10)
            ids.append(handle.id)
    for app, mine, other in zip(apps, ids, reversed(ids), strict=True):
        client = app.test_client()
        assert client.get(f"/bgtasks/{mine}").status_code == 200
        assert client.get(f"/bgtasks/{other}").status_code == 404
    bg.shutdown(cancel_futures=True)


def test_a_store_out_of_reach_is_a_503(site, client: FlaskClient, monkeypatch) -> None:
    """The problem says so, without what the driver said."""
    from flask_bgtask.errors import StoreError

    def broken(*_: Any, **__: Any) -> Any:
        raise StoreError("/srv/private/path is gone")

    monkeypatch.setattr(site.app.extensions["bgtask"].store, "get", broken)
    answer = client.get("/bgtasks/" + "0" * 32)
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert "Retry-After" in answer.headers
    assert b"private" not in answer.data


def test_what_nobody_thought_of_is_a_500(make_site, monkeypatch, caplog) -> None:
    """As a problem, logged by the application, without what happened."""
    site = make_site()

    def broken(*_: Any, **__: Any) -> Any:
        raise LookupError("private")

    monkeypatch.setattr(site.app.extensions["bgtask"].store, "get", broken)
    answer = site.client().get("/bgtasks/" + "0" * 32)
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert b"private" not in answer.data
    assert answer.headers["Cache-Control"] == "no-store"
    assert "private" in caplog.text
