"""Command lines that do not serve start nothing, and end as if we were not there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Journal, Serve, flask_run, gunicorn, uwsgi, wait_until

FLASK = [sys.executable, "-m", "flask", "--app", "application"]
TEST = "from application import app\n\ndef test_app():\n    assert app.url_map\n"

COMMANDS = {
    "routes": [*FLASK, "routes"],
    "shell": [*FLASK, "shell"],
    "debug routes": [*FLASK, "--debug", "routes"],
    "import": [sys.executable, "-c", "import application"],
    "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_application.py"],
    "child": [
        sys.executable,
        "-c",
        "import application, multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process(target=len, args=([],))\n"
        "child.start(); child.join(); raise SystemExit(child.exitcode)",
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_does_not_serve_starts_nothing(
    serve: Serve, journal: Journal, application: Path, name: str
) -> None:
    """The app is imported and the command ends well: no worker was started."""
    application.with_name("test_application.py").write_text(TEST)
    process = serve(lambda _: COMMANDS[name])
    assert process.wait() == 0
    assert process.pid in journal.pids("imported")
    assert journal.pids("started") == []


def fail_late(application: Path) -> None:
    """Let the import of the app fail after it was arranged that workers start."""
    application.write_text(application.read_text() + "\nraise RuntimeError('a late failure')\n")


FAILING: dict[str, Sequence[str]] = {
    "flask run": flask_run(0),
    "routes": [*FLASK, "routes"],
    "gunicorn": gunicorn(0),
    "gunicorn preload": gunicorn(0, "--preload"),
    "gunicorn gevent": gunicorn(0, "--worker-class", "gevent"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failing_import_starts_nothing(
    serve: Serve, journal: Journal, application: Path, name: str
) -> None:
    """The server gives up, and nothing ran meanwhile."""
    fail_late(application)
    process = serve(lambda _: FAILING[name])
    assert process.wait() != 0
    assert "a late failure" in process.output()
    assert journal.pids("imported") != []
    assert journal.pids("started") == []


@pytest.mark.usefixtures("needs_uwsgi")
@pytest.mark.parametrize("lazy", [False, True], ids=["", "lazy-apps"])
def test_a_failing_import_under_uwsgi_starts_nothing(
    serve: Serve, journal: Journal, application: Path, lazy: bool
) -> None:
    """uWSGI answers every request with an error then, which is not serving."""
    fail_late(application)
    server = serve(lambda port: uwsgi(port, "--master", *["--lazy-apps"] * lazy))
    wait_until(lambda: "unable to load app" in server.output())
    assert server.get() == "Internal Server Error"
    assert journal.pids("imported") != []
    assert journal.pids("started") == []


def test_the_reloader_waits_for_an_app_that_imports(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """A change that breaks the app shows an error page; the app starts once it is mended."""
    good = application.read_text()
    server = serve(lambda port: flask_run(port, "--debug"))
    [first] = journal.wait("started", 1)
    server.wait_up()
    fail_late(application)
    wait_until(lambda: "a late failure" in server.output())
    server.wait_up()
    assert "a late failure" in server.get()
    assert journal.pids("started") == [first]
    application.write_text(good)
    assert journal.wait("started", 2)[1] not in (first, server.pid)


def test_a_server_that_stands_in_for_another_service_starts_nothing(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """A test that serves a fake service with Werkzeug does not thereby serve the app."""
    application.with_name("main.py").write_text(
        "import threading, urllib.request\n"
        "from werkzeug import Request, Response\n"
        "from werkzeug.serving import make_server\n"
        "from application import app, note\n"
        "service = Request.application(lambda request: Response('hi'))\n"
        "server = make_server('127.0.0.1', 0, service)\n"
        "thread = threading.Thread(target=server.serve_forever)\n"
        "thread.start()\n"
        "urllib.request.urlopen(f'http://127.0.0.1:{server.port}/').close()\n"
        "server.shutdown(); thread.join()\n"
        "note('done')\n"
    )
    process = serve(lambda _: [sys.executable, "main.py"])
    assert process.wait() == 0
    assert journal.pids("done") == [process.pid]
    assert journal.pids("started") == []
