"""Workers start by themselves in each process that will serve, and in no other."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from harness import Journal, Serve, flask_run, gunicorn, uwsgi, wait_until, waitress

GUNICORN = ["sync", "gthread", "gevent"]


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("kind", GUNICORN)
def test_each_gunicorn_worker_starts_with_no_request(
    serve: Serve, journal: Journal, kind: str, preload: bool
) -> None:
    """Once in each worker process, never in the master, and requests change nothing."""
    options = ["--workers", "2", "--worker-class", kind] + ["--preload"] * preload
    server = serve(lambda port: gunicorn(port, *options))
    started = journal.wait("started", 2)
    assert set(started) == server.children()
    assert server.pid not in started
    assert set(journal.pids("imported")) == ({server.pid} if preload else set(started))

    answered = {int(server.get()) for _ in range(8)}
    assert answered <= set(started)
    assert sorted(journal.pids("started")) == sorted(started)


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_a_gunicorn_worker_that_died_is_followed_by_one_that_starts(
    serve: Serve, journal: Journal, preload: bool
) -> None:
    """gunicorn forks a new worker for one that was killed; it starts like the first."""
    options = ["--workers", "1"] + ["--preload"] * preload
    server = serve(lambda port: gunicorn(port, *options))
    [first] = journal.wait("started", 1)
    os.kill(first, signal.SIGKILL)
    assert set(journal.wait("started", 2)[1:]) == server.children() - {first}


def test_the_development_server_starts_with_no_request(serve: Serve, journal: Journal) -> None:
    """``flask run`` without the reloader serves in its own process."""
    server = serve(flask_run)
    assert journal.wait("started", 1) == [server.pid]
    server.wait_up()
    assert int(server.get()) == server.pid
    assert journal.pids("started") == [server.pid]


def test_the_reloaders_parent_does_not_start(serve: Serve, journal: Journal) -> None:
    """``flask run --debug``: a child has the app, behind the debugger; the parent only waits."""
    server = serve(lambda port: flask_run(port, "--debug"))
    [child] = journal.wait("started", 1)
    assert child != server.pid
    server.wait_up()
    assert int(server.get()) == child
    assert journal.pids("started") == [child]


def test_a_reload_starts_again(serve: Serve, journal: Journal, application: Path) -> None:
    """A changed file brings a new child; the old one came to its end in order."""
    serve(lambda port: flask_run(port, "--debug"))
    [first] = journal.wait("started", 1)
    application.write_text(application.read_text() + "\n# changed\n")
    second = journal.wait("started", 2)[1]
    assert second != first
    assert journal.pids("stopped") == [first]


@pytest.mark.parametrize(
    "app",
    ["app", "ProxyFix(app)", "DispatcherMiddleware(NotFound(), {'/mounted': app.wsgi_app})"],
)
def test_a_script_that_runs_the_app_starts(
    serve: Serve, journal: Journal, application: Path, app: str
) -> None:
    """``app.run()`` and ``run_simple()``, whatever middleware the app is behind."""
    application.with_name("main.py").write_text(
        "import sys\n"
        "from application import app\n"
        "from werkzeug.exceptions import NotFound\n"
        "from werkzeug.middleware.dispatcher import DispatcherMiddleware\n"
        "from werkzeug.middleware.proxy_fix import ProxyFix\n"
        "from werkzeug.serving import run_simple\n"
        f"run_simple('127.0.0.1', int(sys.argv[1]), {app})\n"
    )
    server = serve(lambda port: python("main.py", str(port)))
    assert journal.wait("started", 1) == [server.pid]


def test_waitress_starts_with_no_request(serve: Serve, journal: Journal) -> None:
    """``waitress-serve`` is there before the app is."""
    server = serve(waitress)
    assert journal.wait("started", 1) == [server.pid]
    assert int(server.get()) == server.pid
    assert journal.pids("started") == [server.pid]


def test_waitress_on_several_addresses_starts(serve: Serve, journal: Journal) -> None:
    """With more than one address, waitress loops in another of its classes."""
    server = serve(lambda port: [*waitress(port)[:-1], "--listen=127.0.0.1:0", "application:app"])
    assert journal.wait("started", 1) == [server.pid]


LATE = {
    "waitress": "from waitress import serve\nserve(app, listen=f'127.0.0.1:{port}')\n",
    "pywsgi": "from gevent.pywsgi import WSGIServer\n"
    "WSGIServer(('127.0.0.1', port), app).serve_forever()\n",
    "wsgiref": "from wsgiref.simple_server import make_server\n"
    "make_server('127.0.0.1', port, app).serve_forever()\n",
}


@pytest.mark.parametrize("name", LATE)
def test_under_another_server_the_first_request_tells(
    serve: Serve, journal: Journal, application: Path, name: str
) -> None:
    """A server that gives no sign before, or was imported after the app."""
    application.with_name("main.py").write_text(
        f"import sys\nfrom application import app\nport = int(sys.argv[1])\n{LATE[name]}"
    )
    server = serve(lambda port: python("main.py", str(port)))
    server.wait_up()
    assert journal.pids("started") == []
    assert int(server.get()) == server.pid
    assert journal.pids("started") == [server.pid]
    server.get()
    assert journal.pids("started") == [server.pid]


UWSGI = {
    "alone": ([], 1),
    "master": (["--master", "--processes", "2"], 2),
    "lazy-apps": (["--master", "--processes", "2", "--lazy-apps"], 2),
}


@pytest.mark.usefixtures("needs_uwsgi")
@pytest.mark.parametrize("kind", UWSGI)
def test_each_uwsgi_worker_starts_with_no_request(
    serve: Serve, journal: Journal, kind: str
) -> None:
    """Once in each worker process, never in the master."""
    options, workers = UWSGI[kind]
    server = serve(lambda port: uwsgi(port, *options))
    started = journal.wait("started", workers)
    assert len(set(started)) == workers
    assert (server.pid in started) == (kind == "alone")
    server.wait_up()
    answered = {int(server.get()) for _ in range(8)}
    assert answered <= set(started)
    assert sorted(journal.pids("started")) == sorted(started)


@pytest.mark.usefixtures("needs_uwsgi")
@pytest.mark.parametrize("own_hook", ["decorator", "attribute"])
def test_the_apps_own_uwsgi_hook_is_called_too(
    serve: Serve, journal: Journal, application: Path, own_hook: str
) -> None:
    """Our hook is added to what the app uses of uWSGI's."""
    setting = {
        "decorator": "import uwsgidecorators\nuwsgidecorators.postfork(lambda: note('own'))\n",
        "attribute": "import uwsgi\nuwsgi.post_fork_hook = lambda: note('own')\n",
    }
    text = application.read_text()
    application.write_text(text.replace("startup.watch(", setting[own_hook] + "startup.watch("))
    serve(lambda port: uwsgi(port, "--master", "--mule"))
    [started] = journal.wait("started", 1)
    wait_until(lambda: started in journal.pids("own"))


@pytest.mark.usefixtures("needs_uwsgi")
def test_a_uwsgi_mule_does_not_start(serve: Serve, journal: Journal) -> None:
    """A mule is forked like a worker, and serves no request."""
    server = serve(lambda port: uwsgi(port, "--master", "--mule"))
    [started] = journal.wait("started", 1)
    wait_until(lambda: "spawned uWSGI mule 1" in server.output())
    assert int(server.get()) == started
    assert journal.pids("started") == [started]


def test_gevent_starts_after_it_patched(serve: Serve, journal: Journal, application: Path) -> None:
    """Also with ``--preload`` the threads that workers start are greenlets, like the server's."""
    text = application.read_text()
    application.write_text(
        text.replace(
            'lambda: note("started")',
            'lambda: note("patched" if __import__("gevent.monkey").monkey.is_module_patched('
            '"threading") else "unpatched")',
        )
    )
    serve(lambda port: gunicorn(port, "--worker-class", "gevent", "--preload"))
    wait_until(lambda: journal.pids("patched") or journal.pids("unpatched"))
    assert len(journal.pids("patched")) == 1


def test_a_preload_master_that_gevent_patched_has_workers_that_start(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """With gevent's own ``fork`` in between, a worker is still told from other children."""
    application.with_name("gunicorn.conf.py").write_text(
        "from gevent import monkey\nmonkey.patch_all()\n"
    )
    server = serve(
        lambda port: gunicorn(port, "--worker-class", "gevent", "--preload", "--workers", "2")
    )
    assert set(journal.wait("started", 2)) == server.children()


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
