"""Somebody writes into the store: that job comes to a clear state, nothing is executed that was
neither registered nor signed, and the other jobs and the pages are unharmed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from harness import wait_until
from trouble_site import tamper

from flask_bgtask import BackgroundTasks, Handle, Job, JobFailed, JobState

#: Seconds that a job gets to come to its state.
SOON = 15.0


def keep(path: str, key: str) -> str:
    """Append a line to a file: the record of what really ran."""
    with open(path, "a") as file:
        file.write(f"{key}\n")
    return key


def other(path: str, key: str) -> None:
    """A function of the application's that nobody submitted."""
    keep(path, f"other {key}")


class Store(NamedTuple):
    """An app that works on a store in a file."""

    app: Flask
    bg: BackgroundTasks
    folder: Path

    @property
    def record(self) -> Path:
        """What tasks appended to."""
        return self.folder / "record"

    @property
    def file(self) -> Path:
        """The store's."""
        return self.folder / "instance" / "bgtask.sqlite3"

    def ran(self) -> list[str]:
        """The lines of the record."""
        return self.record.read_text().splitlines() if self.record.exists() else []

    def submit(self, key: str, *, function: bool = False, **options: Any) -> Handle[Any]:
        """Submit the task, or the function itself."""
        with self.app.app_context():
            if function:
                submitter: Any = self.bg.using(durable=True, **options)
                return submitter.submit(keep, str(self.record), key)
            return self.bg.tasks["keep"].using(**options).submit(str(self.record), key)

    def put(self, *, function: bool = False, **columns: Any) -> str:
        """Submit a job for later, then change its row and let it wait to be run; its id."""
        handle = self.submit("tampered", function=function, delay=3600)
        tamper(self.file, handle.id, **{"state": "queued", "run_at": 1.0, **columns})
        return handle.id

    def get(self, job_id: str) -> Job:
        """The job, as any process sees it."""
        with self.app.app_context():
            return self.bg.get(job_id)

    def ended(self, job_id: str) -> Job:
        """The job once it has ended."""
        wait_until(lambda: self.get(job_id).state.finished, SOON, "the job ends")
        return self.get(job_id)

    def assert_unharmed(self, job_id: str) -> None:
        """Other jobs run, and every page and list can be read."""
        before = self.ran().count("unharmed")
        self.submit("unharmed").result(SOON)
        late = self.submit("unharmed", delay=0.01)  # which is claimed from the store
        assert late.result(SOON) == "unharmed"
        assert self.ran().count("unharmed") == before + 2
        client = self.app.test_client()
        for path in ("", f"/{job_id}", "/health", "/metrics"):
            for accept in ("application/json", "text/html"):
                answer = client.get(f"/bgtasks{path}", headers={"Accept": accept})
                assert answer.status_code == 200, answer.text
        with self.app.app_context():
            assert job_id in [job.id for job in self.bg.jobs()]
        for command in (["list"], ["list", "--json"], ["show", job_id], ["stats"]):
            result = self.app.test_cli_runner().invoke(args=["bgtask", *command])
            assert result.exit_code == 0, result.output


@pytest.fixture
def store(tmp_path: Path, bg: BackgroundTasks) -> Store:
    """An app whose workers look for jobs in the file."""
    app = Flask("tests", instance_path=str(tmp_path / "instance"), root_path=str(tmp_path))
    app.config.update(TESTING=True, SECRET_KEY="tests only", BGTASK_STORE="sqlite")
    bg.init_app(app)
    bg.task(keep, name="keep")
    bg.start(app)
    return Store(app, bg, tmp_path)


SHELL = '{"args": ["echo shell >> %s"], "kwargs": {}}'


@pytest.mark.parametrize("signature", [None, "", "no signature", "é", "x" * 1000])
@pytest.mark.parametrize("function", [False, True], ids=["task", "function"])
@pytest.mark.parametrize("name", ["os:system", "test_tampered_rows:other", "no_such_module:f", ":"])
def test_a_function_that_was_not_submitted(
    store: Store, name: str, function: bool, signature: str | None
) -> None:
    """A row that names another function fails, whatever its signature says, and its module is
    not even imported; running it again does not help."""
    arguments = SHELL % store.record if name == "os:system" else None
    columns = {} if arguments is None else {"arguments": arguments}
    job_id = store.put(function=function, task=name, signature=signature, **columns)
    job = store.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.type == "BadSignature"
    assert "is no task of this application" in job.error.message
    assert "was not executed" in job.error.message
    store.assert_unharmed(job_id)
    with store.app.app_context():
        store.bg.retry(job_id)
    assert store.ended(job_id).state is JobState.FAILED
    assert set(store.ran()) == {"unharmed"}


def test_a_name_that_would_forge_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks and terminal codes in it are escaped wherever it is logged."""
    job_id = store.put(task="no:such\x1b[2J\r\nERROR all is lost")
    store.ended(job_id)
    [record] = [each for each in caplog.records if job_id in each.getMessage()]
    assert r"no:such\x1b[2J\r\nERROR all is lost" in record.getMessage()
    assert record.getMessage().isprintable()
    assert "\x1b" not in caplog.text


def test_a_signature_of_another_row(store: Store) -> None:
    """A signature is of one job's id, function and arguments: moved to another row it is none."""
    honest = store.submit("honest", function=True)
    honest.result(SOON)
    with closing(sqlite3.connect(store.file)) as connection:
        (signature, arguments) = connection.execute(
            "SELECT signature, arguments FROM job WHERE id = ?", (honest.id,)
        ).fetchone()
    job_id = store.put(function=True, signature=signature, arguments=arguments)
    job = store.ended(job_id)
    assert job.error is not None
    assert job.error.type == "BadSignature"
    assert store.ran() == ["honest"]
    store.assert_unharmed(job_id)


def test_a_row_of_another_app(store: Store, bg: BackgroundTasks) -> None:
    """A row is signed for its app, also where two apps have the same key and file."""
    other = Flask("other", instance_path=str(store.folder / "instance"))
    other.config.update(TESTING=True, SECRET_KEY="tests only", BGTASK_STORE="sqlite")
    other.config["BGTASK_RUN_WORKERS"] = False
    bg.init_app(other)
    with other.app_context():
        handle = bg.using(durable=True).submit(keep, str(store.record), "of another app")
    tamper(store.file, handle.id, app="tests")
    job = store.ended(handle.id)
    assert job.error is not None
    assert job.error.type == "BadSignature"
    store.assert_unharmed(handle.id)
    assert set(store.ran()) == {"unharmed"}


@pytest.mark.parametrize("column", ["arguments", "carried"])
def test_a_signed_row_that_was_changed(store: Store, column: str) -> None:
    """Arguments and carried context are signed too."""
    texts = {
        "arguments": json.dumps({"args": [str(store.record), "changed"], "kwargs": {}}),
        "carried": '{"owner": "somebody else"}',
    }
    job_id = store.put(function=True, **{column: texts[column]})
    job = store.ended(job_id)
    assert job.error is not None
    assert job.error.type == "BadSignature"
    store.assert_unharmed(job_id)
    assert set(store.ran()) == {"unharmed"}


UNREADABLE = {
    "arguments, cut off": {"arguments": '{"args": [1'},
    "arguments, of no call": {"arguments": "[1, 2]"},
    "arguments, no text": {"arguments": b"\xff\xfe".decode("latin-1")},
    "arguments, gone": {"arguments": None},
    "arguments, nested": {"arguments": "[" * 100_000},
    "carried, cut off": {"carried": '{"owner'},
    "carried, a list": {"carried": "[1]"},
    "options, cut off": {"options": "{"},
    "options, a list": {"options": "[1, 2]"},
    "options, a timeout of letters": {"options": '{"timeout": "soon"}'},
    "options, a backoff of letters": {"options": '{"backoff": ["soon"]}'},
    "memo, cut off": {"memo": "{"},
    "memo, a list": {"memo": "[1]"},
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_row_that_cannot_be_read(store: Store, case: str) -> None:
    """What the job needs is unreadable: it fails without being run, and says what it is."""
    job_id = store.put(**UNREADABLE[case])
    job = store.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.type == "ArgumentError"
    assert "in the store" in job.error.message
    store.assert_unharmed(job_id)
    assert set(store.ran()) == {"unharmed"}


HARMLESS = {
    "progress, cut off": {"progress": "["},
    "progress, of letters": {"progress": '["a", "b", 3]'},
    "logs, cut off": {"logs": "[["},
    "logs, an object": {"logs": '{"a": 1}'},
    "logs, of letters": {"logs": '[["a", "b", "c"], 5, [1, 1e300, "far"]]'},
    "error, cut off": {"error": "["},
    "error, too short": {"error": '["x"]'},
    "memo of another": {"memo": '{"x": 1}'},
    "signature": {"signature": "x"},
    "result": {"result": "{x"},
    "attempt, negative": {"attempt": -5},
    "attempt, the largest": {"attempt": 2**63 - 1},
    "attempt, the smallest": {"attempt": -(2**63)},
    "max_attempts, negative": {"max_attempts": -1},
    "crashes, the largest": {"crashes": 2**63 - 1},
    "priority, the smallest": {"priority": -(2**63)},
    "created_at, far": {"created_at": 1e300},
    "created_at, infinite": {"created_at": float("inf")},
    "started_at, long ago": {"started_at": -1e300},
    "finished_at, far": {"finished_at": 1e300},
    "on_crash": {"on_crash": "nonsense"},
    "token and process": {"token": "x", "process": "y", "worker": "z"},
    "cancelled": {"cancel_requested": 5, "drained": -1},
}


@pytest.mark.parametrize("case", HARMLESS)
def test_a_row_with_nonsense_that_is_not_needed(store: Store, case: str) -> None:
    """What is only shown does not keep the job from running, nor the lists from being read."""
    job_id = store.put(**HARMLESS[case])
    store.app.test_client().get(f"/bgtasks/{job_id}")
    job = store.ended(job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.result == "tampered"
    store.assert_unharmed(job_id)
    assert store.ran() == ["tampered", "unharmed", "unharmed"]


SHOWN = {
    "state": ({"state": "nonsense"}, JobState.LOST),
    "state, empty": ({"state": ""}, JobState.LOST),
    "failed, unreadable": ({"state": "failed", "error": "x"}, JobState.FAILED),
    "failed, no error": ({"state": "failed", "error": None}, JobState.FAILED),
    "lost, unreadable": ({"state": "lost", "error": "[1]"}, JobState.LOST),
    "succeeded, unreadable": ({"state": "succeeded", "result": "{"}, JobState.SUCCEEDED),
    "succeeded, no result": ({"state": "succeeded", "result": None}, JobState.SUCCEEDED),
    "cancelled, far": ({"state": "cancelled", "finished_at": 1e300}, JobState.CANCELLED),
    "unknown task": ({"task": "no.such.task"}, JobState.QUEUED),
    "no task": ({"task": ""}, JobState.QUEUED),
    "another queue": ({"queue": "", "state": "scheduled", "run_at": 9e99}, JobState.SCHEDULED),
    "a time that never comes": ({"state": "scheduled", "run_at": float("inf")}, JobState.SCHEDULED),
    "markup": ({"state": "cancelled", "task": "<script>", "label": "<b>"}, JobState.CANCELLED),
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_row_that_is_only_shown(store: Store, case: str) -> None:
    """Whatever a row says, it has a state, and can be listed, shown and, once ended, deleted."""
    columns, state = SHOWN[case]
    job_id = store.put(**columns)
    assert store.get(job_id).state is state
    store.assert_unharmed(job_id)
    client = store.app.test_client()
    action = {"action": "delete" if state.finished else "cancel", "ids": [job_id]}
    assert client.post("/bgtasks/bulk", json=action).json == {"done": 1, "refused": []}
    assert set(store.ran()) == {"unharmed"}


@pytest.mark.parametrize("column", ["task", "queue", "arguments", "label", "owner", "error"])
def test_a_text_that_is_none(store: Store, column: str) -> None:
    """SQLite keeps any bytes as a text; such a row is shown with marks in their place, and
    those who claim pass it over or fail it."""
    job_id = store.put(state="scheduled", run_at=9e9)
    with closing(sqlite3.connect(store.file)) as connection, connection:
        connection.execute(
            f"UPDATE job SET {column} = CAST(x'ff41' AS TEXT), state = 'queued' WHERE id = ?",
            (job_id,),
        )
    store.assert_unharmed(job_id)
    if column == "arguments":
        job = store.ended(job_id)
        assert job.error is not None
        assert job.error.type == "ArgumentError"
    elif column == "task":
        assert store.get(job_id).task == "\N{REPLACEMENT CHARACTER}A"
        assert store.get(job_id).state is JobState.QUEUED
    else:
        assert store.ended(job_id).state is JobState.SUCCEEDED


def test_a_handle_of_a_tampered_job(store: Store) -> None:
    """Who waits for the job gets an error, and does not wait for ever."""
    handle = store.submit("tampered", delay=3600)
    tamper(store.file, handle.id, state="failed", error="nonsense")
    error = handle.exception(SOON)
    assert isinstance(error, JobFailed)
    again = store.submit("tampered", delay=3600)
    tamper(store.file, again.id, state="succeeded", result="nonsense")
    assert again.exception(SOON) is not None
    assert store.ran() == []


def test_orphans_with_nonsense(store: Store) -> None:
    """A broken row among those of a dead process keeps none of the others from running again."""
    columns = {"state": "running", "process": "dead", "token": "t", "worker": "nowhere:1"}
    ids = [
        store.put(**columns, attempt=1, crashes=crashes, drained=drained)
        for crashes, drained in ((2**63 - 1, 0), (-(2**63), 0), (0, 1), (0, 0))
    ]
    tamper(store.file, ids[2], attempt=-(2**63))
    states = [store.ended(each).state for each in ids]
    assert states[0] is JobState.FAILED  # as poison
    assert states[1:] == [JobState.SUCCEEDED] * 3
    assert store.ran() == ["tampered"] * 3
