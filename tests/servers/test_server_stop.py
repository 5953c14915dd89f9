"""Workers are stopped once when their process comes to its end, while threads still run."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from harness import Journal, Serve, flask_run, gunicorn, uwsgi, wait_until, waitress

GUNICORN = ["sync", "gthread", "gevent"]


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("kind", GUNICORN)
def test_gunicorn_stops_each_worker(
    serve: Serve, journal: Journal, kind: str, preload: bool
) -> None:
    """SIGTERM to the master: each worker process stops what it started, once."""
    options = ["--workers", "2", "--worker-class", kind] + ["--preload"] * preload
    server = serve(lambda port: gunicorn(port, *options))
    started = journal.wait("started", 2)
    server.get()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    stopped = journal.pids("stopped")
    assert sorted(set(stopped) - {server.pid}) == sorted(started)
    assert len(stopped) == len(set(stopped))


@pytest.mark.parametrize("kind", GUNICORN)
def test_a_quick_stop_stops_the_workers_too(serve: Serve, journal: Journal, kind: str) -> None:
    """SIGINT to the master makes it end its workers without waiting for requests."""
    server = serve(lambda port: gunicorn(port, "--worker-class", kind))
    started = journal.wait("started", 1)
    server.wait_up()
    server.get()
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert journal.pids("stopped") == started


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_a_gunicorn_reload_stops_the_old_and_starts_the_new(
    serve: Serve, journal: Journal, preload: bool
) -> None:
    """SIGHUP: new worker processes start, the old ones stop."""
    server = serve(lambda port: gunicorn(port, "--workers", "2", *["--preload"] * preload))
    old = set(journal.wait("started", 2))
    server.signal(signal.SIGHUP)
    new = set(journal.wait("started", 4)) - old
    assert set(journal.wait("stopped", 2)) == old
    wait_until(lambda: server.children() == new)


def test_a_thread_that_never_ends_does_not_hold_up_a_gunicorn_worker(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """The worker stops when its loop has ended, not when the interpreter waited for all threads."""
    text = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    application.write_text(application.read_text() + text)
    server = serve(gunicorn)
    started = journal.wait("started", 1)
    server.signal(signal.SIGTERM)
    assert journal.wait("stopped", 1) == started


def test_a_worker_that_served_enough_stops(serve: Serve, journal: Journal) -> None:
    """``--max-requests``: the worker ends by itself, and its follower starts."""
    server = serve(lambda port: gunicorn(port, "--max-requests", "1"))
    [first] = journal.wait("started", 1)
    assert int(server.get()) == first
    assert journal.wait("stopped", 1) == [first]
    assert journal.wait("started", 2)[1] != first


@pytest.mark.usefixtures("needs_uwsgi")
@pytest.mark.parametrize(
    "options",
    [[], ["--master"], ["--master", "--lazy-apps"], ["--skip-atexit-teardown"]],
    ids=str,
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_uwsgi_stops_its_workers(
    serve: Serve, journal: Journal, options: list[str], number: signal.Signals
) -> None:
    """An idle worker that is told to end stops what it started (uWSGI calls no busy one back)."""
    server = serve(lambda port: uwsgi(port, *options))
    [started] = journal.wait("started", 1)
    assert int(server.get()) == started
    wait_until(lambda: "GET / =>" in server.output(), what="the end of the request")
    server.signal(number)
    server.wait()
    assert journal.pids("stopped").count(started) == 1


@pytest.mark.usefixtures("needs_uwsgi")
def test_a_uwsgi_worker_that_served_enough_stops(serve: Serve, journal: Journal) -> None:
    """``--max-requests``: the worker ends by itself, and its follower starts."""
    options = ["--master", "--max-requests", "1", "--min-worker-lifetime", "0"]
    server = serve(lambda port: uwsgi(port, *options))
    [first] = journal.wait("started", 1)
    assert int(server.get()) == first
    assert journal.wait("stopped", 1) == [first]
    assert journal.wait("started", 2)[1] != first


@pytest.mark.parametrize("command", [flask_run, waitress], ids=["flask run", "waitress"])
def test_control_c_stops_the_workers(serve: Serve, journal: Journal, command: object) -> None:
    """Servers that run in the process itself end with the interpreter."""
    server = serve(command)  # type: ignore[arg-type]
    started = journal.wait("started", 1)
    server.wait_up()
    server.get()
    server.signal(signal.SIGINT)
    server.wait()
    assert journal.pids("stopped") == started


@pytest.mark.parametrize("command", [flask_run, waitress], ids=["flask run", "waitress"])
def test_servers_that_end_at_once_are_left_to(
    serve: Serve, journal: Journal, command: object
) -> None:
    """On SIGTERM these die without a word; we do not take their signals from them."""
    server = serve(command)  # type: ignore[arg-type]
    journal.wait("started", 1)
    server.wait_up()
    server.signal(signal.SIGTERM)
    assert server.wait() == -signal.SIGTERM
    assert journal.pids("stopped") == []


SCRIPTS = {
    "ends": "",
    "exits": "raise SystemExit",
    "has an idle executor": "executor.submit(int).result()",
    "has a daemon thread": "import threading\n"
    "threading.Thread(target=threading.Event().wait, daemon=True).start()",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_stops_at_its_end(
    serve: Serve, journal: Journal, application: Path, name: str
) -> None:
    """The interpreter's end is waited for, and an executor may still be used by what runs."""
    application.with_name("main.py").write_text(
        f"from application import app, executor\n{SCRIPTS[name]}\n"
    )
    process = serve(lambda _: [sys.executable, "main.py"])
    assert process.wait() == 0, process.output()
    assert journal.pids("stopped") == [process.pid]


def test_a_thread_that_keeps_the_process_alive_is_not_stopped(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """The main thread may end while a server runs in another one: that is not the end."""
    application.with_name("main.py").write_text(
        "import threading\n"
        "from flask import Flask\n"
        "from flask_bgtask import startup\n"
        "from application import note\n"
        "app = Flask('other')\n"
        "startup.watch(app, lambda: note('started'), lambda: note('ended'))\n"
        "def run():\n"
        "    threading.main_thread().join()\n"
        "    note('running')\n"
        "    app.test_client().get('/')\n"
        "threading.Thread(target=run).start()\n"
    )
    process = serve(lambda _: [sys.executable, "main.py"])
    process.wait()
    words = [line.split()[0] for line in journal.lines()]
    assert words == ["imported", "running", "started", "ended"]


def test_a_failing_stop_leaves_the_others_their_turn(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """Several apps are stopped side by side; one that fails is logged and harms nothing."""
    application.with_name("main.py").write_text(
        "import threading\n"
        "from flask import Flask\n"
        "from application import app, note, startup\n"
        "together = threading.Barrier(3)\n"
        "def meet():\n"
        "    together.wait(10)\n"
        "    note('met')\n"
        "def fail():\n"
        "    together.wait(10)\n"
        "    raise ValueError('a failing stop')\n"
        "others = [Flask(str(number)) for number in range(3)]\n"
        "for other, stop in zip(others, [meet, meet, fail]):\n"
        "    startup.watch(other, int, stop)\n"
    )
    process = serve(lambda _: [sys.executable, "main.py"])
    assert process.wait() == 0
    assert len(journal.pids("met")) == 2
    assert journal.pids("stopped") == [process.pid]
    assert "a failing stop" in process.output()
