"""Server-sent events: what they tell, to whom, and that they are never in the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_bgtask import current_job
from flask_bgtask.errors import StoreError
from flask_bgtask.web import sources, streams


@dataclass
class Received:
    id: str | None
    data: dict[str, Any]


class Reader:
    """The messages of an open stream, as a browser would take it apart."""

    def __init__(self, answer: Any) -> None:
        assert answer.status_code == 200, answer.data
        assert answer.content_type == "text/event-stream"
        self.answer = answer
        self.comments = 0
        self._blocks = self._split(answer.iter_encoded())

    def _split(self, chunks: Iterator[bytes]) -> Iterator[str]:
        rest = ""
        for chunk in chunks:
            *blocks, rest = (rest + chunk.decode()).split("\n\n")
            yield from blocks

    def __iter__(self) -> Iterator[Received]:
        for block in self._blocks:
            lines = block.split("\n")
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            self.comments += any(line.startswith(":") for line in lines)
            if "data" in fields:
                yield Received(fields.get("id"), json.loads(fields["data"]))

    def next(self) -> Received:
        return next(iter(self))

    def until(self, **wanted: Any) -> Received:
        """The first event with these members; a stream ends, and so does this."""
        for event in self:
            if wanted.items() <= event.data.items():
                return event
        raise AssertionError(f"the stream ended without {wanted}")

    def close(self) -> None:
        self.answer.close()


@pytest.fixture(autouse=True)
def _no_place_stays_taken() -> Iterator[None]:
    """Every stream of a test gives its place back."""
    yield
    place = streams.places.take(1)
    assert place is not None
    streams.places.give_back(place)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that end soon by themselves."""
    monkeypatch.setattr(streams, "LONGEST", 0.3)


def test_a_job_is_followed_to_its_end(site, client: FlaskClient) -> None:
    """First the present status, then each new one, then the stream ends."""
    job_id = site.later()
    reader = Reader(client.get(f"/bgtasks/{job_id}/events"))
    assert reader.next().data["state"] == "scheduled"
    assert site.client().post(f"/bgtasks/{job_id}/cancel").status_code == 200
    event = reader.next()
    assert event.data["state"] == "cancelled"
    assert event.data["links"]["self"] == f"/bgtasks/{job_id}"
    assert list(reader) == []
    reader.close()


def test_progress_is_told(site, client: FlaskClient) -> None:
    """As it moves; text of a task cannot make up an event."""
    begun, moved = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert moved.wait(10)
        current_job.progress(1, 2, "half\n\ndata: {}\n\nid: x\r\n")
        assert site.release.wait(10)

    job_id = site.submit(work)
    assert begun.wait(10)
    reader = Reader(client.get(f"/bgtasks/{job_id}/events", base_url="http://localhost/shop"))
    assert reader.next().data["progress"] is None
    moved.set()
    event = reader.next()
    assert event.data["progress"]["note"] == "half\n\ndata: {}\n\nid: x\r\n"
    assert event.data["links"]["self"] == f"/shop/bgtasks/{job_id}"
    site.release.set()
    assert reader.next().data["state"] == "succeeded"
    reader.close()


def test_a_client_that_comes_back_hears_what_is_new(site, client: FlaskClient) -> None:
    """Last-Event-ID: the same status is not sent again, another one is; 204 after the last."""
    job_id = site.later()
    path = f"/bgtasks/{job_id}/events"
    reader = Reader(client.get(path))
    seen = reader.next().id
    reader.close()
    assert seen
    reader = Reader(client.get(path, headers={"Last-Event-ID": seen}))
    site.client().post(f"/bgtasks/{job_id}/cancel")
    last = reader.next()
    assert last.data["state"] == "cancelled"
    reader.close()
    assert client.get(path, headers={"Last-Event-ID": str(last.id)}).status_code == 204
    reader = Reader(client.get(path, headers={"Last-Event-ID": "made up"}))
    assert [event.data["state"] for event in reader] == ["cancelled"]
    reader.close()


def test_a_deleted_job_ends_its_stream(site, client: FlaskClient) -> None:
    """There will be no more of it."""
    job_id = site.running()
    reader = Reader(client.get(f"/bgtasks/{job_id}/events"))
    reader.next()
    store = site.app.extensions["bgtask"].store
    site.release.set()
    with site.app.app_context():
        site.bg.handle(job_id).result(10)
    assert store.delete(job_id)
    assert list(reader) == []
    reader.close()


def test_all_jobs_are_followed(site, client: FlaskClient) -> None:
    """First those that are there, oldest first; then each that changes or is new."""
    old, waiting = site.done(), site.later()
    reader = Reader(client.get("/bgtasks/events"))
    assert [reader.next().data["id"] for _ in range(2)] == [old, waiting]
    new = site.running()
    assert reader.until(id=new).data["state"] == "running"
    site.client().post(f"/bgtasks/{waiting}/cancel")
    assert reader.until(id=waiting).data["state"] == "cancelled"
    site.release.set()
    assert reader.until(id=new, state="succeeded").data["links"]["self"] == f"/bgtasks/{new}"
    reader.close()


def test_a_client_of_all_jobs_comes_back(site, client: FlaskClient, monkeypatch) -> None:
    """What ended before is not told again, what runs is, and what came since."""
    monkeypatch.setattr(sources, "OVERLAP", 0.0)
    site.done()
    seen = int(time.time() * 1000) + 1
    while time.time() * 1000 < seen:
        pass  # less than a millisecond or two
    running, since = site.running(), site.later()
    reader = Reader(client.get("/bgtasks/events", headers={"Last-Event-ID": str(seen)}))
    assert [reader.next().data["id"] for _ in range(2)] == [running, since]
    reader.close()


@pytest.mark.parametrize("seen", ["x", "-1", "1e9", "9" * 400, "\xb2", ""])
def test_an_odd_last_event_id_is_none(site, client: FlaskClient, seen: str) -> None:
    """The client is told all."""
    job_id = site.later()
    reader = Reader(client.get("/bgtasks/events", headers={"Last-Event-ID": seen}))
    assert reader.next().data["id"] == job_id
    reader.close()


def test_a_job_that_is_seen_running_is_not_forgotten(site, client, monkeypatch) -> None:
    """Its end is told though many newer jobs have come since."""
    monkeypatch.setattr(sources, "WATCHED", 2)
    job_id = site.running()
    reader = Reader(client.get("/bgtasks/events"))
    assert reader.next().data["id"] == job_id
    for _ in range(5):
        site.later()
    site.release.set()
    reader.until(id=job_id, state="succeeded")
    reader.close()


def test_at_most_so_many_streams(site, client: FlaskClient) -> None:
    """Past them 503 with Retry-After; a stream that ends makes place."""
    readers = [Reader(client.get("/bgtasks/events")) for _ in range(2)]
    for path in ("/bgtasks/events", f"/bgtasks/{site.later()}/events"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.content_type == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
    readers.pop().close()  # before it was read
    readers.append(Reader(client.get("/bgtasks/events")))
    for reader in readers:
        reader.close()


def test_the_places_are_those_of_the_process(make_site) -> None:
    """Two apps share them."""
    one, two = make_site("one", TESTING=True), make_site("two", TESTING=True, BGTASK_STREAMS=3)
    readers = [Reader(one.client().get("/bgtasks/events")) for _ in range(2)]
    assert one.client().get("/bgtasks/events").status_code == 503
    readers.append(Reader(two.client().get("/bgtasks/events")))
    assert two.client().get("/bgtasks/events").status_code == 503
    for reader in readers:
        reader.close()


def test_no_streams(make_site) -> None:
    """``BGTASK_STREAMS = 0``: 503 always, and no link or page speaks of them."""
    site = make_site(TESTING=True, BGTASK_STREAMS=0)
    job_id = site.later()
    client = site.client()
    assert client.get("/bgtasks/events").status_code == 503
    assert "events" not in client.get(f"/bgtasks/{job_id}").get_json()["links"]
    for path in ("/bgtasks", f"/bgtasks/{job_id}"):
        page = client.get(path, headers={"Accept": "text/html"}).get_data(as_text=True)
        assert "data-events" not in page
        assert "data-poll" in page


@pytest.mark.parametrize(
    ("environ", "places"),
    [
        ({"SERVER_SOFTWARE": "mod_wsgi", "wsgi.multithread": False}, 0),
        ({"SERVER_SOFTWARE": "Werkzeug", "wsgi.multithread": True}, 2),
        ({"gunicorn.socket": None, "wsgi.multithread": False}, 0),
        ({"gunicorn.socket": None, "wsgi.multithread": True}, 2),
        ({"uwsgi.version": b"2", "wsgi.multithread": True}, 0),
    ],
)
def test_the_last_thread_is_never_taken(site, client, environ, places: int) -> None:
    """A server of one thread has no streams, and no links to them."""
    path = f"/bgtasks/{site.later()}"
    answers = [client.get(f"{path}/events", environ_overrides=environ) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * places + [503] * (3 - places)
    links = client.get(path, environ_overrides=environ).get_json()["links"]
    assert ("events" in links) is (places > 0)
    for answer in answers:
        answer.close()


def test_head_takes_no_place(site, client: FlaskClient) -> None:
    """It has no body that would end."""
    for _ in range(5):
        assert client.head("/bgtasks/events").status_code == 200
    Reader(client.get("/bgtasks/events")).close()


def test_a_stream_ends_in_time(site, client: FlaskClient, short) -> None:
    """By itself; the client comes back."""
    site.later()
    reader = Reader(client.get("/bgtasks/events"))
    assert len(list(reader)) == 1
    again = Reader(client.get("/bgtasks/events"))
    once_more = Reader(client.get("/bgtasks/events"))  # the first gave its place back
    again.close()
    once_more.close()
    reader.close()


def test_a_forgotten_place_falls_free(site, client: FlaskClient, monkeypatch) -> None:
    """A server that never closes a response blocks no place for good."""
    monkeypatch.setattr(streams, "FORGOTTEN", -1.0)
    readers = [Reader(client.get("/bgtasks/events")) for _ in range(5)]
    for reader in readers:
        reader.close()


def test_a_silent_stream_has_a_heartbeat(site, client: FlaskClient, short, monkeypatch) -> None:
    """So that the server notices a client that left."""
    monkeypatch.setattr(streams, "HEARTBEAT", 0.0)
    reader = Reader(client.get(f"/bgtasks/{site.later()}/events"))
    assert len(list(reader)) == 1
    assert reader.comments >= 2
    reader.close()


def test_a_stream_keeps_no_context(site, client: FlaskClient) -> None:
    """The application's teardown runs before the first event and after each that needs one."""
    ended: list[int] = []
    site.app.teardown_appcontext(lambda error: ended.append(1))
    site.later()
    reader = Reader(client.get("/bgtasks/events"))
    begun = len(ended)
    assert begun >= 1
    reader.next()
    assert len(ended) >= begun + 1
    reader.close()


def test_only_visible_jobs_are_told(make_site) -> None:
    """Each new job is judged in a request like the stream's, with its before_request functions."""
    from flask import g, request

    site = make_site()

    @site.app.before_request
    def load_user() -> None:
        g.user = request.headers.get("X-User")

    @site.bg.authorize
    def allow(action, job) -> bool:
        return action == "list" or (action == "view" and g.user == job.queue)

    hidden, mine = site.later(queue="bob"), site.later(queue="ann")
    reader = Reader(site.client().get("/bgtasks/events", headers={"X-User": "ann"}))
    first = reader.next()
    assert (first.data["id"], first.data["links"].keys()) == (mine, {"self", "events"})
    new_hidden, new = site.later(queue="bob"), site.later(queue="ann")
    assert reader.next().data["id"] == new
    assert {hidden, new_hidden}.isdisjoint({first.data["id"]})
    reader.close()
    path = f"/bgtasks/{hidden}/events"
    assert site.client().get(path, headers={"X-User": "ann"}).status_code == 404


def test_a_client_that_is_shut_out_hears_no_more(make_site) -> None:
    """A before_request function that refuses ends the stream; so does a failing authorize."""
    site = make_site(TESTING=True)
    shut: list[int] = []
    site.app.before_request(lambda: ("no", 401) if shut else None)
    site.later()
    reader = Reader(site.client().get("/bgtasks/events"))
    reader.next()
    shut.append(1)
    site.later()
    assert list(reader) == []
    reader.close()
    shut.clear()
    reader = Reader(site.client().get("/bgtasks/events"))
    site.bg.authorize(lambda action, job: 1 / 0 > 1)
    assert list(reader) == []
    reader.close()


def test_a_store_out_of_reach_ends_the_stream(site, client, monkeypatch, caplog) -> None:
    """Logged; the client comes back."""

    def broken(*_: Any) -> Any:
        raise StoreError("gone")

    reader = Reader(client.get(f"/bgtasks/{site.later()}/events"))
    reader.next()
    monkeypatch.setattr(site.app.extensions["bgtask"].store, "get", broken)
    assert list(reader) == []
    reader.close()
    assert "an event stream failed" in caplog.text


def test_no_signal_stays_connected(site, client: FlaskClient) -> None:
    """A stream that ended costs a job nothing."""
    before = {signal: len(signal.receivers) for signal in streams._SIGNALS}
    reader = Reader(client.get("/bgtasks/events"))
    assert all(len(signal.receivers) == count + 1 for signal, count in before.items())
    reader.close()
    assert {signal: len(signal.receivers) for signal in streams._SIGNALS} == before
