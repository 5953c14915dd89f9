"""The doctor knows the servers that run, and what it says of them is so."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Sequence

import pytest
from harness import flask_run, gunicorn, script, uwsgi, wait_until, waitress
from worker_site import Site

Command = Callable[[int], Sequence[str]]


def with_options(command: Callable[..., Sequence[str]], *options: str) -> Command:
    return lambda port: command(port, *options)


def wait_for_life(site: Site, count: int = 1) -> None:
    """Return once so many processes show that they live."""
    folder = site.instance / "bgtask.sqlite3.processes"
    wait_until(lambda: len(list(folder.glob("*.lock"))) >= count, what="the server's processes")


def about_servers(site: Site, **env: str) -> dict[str, dict[str, str]]:
    """What the doctor says of the servers alone."""
    return {code: finding for code, finding in site.doctor(**env).items() if code != "store"}


def test_no_server(site: Site) -> None:
    """Where nothing runs, nothing can be said of it; that is said."""
    site.worker().kill()
    assert set(about_servers(site)) == {"no-process"}


def test_a_worker(site: Site) -> None:
    """A worker process needs nothing."""
    site.worker()
    assert about_servers(site) == {}


@pytest.mark.parametrize("options", [(), ("--preload", "--workers", "2")], ids=str)
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_gunicorn(site: Site, kind: str, options: Sequence[str]) -> None:
    """With its own defaults there is nothing to change."""
    generous = ("--worker-class", kind, "--graceful-timeout", "30", *options)
    site.serve(with_options(gunicorn, *generous))
    wait_for_life(site)
    assert about_servers(site) == {}


def test_gunicorn_that_is_too_quick(site: Site) -> None:
    """It would kill a worker whose jobs still have time."""
    site.serve(with_options(gunicorn, "--timeout=25", "--graceful-timeout", "25"))
    wait_for_life(site)
    assert about_servers(site) == {}
    found = about_servers(site, APP_BGTASK_DRAIN_TIMEOUT="25")["gunicorn-timeout"]
    assert found["level"] == "warning"
    assert "-timeout 30, or a smaller BGTASK_DRAIN_TIMEOUT" in found["write"]


def test_gunicorn_s_environment_and_file(site: Site) -> None:
    """Options come from the environment too; a file of its own may say anything."""
    environment = {"GUNICORN_CMD_ARGS": "--timeout 5"}
    server = site.serve(with_options(gunicorn, "--graceful-timeout", "30"), **environment)
    wait_for_life(site)
    assert "gunicorn --timeout is 5 s" in about_servers(site)["gunicorn-timeout"]["what"]
    server.kill()
    (site.folder / "gunicorn.conf.py").write_text("timeout = 500\n")
    site.serve(with_options(gunicorn, "--graceful-timeout", "500"))
    wait_for_life(site)
    assert about_servers(site, APP_BGTASK_DRAIN_TIMEOUT="100") == {}


def test_a_late_drain_is_cut_short(site: Site) -> None:
    """What is said of gunicorn: past its time a worker is killed, and the job begins again."""
    server = site.serve(with_options(gunicorn, "--graceful-timeout", "1"))
    site.submit(server, key="k", seconds=30)
    site.wait_for("begin", 1)
    server.signal(signal.SIGTERM)
    server.wait(10)
    worker = site.worker()
    site.wait_for("begin", 2)
    assert "died in attempt 1; the job is now queued" in worker.output()
    worker.kill()


def test_gevent(site: Site) -> None:
    """Tasks are greenlets; with workers beside them there is nothing to say."""
    site.serve(with_options(gunicorn, "-k", "gevent", "--graceful-timeout", "30"))
    wait_for_life(site)
    found = about_servers(site)
    assert set(found) == {"gunicorn-gevent"}
    assert "BGTASK_QUEUES = {'cpu': 0}" in found["gunicorn-gevent"]["write"]
    site.worker()
    assert about_servers(site, APP_BGTASK_RUN_WORKERS="false") == {}


@pytest.mark.parametrize("command", [flask_run, waitress], ids=["flask run", "waitress"])
def test_servers_that_end_at_once(site: Site, command: Command) -> None:
    """No signal lets their jobs end, but Ctrl+C."""
    site.serve(command)
    wait_for_life(site)
    found = about_servers(site)
    assert set(found) == {"ends-at-once"}
    assert found["ends-at-once"]["level"] == "info"


PYWSGI = """
import sys
from gevent.pywsgi import WSGIServer
from worker_app import app
WSGIServer(("127.0.0.1", int(sys.argv[1])), app).serve_forever()
"""


def test_a_server_that_is_not_known(site: Site) -> None:
    """gevent's pywsgi: jobs are taken from the first request on, and not before."""
    (site.folder / "main.py").write_text(PYWSGI)
    server = site.serve(lambda port: [sys.executable, "main.py", str(port)])
    assert not site.instance.exists()
    server.get()
    wait_for_life(site)
    found = about_servers(site)
    assert set(found) == {"server-unknown"}
    assert found["server-unknown"]["write"].startswith("bg.start(app)")


@pytest.mark.usefixtures("needs_uwsgi")
def test_uwsgi(site: Site) -> None:
    """With what it needs."""
    site.serve(with_options(uwsgi, "--master", "--processes", "2"))
    wait_for_life(site)
    assert about_servers(site) == {}
    found = about_servers(site, APP_BGTASK_DRAIN_TIMEOUT="60")
    assert found["uwsgi-mercy"]["write"].startswith("worker-reload-mercy = 65")


@pytest.mark.usefixtures("needs_uwsgi")
def test_uwsgi_that_begins_anew(site: Site) -> None:
    """Its options may be in a file; without ``die-on-term`` SIGTERM is a reload."""
    ini = "[uwsgi]\nmodule = application:app\nmaster = true\nenable-threads = true\n"
    (site.folder / "site.ini").write_text(ini)

    def command(port: int) -> list[str]:
        options = ["--http-socket", f"127.0.0.1:{port}", "--ini", "site.ini"]
        return [sys.executable, script("uwsgi"), *options]

    server = site.serve(command)
    wait_for_life(site)
    found = about_servers(site)
    assert set(found) == {"uwsgi-sigterm"}
    assert found["uwsgi-sigterm"]["write"] == "die-on-term = true"
    server.signal(signal.SIGTERM)
    wait_until(lambda: "brutally killing workers" in server.output(), what="uWSGI's reload")


def test_two_applications_of_one_name(site: Site) -> None:
    """Their processes work in different folders, and in one store."""
    site.worker()
    other = site.folder / "other"
    other.mkdir()
    for name in ("application.py", "worker_app.py"):
        shutil.copy(site.folder / name, other / name)
    home, site.folder = site.folder, other
    site.worker()
    site.folder = home
    wait_for_life(site, 2)
    found = about_servers(site)["same-name"]
    assert found["level"] == "warning"
    assert str(home) in found["what"]
    assert str(other) in found["what"]
