"""``bg.accepted``: the 202 of a view that has submitted a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flask_bgtask import Handle
from flask_bgtask.errors import StoreError


def answer_of(site, **options: Any) -> Any:
    @site.app.post("/start")
    def start() -> Any:
        return site.bg.accepted(site.bg.using(**{"delay": 20, **options}).submit(str))

    return site.client().post("/start", base_url="http://localhost/shop")


def test_202_with_location_and_status(site) -> None:
    """The location is the status page, below the script root."""
    answer = answer_of(site)
    body = answer.get_json()
    assert answer.status_code == 202
    assert answer.location == f"/shop/bgtasks/{body['id']}"
    assert body["links"]["self"] == answer.location
    assert answer.headers["Retry-After"] == "20"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert body["state"] == "scheduled"
    assert site.client().get(f"/bgtasks/{body['id']}").status_code == 200


def test_without_a_blueprint_there_is_no_location(make_site) -> None:
    """The status is in the body all the same."""
    site = make_site(BGTASK_URL_PREFIX=None)
    answer = answer_of(site)
    assert answer.status_code == 202
    assert "Location" not in answer.headers
    assert (answer.get_json()["state"], answer.get_json()["links"]) == ("scheduled", {})


def test_nobody_is_asked_for_rights(site) -> None:
    """A failing or refusing authorize is none of the submitting view's business."""
    site.bg.authorize(lambda action, job: 1 / 0 > 1)
    answer = answer_of(site)
    assert answer.status_code == 202
    assert answer.get_json()["links"].keys() <= {"self", "events"}


def test_a_job_that_waits_for_a_commit(site) -> None:
    """It is not in the store yet; where it will be is known."""
    with site.app.test_request_context():
        handle = Handle("0" * 32, site.app.extensions["bgtask"])
        response = site.bg.accepted(handle)
    assert (response.status_code, response.headers["Retry-After"]) == (202, "1")
    assert response.get_json() == {
        "id": handle.id,
        "state": "scheduled",
        "links": {"self": f"/bgtasks/{handle.id}"},
    }
    assert response.location == f"/bgtasks/{handle.id}"


def test_outside_a_request(site) -> None:
    """It works in an app context too."""
    with site.app.app_context():
        response = site.bg.accepted(site.bg.submit(str))
    assert response.status_code == 202
    assert response.location.startswith("/bgtasks/")


def test_a_job_whose_store_cannot_be_read(make_site, tmp_path: Path) -> None:
    """It was accepted: the client gets its id, and where to ask for it."""
    file = tmp_path / "jobs.sqlite3"
    site = make_site(BGTASK_STORE=f"sqlite:///{file}", BGTASK_RUN_WORKERS=False)
    with site.app.test_request_context():
        handle = site.bg.using(durable=True).submit(str)
        away = file.rename(tmp_path / "away")
        with pytest.raises(StoreError):
            while True:  # it is noticed within a hundredth of a second
                site.bg.get(handle.id)
        response = site.bg.accepted(handle)
        away.rename(file)
    assert response.status_code == 202
    assert response.get_json()["state"] == "queued"
    assert response.location == f"/bgtasks/{handle.id}"
    assert site.client().get(response.location).status_code == 200
