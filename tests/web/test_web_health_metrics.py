"""``/health`` and ``/metrics``."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_bgtask.errors import StoreError


def test_health_tells_what_waits(site, client: FlaskClient) -> None:
    """Store, engine, workers, the age of the oldest queued job, paused queues."""
    client.post("/bgtasks/queues/slow/pause")
    site.submit(str, queue="slow")
    body = client.get("/bgtasks/health").get_json()
    assert (body["health"], body["store"], body["engine"]) == ("up", "up", "threads")
    assert body["paused"] == ["slow"]
    assert 0 <= body["oldest_queued_age"] < 60
    assert isinstance(body["workers"], list)
    assert body["unknown_tasks"] == []


@pytest.mark.parametrize("store", ["memory", "sqlite:///jobs.db"])
@pytest.mark.parametrize("works", [True, False])
def test_health_names_those_who_take_jobs(make_site, tmp_path, store: str, works: bool) -> None:
    """A process that only submits is none of them, though jobs of its own wait."""
    url = store.replace("jobs.db", str(tmp_path / "jobs.db"))
    site = make_site(TESTING=True, BGTASK_STORE=url, BGTASK_RUN_WORKERS=works)
    with site.app.app_context():
        handle = site.failing.using(delay=3600).submit("a", "b")
    runtime = site.app.extensions["bgtask"]
    this = runtime.store.processes()
    assert len(this) == 1
    body = site.client().get("/bgtasks/health").get_json()
    assert body["workers"] == (this if works else [])
    assert handle.cancel()


@pytest.mark.parametrize("detailed", [True, False])
def test_health_is_503_without_a_store(make_site, monkeypatch, detailed, caplog) -> None:
    """Logged; the client learns no path."""
    site = make_site(TESTING=detailed)

    def broken() -> Any:
        raise StoreError("/srv/private/path is gone")

    monkeypatch.setattr(site.app.extensions["bgtask"].store, "oldest_queued", broken)
    answer = site.client().get("/bgtasks/health")
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["health"] == "down"
    assert ("store" in answer.get_json()) is detailed
    assert b"private" not in answer.data
    assert "/srv/private/path is gone" in caplog.text


def test_metrics_are_prometheus_text(site, client: FlaskClient) -> None:
    """Each line is a comment or a sample; values are the store's."""
    site.done()
    site.later()
    evil = 'a"b\\c\nd'
    with site.app.app_context():
        site.bg.pause(evil)
    answer = client.get("/bgtasks/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.get_data(as_text=True)
    assert text.endswith("\n")
    sample = re.compile(r'[a-z_]+(\{[a-z]+="(\\[\\"n]|[^\\"\n])*"\})? [0-9.e+-]+')
    for line in text.splitlines():
        assert line.startswith(("# HELP bgtask_", "# TYPE bgtask_")) or sample.fullmatch(line)
    assert 'bgtask_jobs{state="succeeded"} 1\n' in text
    assert 'bgtask_jobs{state="scheduled"} 1\n' in text
    assert 'bgtask_jobs{state="lost"} 0\n' in text
    assert 'bgtask_queue_paused{queue="a\\"b\\\\c\\nd"} 1\n' in text
    assert text.count("# TYPE bgtask_jobs gauge") == 1


def test_metrics_need_their_right(make_site) -> None:
    """Closed in production, opened by authorize."""
    site = make_site()
    assert site.client().get("/bgtasks/metrics").status_code == 403
    site.bg.authorize(lambda action, job: action == "metrics")
    assert site.client().get("/bgtasks/metrics").status_code == 200
    assert "store" in site.client().get("/bgtasks/health").get_json()
