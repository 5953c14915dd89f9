"""``flask bgtask doctor`` names what is wrong and says what to write."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask_mail import Mail, Message

from flask_bgtask import BackgroundTasks
from flask_bgtask.job import JobState
from flask_bgtask.stores.sqlite import SQLiteStore

PATIENCE = 20.0

Findings = dict[str, dict[str, str]]


@pytest.fixture
def make_shop(make_app: Callable[..., Flask]) -> Callable[..., Flask]:
    """Apps that are set up as for production."""

    def make(**config: Any) -> Flask:
        app = make_app(**{"BGTASK_STORE": "sqlite", **config})
        app.testing = False
        return app

    return make


@pytest.fixture
def quiet(make_shop: Callable[..., Flask]) -> Flask:
    """An app that runs no jobs itself."""
    return make_shop(BGTASK_RUN_WORKERS=False)


def findings(app: Flask, *, status: int = 0) -> Findings:
    """What the doctor says, by code."""
    result = app.test_cli_runner().invoke(args=["bgtask", "doctor", "--json"])
    assert result.exit_code == status, result.output
    return {each["code"]: each for each in json.loads(result.stdout)["findings"]}


def levels(found: Findings) -> dict[str, str]:
    return {code: finding["level"] for code, finding in found.items()}


def submitted(bg: BackgroundTasks, app: Flask, **options: Any) -> str:
    """The id of a job that waits."""
    with app.app_context():
        return bg.using(durable=True, **options).submit(int).id


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process of this test were dead."""
    monkeypatch.setattr(SQLiteStore, "processes", lambda _: [])


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``processes("gunicorn --timeout 5")``: live processes of this machine, by command line."""
    known: dict[int, list[str]] = {}

    def set_them(*commands: str) -> None:
        known.clear()
        known.update(enumerate((each.split() for each in commands), 4_000_001))
        names = [f"{socket.gethostname()}:{pid}" for pid in known]
        monkeypatch.setattr(SQLiteStore, "processes", lambda _: names)

    from flask_bgtask.cli.doctor import crew
    from flask_bgtask.cli.doctor.processes import Process

    monkeypatch.setattr(crew, "process_of", lambda pid: Process(pid, known[pid], os.getcwd()))
    return set_them


# The store.


def test_nothing_to_say(make_shop: Callable[..., Flask], bg: BackgroundTasks) -> None:
    """A fresh app: where the store will be; nothing is made, nothing is wrong."""
    app = make_shop()
    bg.authorize(lambda action, job: True)
    found = findings(app)
    assert levels(found) == {"store": "info"}
    assert "is made at the first use" in found["store"]["what"]
    assert not Path(app.instance_path).exists()


def test_the_store(quiet: Flask, bg: BackgroundTasks) -> None:
    """Path, size and mode."""
    submitted(bg, quiet)
    what = findings(quiet, status=1)["store"]["what"]
    assert what.startswith(f"{quiet.instance_path}/bgtask.sqlite3: ")
    assert what.endswith("KiB, mode 0600")


def test_it_leaves_nothing_behind(quiet: Flask, bg: BackgroundTasks) -> None:
    """What it tries out in the folder is gone afterwards."""
    submitted(bg, quiet)
    before = sorted(os.listdir(quiet.instance_path))
    findings(quiet, status=1)
    assert sorted(os.listdir(quiet.instance_path)) == before


def test_others_may_read_it(quiet: Flask, bg: BackgroundTasks) -> None:
    """The file has arguments of jobs in it."""
    submitted(bg, quiet)
    file = Path(quiet.instance_path) / "bgtask.sqlite3"
    file.chmod(0o644)
    found = findings(quiet, status=1)["store-mode"]
    assert found["level"] == "warning"
    assert found["write"] == f"chmod 600 {file}*"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666], ids=oct)
def test_others_may_write_into_it(quiet: Flask, bg: BackgroundTasks, mode: int) -> None:
    """Who writes a row has one of the application's tasks run."""
    submitted(bg, quiet)
    file = Path(quiet.instance_path) / "bgtask.sqlite3"
    file.chmod(mode)
    found = findings(quiet, status=1)
    assert found["store-writable"]["level"] == "warning"
    assert f"{file} has mode {mode:04o}" in found["store-writable"]["what"]
    assert found["store-writable"]["write"] == f"chmod go-w {file}"
    assert ("store-mode" in found) is bool(mode & 0o044)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777], ids=oct)
def test_others_may_replace_it(
    make_shop: Callable[..., Flask], bg: BackgroundTasks, mode: int, there: bool
) -> None:
    """Who writes into the folder can put a store there, also before there is one."""
    app = make_shop(BGTASK_RUN_WORKERS=False)
    if there:
        submitted(bg, app)
    folder = Path(app.instance_path)
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    found = findings(app, status=1 if there else 0)["store-writable"]
    assert found["level"] == "warning"
    assert f"{folder} has mode {mode:04o}" in found["what"]
    assert found["write"].startswith(f"chmod go-w {folder}; ")


def test_a_folder_that_cannot_be_made(make_shop: Callable[..., Flask], tmp_path: Path) -> None:
    """The place of the store is no folder."""
    (tmp_path / "instance").write_text("a file")
    found = findings(make_shop(), status=1)["store-folder"]
    assert found["level"] == "error"
    assert "BGTASK_STORE" in found["write"]


def test_a_file_system_without_locks(
    make_shop: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks are tried out, in the folder of the store."""
    from flask_bgtask.stores.sqlite import liveness

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(liveness.fcntl, "lockf", no_locks)
    found = findings(make_shop(), status=1)["store-folder"]
    assert "is on a file system without file locks" in found["what"]


def test_little_room(make_shop: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full is said before jobs are refused."""
    from flask_bgtask.cli.doctor import store

    monkeypatch.setattr(store, "LITTLE_ROOM", float("inf"))
    assert levels(findings(make_shop()))["store-disk"] == "warning"


@pytest.mark.parametrize("content", [b"no database" * 100, b""], ids=["other", "newer"])
def test_a_store_that_cannot_be_used(
    make_shop: Callable[..., Flask], bg: BackgroundTasks, content: bytes, tmp_path: Path
) -> None:
    """Damaged, another program's, or of a newer version: the store's own words."""
    file = tmp_path / "instance" / "bgtask.sqlite3"
    if content:
        file.parent.mkdir()
        file.write_bytes(content)
    else:
        submitted(bg, make_shop(BGTASK_RUN_WORKERS=False))
        bg.shutdown()
        with file.open("r+b") as raw:
            raw.seek(60)  # "user version", in the header of a SQLite file
            raw.write((99).to_bytes(4, "big"))
    found = findings(make_shop(), status=1)
    assert levels(found)["store-unusable"] == "error"
    assert str(file) in found["store-unusable"]["what"]


def test_a_store_that_is_not_there_yet_in_this_version(make_shop: Callable[..., Flask]) -> None:
    """A kind of store that was set after ``init_app`` and cannot be made; with its key.

    The password stays where it is.
    """
    app = make_shop()
    app.config["BGTASK_STORE"] = "postgresql://u:geheim@db/jobs"
    found = findings(app, status=1)["store-setting"]
    assert "BGTASK_STORE = 'postgresql://u:•••@db/jobs'" in found["what"]


def test_memory(make_shop: Callable[..., Flask]) -> None:
    """Jobs in memory end with their process; in tests that is wanted."""
    assert levels(findings(make_shop(BGTASK_STORE="memory")))["store-memory"] == "warning"
    app = make_shop(BGTASK_STORE="memory")
    app.testing = True
    assert "store-memory" not in findings(app)


# Jobs.


@pytest.mark.usefixtures("nobody")
def test_nobody_runs_jobs(quiet: Flask, bg: BackgroundTasks) -> None:
    """Jobs wait and no process lives: an error, with how long the oldest waits."""
    submitted(bg, quiet)
    submitted(bg, quiet, queue="mail")
    found = findings(quiet, status=1)["no-worker"]
    assert found["level"] == "error"
    assert "2 jobs waiting, the oldest for " in found["what"]
    assert "flask bgtask worker" in found["write"]


@pytest.mark.usefixtures("nobody")
def test_a_job_whose_process_is_gone(quiet: Flask, bg: BackgroundTasks) -> None:
    """One that a dead process began waits for a live one too."""
    job_id = submitted(bg, quiet)
    columns = {"state": JobState.RUNNING, "worker": "somewhere:1", "process": "gone"}
    assert quiet.extensions["bgtask"].store.change(job_id, columns)
    assert "1 job begun by a process that is gone" in findings(quiet, status=1)["no-worker"]["what"]


@pytest.mark.usefixtures("nobody")
def test_nobody_would_run_jobs(quiet: Flask, bg: BackgroundTasks) -> None:
    """Nothing waits, but web processes that only submit need a worker beside them."""
    with quiet.app_context():
        bg.cancel(submitted(bg, quiet))
    assert levels(findings(quiet))["no-worker"] == "warning"


def test_web_processes_that_only_submit(
    quiet: Flask, bg: BackgroundTasks, processes: Callable[..., None]
) -> None:
    """They are alive, but run nothing; a worker process does."""
    submitted(bg, quiet)
    processes("/srv/bin/python /srv/bin/gunicorn -w 4 shop:app")
    assert "no-worker" in findings(quiet, status=1)
    processes("gunicorn shop:app", "/srv/bin/python /srv/bin/flask --app shop bgtask worker")
    assert "no-worker" not in findings(quiet)


def test_a_shell_runs_no_jobs(
    make_shop: Callable[..., Flask], bg: BackgroundTasks, processes: Callable[..., None]
) -> None:
    """``flask shell`` is a live process, and no worker."""
    app = make_shop()
    with app.app_context():
        bg.using(durable=True).submit(int).result(PATIENCE)
    processes("/srv/bin/python -m flask --app shop shell")

    @bg.periodic(every=60)
    @bg.task(name="digest")
    def digest() -> None: ...

    assert levels(findings(app))["schedules"] == "warning"
    processes("flask --app shop run --debug")
    assert "schedules" not in findings(app)


def test_a_long_wait(quiet: Flask, bg: BackgroundTasks, processes: Callable[..., None]) -> None:
    """Processes are alive, and yet a job waits for more than a minute."""
    job_id = submitted(bg, quiet)
    long_ago = time.time() - 7200
    columns = {"created_at": long_ago, "run_at": long_ago}
    assert quiet.extensions["bgtask"].store.change(job_id, columns)
    processes("flask bgtask worker")
    found = findings(quiet)["long-wait"]
    assert found["level"] == "warning"
    assert "1 job waiting, the oldest for 2 h" in found["what"]


def test_a_paused_queue(quiet: Flask, bg: BackgroundTasks, processes: Callable[..., None]) -> None:
    """Jobs wait in it; a paused queue without jobs is nobody's concern."""
    processes("flask bgtask worker")
    with quiet.app_context():
        bg.pause("mail")
        assert "paused" not in findings(quiet)
        submitted(bg, quiet, queue="mail")
    found = findings(quiet)["paused"]
    assert (found["level"], found["write"].split(",")[0]) == ("warning", "bg.resume('mail')")


def test_a_queue_that_nobody_takes(
    make_shop: Callable[..., Flask], bg: BackgroundTasks, processes: Callable[..., None]
) -> None:
    """It is left to others by the web processes, and no worker was started for it."""
    app = make_shop(BGTASK_QUEUES={"cpu": 0})
    submitted(bg, app, queue="cpu")
    processes("gunicorn shop:app", "flask bgtask worker --queues=mail,files")
    found = findings(app, status=1)["queue-left"]
    assert found["write"] == "Start a worker for it: flask bgtask worker --queues cpu"
    processes("gunicorn shop:app", "flask bgtask worker --queues mail,cpu")
    assert "queue-left" not in findings(app)
    assert "no-worker" not in findings(app)


def test_tasks_of_other_code(quiet: Flask, bg: BackgroundTasks) -> None:
    """Jobs wait for a task that this code does not have."""

    @bg.task(name="newer")
    def newer() -> None: ...

    with quiet.app_context():
        newer.submit()
    bg._registry.tasks.pop("newer")
    found = findings(quiet, status=1)["unknown-tasks"]
    assert found["level"] == "warning"
    assert "newer" in found["what"]


def test_jobs_that_ended_badly(quiet: Flask, bg: BackgroundTasks) -> None:
    """Lost and poisonous ones of the last day are named; older ones are history."""
    store = quiet.extensions["bgtask"].store
    poison = json.dumps(["Poison", "three times", ""])
    for name, columns in {
        "lost": {"state": JobState.LOST},
        "poison": {"state": JobState.FAILED, "error": poison},
    }.items():
        job_id = submitted(bg, quiet)
        assert store.change(job_id, {**columns, "finished_at": time.time() - 100})
        assert levels(findings(quiet))[name] == "warning"
        assert job_id in findings(quiet)[name]["what"]
        assert store.change(job_id, {"finished_at": time.time() - 100_000})
        assert name not in findings(quiet)


# Settings.


def test_no_secret_key(make_shop: Callable[..., Flask]) -> None:
    """What does not work without it."""
    app = make_shop()
    assert "secret-key" not in findings(app)
    app.secret_key = None
    assert levels(findings(app))["secret-key"] == "warning"


def test_who_may_see_the_pages(
    make_shop: Callable[..., Flask], bg: BackgroundTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed without ``authorize``, open to all in debug mode; either is said."""
    app = make_shop()
    assert "is refused" in findings(app)["rights"]["what"]
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert "open to everybody" in findings(app)["rights"]["what"]
    bg.authorize(lambda action, job: True)
    assert "rights" not in findings(app)


def test_no_pages_no_rights(make_shop: Callable[..., Flask]) -> None:
    """Without the blueprint there is nothing to see."""
    assert "rights" not in findings(make_shop(BGTASK_URL_PREFIX=None))


def test_mail(make_shop: Callable[..., Flask], bg: BackgroundTasks) -> None:
    """Only an app that sends mail has to be set up for it."""
    app = make_shop(BGTASK_RUN_WORKERS=False, MAIL_SERVER="localhost")
    state = Mail(app).state
    assert not {"mail", "mail-sender"} & findings(app).keys()
    with app.app_context():
        bg.send_mail(Message("hello", ["you@example.com"], "text", sender="me@example.com"))
    assert levels(findings(app, status=1))["mail-sender"] == "warning"
    state.default_sender = "me@example.com"
    assert not {"mail", "mail-sender"} & findings(app, status=1).keys()
    state.server = ""
    assert findings(app, status=1)["mail"]["what"] == "MAIL_SERVER is not set."
    del app.extensions["mail"]
    assert "Flask-Mail is not initialised" in findings(app, status=1)["mail"]["what"]


def test_immediate(make_shop: Callable[..., Flask]) -> None:
    """A setting for tests is not for production."""
    assert levels(findings(make_shop(BGTASK_IMMEDIATE=True)))["immediate"] == "warning"


# What it prints.


def test_the_worst_first(quiet: Flask, bg: BackgroundTasks, nobody: None) -> None:
    """Errors, warnings, notes; each with what to write."""
    quiet.secret_key = None

    @bg.task(name="waits")
    def waits() -> None: ...

    with quiet.app_context():
        waits.submit()
    result: Result = quiet.test_cli_runner().invoke(args=["bgtask", "doctor"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    heads = [line for line in lines if not line.startswith((" ", "-"))]
    assert heads[:2] == ["error: no-worker", "warning: secret-key"]
    assert heads[-1].startswith("info: ")
    assert lines[2].startswith("-->  Start the server")
