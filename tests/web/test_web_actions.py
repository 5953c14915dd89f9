"""Cancel, retry, bulk, pause and resume."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

HTML = {"Accept": "text/html,*/*;q=0.8"}


def state_of(site, job_id: str) -> str:
    with site.app.app_context():
        return str(site.bg.get(job_id).state)


def token_of(client: FlaskClient) -> str:
    page = client.get("/bgtasks", headers={"Accept": "text/html"}).get_data(as_text=True)
    return re.findall(r'name="bgtask_token" value="([^"]+)"', page)[0]


def test_cancel_and_retry_answer_with_the_new_status(site, client: FlaskClient) -> None:
    """A waiting job is cancelled at once; a failed one is queued again under its id."""
    waiting, failed = site.later(), site.failed()
    answer = client.post(f"/bgtasks/{waiting}/cancel")
    assert (answer.status_code, answer.get_json()["state"]) == (200, "cancelled")
    answer = client.post(f"/bgtasks/{failed}/retry")
    assert answer.status_code == 200
    assert (answer.get_json()["id"], answer.get_json()["links"]["self"]) == (
        failed,
        f"/bgtasks/{failed}",
    )


def test_cancelling_a_running_job_asks_it_to_stop(site, client: FlaskClient) -> None:
    """It ends at its next checkpoint."""
    job_id = site.running()
    assert client.post(f"/bgtasks/{job_id}/cancel").status_code == 200
    with site.app.app_context():
        handle = site.bg.handle(job_id)
    handle.add_done_callback(lambda _: site.release.set())
    assert site.release.wait(10)
    assert state_of(site, job_id) == "cancelled"


@pytest.mark.parametrize(("action", "make"), [("cancel", "done"), ("retry", "later")])
def test_a_state_that_forbids_it_is_409(site, client: FlaskClient, action, make) -> None:
    """Nothing changes, and the problem says why."""
    job_id = getattr(site, make)()
    before = state_of(site, job_id)
    answer = client.post(f"/bgtasks/{job_id}/{action}")
    assert answer.status_code == 409
    assert answer.content_type == "application/problem+json"
    assert before in answer.get_json()["detail"]
    assert state_of(site, job_id) == before


def test_bulk_by_ids(site, client: FlaskClient) -> None:
    """What could be done is done; the rest is named with the reason."""
    waiting, done = site.later(), site.done()
    ids = [waiting, done, "0" * 32, "nonsense", waiting]
    answer = client.post("/bgtasks/bulk", json={"action": "cancel", "ids": ids}).get_json()
    assert answer["done"] == 1
    assert [each["id"] for each in answer["refused"]] == [done, "0" * 32, "nonsense"]
    assert "succeeded" in answer["refused"][0]["why"]
    assert state_of(site, waiting) == "cancelled"


def test_bulk_retry_and_delete(site, client: FlaskClient) -> None:
    """Delete removes ended jobs alone."""
    failed, done, waiting = site.failed(), site.done(), site.later()
    answer = client.post("/bgtasks/bulk", json={"action": "delete", "ids": [done, waiting]})
    assert answer.get_json()["done"] == 1
    assert answer.get_json()["refused"][0]["id"] == waiting
    assert client.get(f"/bgtasks/{done}").status_code == 404
    answer = client.post("/bgtasks/bulk", json={"action": "retry", "ids": [failed]})
    assert answer.get_json() == {"done": 1, "refused": []}


def test_bulk_by_filter_needs_the_expected_number(site, client: FlaskClient) -> None:
    """Another number than the client saw: 409, nothing done."""
    jobs = [site.later(queue="slow") for _ in range(3)]
    site.later()

    def bulk(expect: Any) -> Any:
        body = {"action": "cancel", "filter": {"queue": "slow"}, "expect": expect}
        return client.post("/bgtasks/bulk", json=body)

    for wrong in (0, 2, 4):
        assert bulk(wrong).status_code == 409
    assert {state_of(site, job_id) for job_id in jobs} == {"scheduled"}
    assert bulk(3).get_json() == {"done": 3, "refused": []}
    assert {state_of(site, job_id) for job_id in jobs} == {"cancelled"}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "cancel",
        {},
        {"action": "cancel"},
        {"ids": []},
        {"action": "explode", "ids": []},
        {"action": ["cancel"], "ids": []},
        {"action": "cancel", "ids": "0" * 32},
        {"action": "cancel", "ids": [1]},
        {"action": "cancel", "ids": {"a": 1}},
        {"action": "cancel", "ids": ["a" * 2000]},
        {"action": "cancel", "ids": [], "expect": 0},
        {"action": "cancel", "ids": [], "filter": {}},
        {"action": "cancel", "filter": {}},
        {"action": "cancel", "filter": {}, "expect": "1"},
        {"action": "cancel", "filter": {}, "expect": True},
        {"action": "cancel", "filter": {}, "expect": 1.0},
        {"action": "cancel", "filter": {}, "expect": -1},
        {"action": "cancel", "filter": {}, "expect": 10**9},
        {"action": "cancel", "filter": [], "expect": 1},
        {"action": "cancel", "filter": {"state": "done"}, "expect": 1},
        {"action": "cancel", "filter": {"state": 1}, "expect": 1},
        {"action": "cancel", "filter": {"queue": ["a"]}, "expect": 1},
        {"action": "cancel", "filter": {"limit": "1"}, "expect": 1},
        {"action": "cancel", "ids": [], "more": 1},
    ],
)
def test_wrong_bulk_bodies_are_400(client: FlaskClient, body: Any) -> None:
    """Nothing is guessed."""
    answer = client.post("/bgtasks/bulk", json=body)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_bodies_that_are_no_json_are_400(client: FlaskClient, data: bytes) -> None:
    """Whatever the parser thinks of them."""
    answer = client.post("/bgtasks/bulk", data=data, content_type="application/json")
    assert answer.status_code == 400


def test_pause_and_resume(site, client: FlaskClient) -> None:
    """A paused queue starts nothing until it is resumed."""
    answer = client.post("/bgtasks/queues/slow/pause")
    assert (answer.status_code, answer.get_json()) == (200, {"queue": "slow", "paused": True})
    job_id = site.submit(str, queue="slow")
    assert state_of(site, job_id) == "queued"
    assert client.get("/bgtasks/health").get_json()["paused"] == ["slow"]
    answer = client.post("/bgtasks/queues/slow/resume")
    assert answer.get_json() == {"queue": "slow", "paused": False}
    with site.app.app_context():
        site.bg.handle(job_id).result(10)


def test_odd_queue_names(client: FlaskClient) -> None:
    """Any name that a job can have; nothing longer."""
    assert client.post("/bgtasks/queues/a%2Fb%20c/pause").get_json()["queue"] == "a/b c"
    assert client.post(f"/bgtasks/queues/{'a' * 101}/pause").status_code == 404
    assert client.post("/bgtasks/queues/%00/pause").status_code == 404


@pytest.mark.parametrize("rights", [{"view"}, {"view", "cancel", "retry", "list"}])
def test_bulk_and_queues_need_manage(make_site, rights) -> None:
    """The right to cancel one job is not the right to cancel many."""
    site = make_site()
    job_id = site.later()
    site.bg.authorize(lambda action, job: action in rights)
    client = site.client()
    body = {"action": "cancel", "ids": [job_id]}
    assert client.post("/bgtasks/bulk", json=body).status_code == 403
    assert client.post("/bgtasks/queues/default/pause").status_code == 403
    assert state_of(site, job_id) == "scheduled"


def test_bulk_asks_for_each_job(make_site) -> None:
    """manage alone does not cancel what cancel refuses."""
    site = make_site()
    mine, other = site.later(queue="mine"), site.later(queue="other")

    @site.bg.authorize
    def allow(action, job) -> bool:
        return action != "cancel" or job.queue == "mine"

    body = {"action": "cancel", "ids": [mine, other]}
    answer = site.client().post("/bgtasks/bulk", json=body).get_json()
    assert answer == {"done": 1, "refused": [{"id": other, "why": "you may not do this"}]}
    assert state_of(site, other) == "scheduled"


def test_a_form_leads_a_browser_back_to_the_page(site, client: FlaskClient) -> None:
    """303 to a page of ours, whatever the request says of where it came from."""
    job_id, token = site.later(), token_of(client)
    form = {"bgtask_token": token, "next": "//evil.example", "url": "https://evil.example"}
    headers = {**HTML, "Referer": "http://evil.example/"}
    answer = client.post(
        f"/bgtasks/{job_id}/cancel?next=//evil.example", data=form, headers=headers
    )
    assert (answer.status_code, answer.location) == (303, f"/bgtasks/{job_id}")
    answer = client.post("/bgtasks/queues/slow/pause", data=form, headers=headers)
    assert (answer.status_code, answer.location) == (303, "/bgtasks")
    form |= {"action": "delete", "ids": [job_id]}
    del form["next"], form["url"]
    answer = client.post("/bgtasks/bulk", data=form, headers=headers)
    assert (answer.status_code, answer.location) == (303, "/bgtasks")
    assert client.get(f"/bgtasks/{job_id}").status_code == 404


def test_a_host_header_leads_nowhere(site, client: FlaskClient) -> None:
    """Locations are paths."""
    job_id = site.later()
    base = "http://evil.example"
    page = client.get("/bgtasks", headers=HTML, base_url=base).get_data(as_text=True)
    token = re.findall(r'name="bgtask_token" value="([^"]+)"', page)[0]
    assert "evil.example" not in page
    answer = client.post(
        f"/bgtasks/{job_id}/cancel", data={"bgtask_token": token}, headers=HTML, base_url=base
    )
    assert answer.location == f"/bgtasks/{job_id}"
