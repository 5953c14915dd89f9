"""Jobs under every server: they run, what a killed server left runs with no request, and a stop
takes no longer than the drain time and two seconds where the server lets us have it."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from harness import (
    ServerProcess,
    flask_run,
    gunicorn,
    need_uwsgi,
    uwsgi,
    wait_until,
    waitress,
)
from trouble_site import Site, accepted, ask, reaches, status

Command = Callable[[int], Sequence[str]]

SERVERS: dict[str, Command] = {
    "gunicorn-gthread": lambda port: gunicorn(port, "-k", "gthread", "--threads", "4"),
    "gunicorn-gevent": lambda port: gunicorn(port, "-k", "gevent"),
    "gunicorn-gevent-preload": lambda port: gunicorn(port, "-k", "gevent", "--preload"),
    "uwsgi": lambda port: uwsgi(port, "--threads", "4"),
    "uwsgi-master": lambda port: uwsgi(port, "--master", "--processes", "2"),
    "uwsgi-lazy-apps": lambda port: uwsgi(port, "--master", "--processes", "2", "--lazy-apps"),
    "waitress": waitress,
    "flask-run": flask_run,
    "flask-run-reloader": lambda port: flask_run(port, "--debug"),
}

#: Signals on which a server comes to its end in order; the others die of SIGTERM on the spot.
DRAINED: dict[str, signal.Signals] = {
    "gunicorn-gthread": signal.SIGTERM,
    "gunicorn-gevent": signal.SIGTERM,
    "gunicorn-gevent-preload": signal.SIGTERM,
    "uwsgi": signal.SIGTERM,
    "uwsgi-master": signal.SIGTERM,
    "uwsgi-lazy-apps": signal.SIGTERM,
    "waitress": signal.SIGINT,
    "flask-run": signal.SIGINT,
}

#: Processes that serve, if there are several. uWSGI hangs if it is told to stop while one of
#: them still loads the application.
PROCESSES = {"uwsgi-master": 2, "uwsgi-lazy-apps": 2}

#: Seconds that jobs get when a server is told to stop.
DRAIN = 1.0


@pytest.fixture(autouse=True)
def _needs_uwsgi(request: pytest.FixtureRequest) -> None:
    """uWSGI is built for the platform, and may be missing on a laptop."""
    name = request.node.callspec.params["name"]
    if name.startswith("uwsgi"):
        need_uwsgi()


@pytest.mark.parametrize("name", SERVERS)
def test_jobs_run(site: Site, name: str) -> None:
    """Durable ones, signed functions and those in memory, each once."""
    server = site.start(SERVERS[name])
    ids = [accepted(server, key=f"task{n}", seconds=0.1) for n in range(10)]
    ids.append(accepted(server, key="signed", function="durable"))
    ids.append(accepted(server, key="volatile", function="volatile"))
    ids.append(accepted(server, key="delayed", delay=0.3))
    for job_id in ids:
        reaches(server, job_id, "succeeded")
    assert len(site.count("begin")) == len(ids)
    assert set(site.count("end").values()) == {1}
    assert ask(server, "/bgtasks/health").status == 200


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_killed_server_left_runs_with_no_request(site: Site, name: str) -> None:
    """Running and waiting jobs of a server that was killed are done by the next, by itself."""
    server = site.start(SERVERS[name], APP_BGTASK_WORKERS="2")
    keys = [f"k{n}" for n in range(10)]
    for key in keys:
        accepted(server, key=key, seconds=0.5)
    wait_until(lambda: site.count("begin"), what="the first began")
    server.kill()
    assert len(site.count("end")) < len(keys)
    begun = time.monotonic()
    site.start(SERVERS[name])
    site.wait("end", *keys, timeout=10)
    print(f"{name}: all ended {time.monotonic() - begun:.1f} s after the start")
    assert set(site.count("end").values()) == {1}


#: When uWSGI kills a worker that is still busy with the last request is its own affair: under load
#: it does before the drain begins. Those servers are tried where time does not matter.
DRAINED_IN_TIME = [
    pytest.param(name, marks=pytest.mark.stress if "uwsgi" in name else ()) for name in DRAINED
]


@pytest.mark.parametrize("name", DRAINED_IN_TIME)
def test_a_stop_ends_within_the_drain_time(site: Site, name: str) -> None:
    """A short job ends; one that takes longer is queued again for the next server, and that
    counts neither as a crash nor as one of its attempts. One that was in memory is lost."""
    server = site.start(SERVERS[name], APP_BGTASK_DRAIN_TIMEOUT=str(DRAIN))
    wait_until(lambda: len(workers(server)) == PROCESSES.get(name, 1), what="all processes work")
    accepted(server, key="short", seconds=0.5)
    long = accepted(server, key="long", seconds=4)
    lost = accepted(server, key="lost", seconds=4, function="volatile")
    waiting = accepted(server, key="waiting", delay=60)
    site.wait("begin", "short", "long", "lost")
    threading.Event().wait(0.2)  # uWSGI kills a process that is not quite done with a request
    begun = time.monotonic()
    server.signal(DRAINED[name])
    server.wait(30)
    took = time.monotonic() - begun
    print(f"{name}: stopped in {took:.1f} s")
    assert took < DRAIN + 2
    assert site.count("end") == {"short": 1}
    assert "Traceback" not in server.output()
    server = site.start(SERVERS[name])
    wait_until(lambda: site.count("begin")["long"] == 2, 10, "the long one begins again")
    assert status(server, long)["attempt"] == 1
    assert status(server, waiting)["state"] == "scheduled"
    assert status(server, lost)["state"] == "lost"
    assert crashes(site.store, long) == 0
    reaches(server, long, "succeeded")
    assert site.count("begin") == {"short": 1, "long": 2, "lost": 1}


@pytest.mark.parametrize("name", ["flask-run-reloader"])
def test_a_reload_loses_nothing(site: Site, name: str) -> None:
    """A changed file ends the process that works: what runs ends in it, the rest in the next."""
    server = site.start(SERVERS[name], APP_BGTASK_WORKERS="2")
    keys = [f"k{n}" for n in range(8)]
    for key in keys:
        accepted(server, key=key, seconds=0.7)
    site.wait("begin", "k0")
    path = site.folder / "trouble_app.py"
    path.write_text(path.read_text() + "\n# changed\n")
    site.wait("end", *keys)
    assert set(site.count("begin").values()) == {1}
    assert len({line.pid for line in site.lines()}) == 2


def workers(server: ServerProcess) -> list[str]:
    """The processes that work on the store."""
    return list(ask(server, "/bgtasks/health").body.get("workers", []))


def crashes(store: Path, job_id: str) -> int:
    """How often a process died while it ran the job."""
    with closing(sqlite3.connect(store)) as connection:
        (count,) = connection.execute("SELECT crashes FROM job WHERE id = ?", (job_id,)).fetchone()
        return int(count)
