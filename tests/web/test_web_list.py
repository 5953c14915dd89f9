"""``GET /bgtasks``: filters, pages, counts, and values that are wrong."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.data
    return [job["id"] for job in answer.get_json()["jobs"]]


def test_newest_first_with_counts(site, client: FlaskClient) -> None:
    """The list has minimal statuses, counts of every state and no next page."""
    first, second = site.done(), site.later()
    body = client.get("/bgtasks").get_json()
    assert [job["id"] for job in body["jobs"]] == [second, first]
    assert body["counts"]["succeeded"] == 1
    assert body["counts"]["scheduled"] == 1
    assert body["counts"]["failed"] == 0
    assert body["next"] is None
    assert "args" not in body["jobs"][0]


def test_pages_follow_next_to_the_end(site, client: FlaskClient) -> None:
    """``next`` is a URL with the same filters; the pages together are the list."""
    all_ids = [site.later(queue="slow") for _ in range(5)]
    site.later()
    url: str | None = "/bgtasks?queue=slow&limit=2"
    found: list[str] = []
    while url:
        body = client.get(url).get_json()
        assert len(body["jobs"]) <= 2
        found += [job["id"] for job in body["jobs"]]
        url = body["next"]
    assert found == all_ids[::-1]


def test_filters(site, client: FlaskClient) -> None:
    """By state, task, queue, owner, and by a part of id, task or label."""
    plain, slow = site.done(), site.later(queue="slow")
    owned, named = site.later(owner="7"), site.later(label="Weekly Report")
    task = client.get(f"/bgtasks/{plain}").get_json()["task"]
    assert ids(client.get("/bgtasks?state=succeeded")) == [plain]
    assert ids(client.get(f"/bgtasks?task={quote(task)}")) == [plain]
    assert ids(client.get("/bgtasks?queue=slow")) == [slow]
    assert ids(client.get("/bgtasks?owner=7")) == [owned]
    assert ids(client.get("/bgtasks?q=weekly")) == [named]
    assert ids(client.get(f"/bgtasks?q={slow[4:20]}")) == [slow]
    assert ids(client.get("/bgtasks?state=scheduled&queue=slow")) == [slow]
    assert ids(client.get("/bgtasks?q=%25")) == []
    assert len(ids(client.get("/bgtasks?q=&state=&owner="))) == 4


@pytest.mark.parametrize(
    "query",
    [
        "state=done",
        "state=RUNNING",
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=1e2",
        "limit=%D9%A3",
        "limit=" + "9" * 5000,
        "after=x",
        "after=-1",
        "after=1_0",
        "after=" + "9" * 40,
        "after=%00",
        "q=" + "a" * 1001,
        "task=%00",
        "owner=" + "a" * 100_000,
        "state=failed&state=running",
    ],
)
def test_wrong_values_are_400(client: FlaskClient, query: str) -> None:
    """A wrong value is a problem that names it, whatever its size."""
    answer = client.get(f"/bgtasks?{query}")
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["detail"].startswith(query.split("=")[0])


def test_progress_beyond_all_floats(site, client: FlaskClient) -> None:
    """The list is there, whatever numbers a task counts with."""
    job_id = site.done()
    numbers = f'[1{"0" * 400}, 1{"0" * 401}, "far"]'
    site.app.extensions["bgtask"].store.change(job_id, {"progress": numbers})
    for kind in ("application/json", "text/html"):
        assert client.get("/bgtasks", headers={"Accept": kind}).status_code == 200
    progress = client.get(f"/bgtasks/{job_id}").get_json()["progress"]
    assert (progress["done"], progress["percent"]) == (10**400, None)


@pytest.mark.parametrize("url", ["/bgtasks?limit=500", "/bgtasks?limit=1", "/bgtasks/events"])
def test_lists_read_no_long_columns(site, client: FlaskClient, monkeypatch, url: str) -> None:
    """Hundreds of jobs with a megabyte each must not be in memory for a list."""
    site.done(str, "argument")
    store = site.app.extensions["bgtask"].store
    listing, read = store.listing, []

    def watched(*args: Any, **options: Any) -> Any:
        rows = listing(*args, **options)
        read.extend(rows)
        return rows

    monkeypatch.setattr(store, "listing", watched)
    with client.get(url, buffered=False) as answer:
        assert answer.status_code == 200
        if answer.mimetype == "text/event-stream":
            assert any(b"data: " in part for part in answer.response)
    assert read
    assert all(row.arguments is None and row.result is None and row.logs is None for row in read)


@pytest.mark.parametrize("query", ["q=%ff%fe", "q='%20OR%201=1--", "q=%25_\\", "after=0", "x=1"])
def test_odd_values_are_no_errors(client: FlaskClient, query: str) -> None:
    """What could be in a name finds nothing and breaks nothing."""
    assert client.get(f"/bgtasks?{query}").status_code == 200
