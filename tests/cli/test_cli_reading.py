"""Commands that read say what is in the store, to people and to programs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_bgtask import BackgroundTasks, JobFailed, current_job

PATIENCE = 20.0

UNKNOWN = "0" * 32


@pytest.fixture
def done(bg: BackgroundTasks, app: Flask) -> str:
    """The id of a job that succeeded."""

    @bg.task(name="add")
    def add(left: int, password: str) -> int:
        current_job.progress(1, 2, "half way")
        current_job.log("adding")
        return left + 1

    with app.app_context():
        handle = add.using(label="sums", owner="7").submit(1, password="hidden")
        assert handle.result(PATIENCE) == 2
    return handle.id


@pytest.fixture
def failed(bg: BackgroundTasks, app: Flask, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a job that failed."""

    @bg.task(name="divide", queue="slow")
    def divide() -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(app.logger, "disabled", True)
    with app.app_context():
        handle = divide.submit()
        assert isinstance(handle.exception(PATIENCE), (ZeroDivisionError, JobFailed))
    return handle.id


READING = ["list", "stats", "schedules", "purge", "doctor"]


@pytest.mark.parametrize("name", READING)
def test_looking_makes_no_file(command: Callable[..., Result], instance: Path, name: str) -> None:
    """Where there was no job yet, a look leaves everything as it was."""
    before = threading.active_count()
    command(name)
    assert not instance.exists()
    assert threading.active_count() == before


def test_no_jobs_yet(command: Callable[..., Result], answer: Callable[..., Any]) -> None:
    """A list of nothing says so, and is an empty list for programs."""
    assert command("list").output == "No jobs yet.\n"
    assert answer("list") == {"jobs": [], "next": None}
    assert set(answer("stats")["counts"].values()) == {0}


@pytest.mark.parametrize("name", ["show", "cancel", "retry"])
@pytest.mark.parametrize("used", [False, True], ids=["no store", "a store"])
def test_an_unknown_id(
    command: Callable[..., Result], request: pytest.FixtureRequest, name: str, used: bool
) -> None:
    """It ends with status 1 and one line."""
    if used:
        request.getfixturevalue("done")
    result = command(name, UNKNOWN, status=1)
    assert result.output == f"Error: no job '{UNKNOWN}' in this application's store\n"


def test_list(command: Callable[..., Result], done: str, failed: str) -> None:
    """One line a job, newest first, below headings."""
    head, first, second = command("list").output.splitlines()
    assert head.split()[:4] == ["ID", "STATE", "TASK", "QUEUE"]
    assert first.split()[:4] == [failed, "failed", "divide", "slow"]
    assert second.split()[:4] == [done, "succeeded", "add", "default"]
    assert second.split()[-1] == "sums"


@pytest.mark.parametrize(
    "option", [("--state", "failed"), ("--task", "divide"), ("--queue", "slow")], ids=str
)
def test_list_of_some(
    answer: Callable[..., Any], done: str, failed: str, option: tuple[str, str]
) -> None:
    """A filter leaves the others out."""
    assert [job["id"] for job in answer("list", *option)["jobs"]] == [failed]


def test_list_of_an_owner(answer: Callable[..., Any], done: str, failed: str) -> None:
    """Only what belongs to somebody."""
    assert [job["id"] for job in answer("list", "--owner", "7")["jobs"]] == [done]


def test_list_of_nothing(command: Callable[..., Result], done: str) -> None:
    """A filter that finds nothing is told from an empty store."""
    assert command("list", "--task", "other").output == "No such jobs.\n"


def test_list_page_by_page(
    command: Callable[..., Result], answer: Callable[..., Any], done: str, failed: str
) -> None:
    """``--after`` goes on where a list ended."""
    first = answer("list", "--limit", "1")
    assert [job["id"] for job in first["jobs"]] == [failed]
    second = answer("list", "--limit", "1", "--after", first["next"])
    assert [job["id"] for job in second["jobs"]] == [done]
    assert second["next"] is None
    shown = command("list", "--limit", "1").output
    assert shown.endswith(f"More: --after {first['next']}\n")


def test_list_after_something_else(command: Callable[..., Result], done: str) -> None:
    """What no list ended with is refused, by name."""
    assert "--after" in command("list", "--after", "there", status=2).output


def test_show(command: Callable[..., Result], done: str, failed: str) -> None:
    """All that is known: arguments with secrets as dots, result, log lines; or the traceback."""
    text = command("show", done).output
    for line in (f"id {done}", "state succeeded", "label sums", "owner 7", "result 2", "args [1]"):
        name, value = line.split()
        assert any(each.split() == [name, value] for each in text.splitlines()), line
    assert "adding" in text
    assert "1/2 half way" in text
    assert "hidden" not in text
    text = command("show", failed).output
    assert "ZeroDivisionError: by nothing" in text
    assert "Traceback (most recent call last)" in text


def test_show_as_data(answer: Callable[..., Any], done: str, failed: str) -> None:
    """The same for programs; times in UTC with their zone."""
    data = answer("show", done)
    assert (data["id"], data["state"], data["result"]) == (done, "succeeded", 2)
    assert (data["args"], data["kwargs"]) == ([1], {"password": "•••"})
    assert data["progress"] == {"done": 1, "total": 2, "note": "half way", "percent": 50.0}
    assert data["created_at"].endswith("+00:00")
    assert answer("show", failed)["error"]["type"] == "ZeroDivisionError"


def test_a_terminal_obeys_no_label(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result]
) -> None:
    """Control characters are replaced: users choose labels, administrators read them."""
    with app.app_context():
        handle = bg.using(label="\x1b[2Jgone\r\nnext\udc80", durable=True).submit(int)
        handle.result(PATIENCE)
    for words in (["list"], ["show", handle.id]):
        output = command(*words).output
        assert not {"\x1b", "\r", "\udc80"} & set(output)
        assert "gone" in output


def test_stats(
    bg: BackgroundTasks,
    app: Flask,
    command: Callable[..., Result],
    answer: Callable[..., Any],
    done: str,
    failed: str,
) -> None:
    """Counts by state, live processes, paused queues, tasks that this code does not have."""
    with app.app_context():
        bg.pause("later")
        waits = bg.tasks["add"].using(queue="later").submit(1, "x")
    data = answer("stats")
    assert data["counts"]["succeeded"] == data["counts"]["failed"] == data["counts"]["queued"] == 1
    assert data["processes"] == app.extensions["bgtask"].store.processes()
    assert data["paused"] == ["later"]
    assert 0 <= data["oldest_queued_age"] < PATIENCE
    bg._registry.tasks.pop("add")
    assert answer("stats")["unknown_tasks"] == ["add"]
    lines = [line.split() for line in command("stats").output.splitlines()]
    assert ["succeeded", "1"] in lines
    assert ["unknown", "tasks", "add"] in lines
    assert waits.cancel()


def test_schedules(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result], answer: Callable[..., Any]
) -> None:
    """What this code registers, with its next tick, before any process made one."""

    @bg.periodic(every=3600)
    @bg.task(name="digest")
    def digest() -> None: ...

    [line] = answer("schedules")["schedules"]
    assert (line["id"], line["task"], line["rule"]) == ("digest", "digest", "every 1:00:00")
    assert line["last_tick"] is None
    assert line["next_tick"].endswith(":00:00+00:00")
    assert line["registered"] is True
    assert "every 1:00:00" in command("schedules").output


class NoMoreTicks:
    """A trigger with a fault."""

    def get_next_fire_time(self, previous: object, now: object) -> None:
        raise LookupError("the calendar is empty")


def test_a_trigger_that_fails(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result], answer: Callable[..., Any]
) -> None:
    """Its schedule is listed, with why it has no next tick; so are all others."""
    bg.periodic(trigger=NoMoreTicks(), id="one")(bg.task(lambda: None, name="one"))
    bg.periodic(every=3600, id="two")(bg.task(lambda: None, name="two"))
    one, two = answer("schedules")["schedules"]
    assert (one["next_tick"], one["error"]) == (None, "LookupError: the calendar is empty")
    assert two["next_tick"] is not None
    assert two["error"] is None
    assert "LookupError: the calendar is empty" in command("schedules").output


def test_schedules_that_are_no_more(
    bg: BackgroundTasks, app: Flask, command: Callable[..., Result], answer: Callable[..., Any]
) -> None:
    """What the store remembers and this code does not have is shown as such."""

    @bg.periodic(every=3600)
    @bg.task(name="digest")
    def digest() -> None: ...

    app.extensions["bgtask"].parts.ticker.tick()
    assert answer("schedules")["schedules"][0]["last_tick"] is not None
    bg._registry.schedules.clear()
    [line] = answer("schedules")["schedules"]
    assert (line["registered"], line["next_tick"]) == (False, None)
    assert "not in this code" in command("schedules").output


def test_no_schedules(command: Callable[..., Result]) -> None:
    """An empty list says so."""
    assert command("schedules").output == "No schedules.\n"


def test_the_memory_of_another_process(make_app: Callable[..., Flask]) -> None:
    """With jobs in memory a command cannot see them, and says so."""
    app = make_app("in memory", BGTASK_STORE="memory")
    result = app.test_cli_runner().invoke(args=["bgtask", "list"])
    assert result.exit_code == 1
    assert "BGTASK_STORE = 'memory'" in result.output


def test_the_memory_of_this_process(make_app: Callable[..., Flask], bg: BackgroundTasks) -> None:
    """In a test the command is in the process of the jobs, and shows them."""
    app = make_app("in memory", BGTASK_STORE="memory")
    with app.app_context():
        handle = bg.submit(int)
        handle.result(PATIENCE)
    assert handle.id in app.test_cli_runner().invoke(args=["bgtask", "list"]).output


def test_a_store_that_cannot_be_read(command: Callable[..., Result], instance: Path) -> None:
    """One line with what to do, no traceback."""
    instance.mkdir()
    (instance / "bgtask.sqlite3").write_bytes(b"no database at all" * 100)
    result = command("list", status=1)
    assert result.output.startswith("Error: the store ")
    assert "is no SQLite database" in result.output
    assert "Traceback" not in result.output
