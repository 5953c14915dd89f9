"""A store that cannot be used at the start: one line says so and what to set, nothing else is
tried, the application's own pages are served, and once the cause is gone it works."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import ServerProcess, gunicorn, wait_until
from trouble_site import Site, accepted, ask, complaints, powerless, submit


class Case(NamedTuple):
    """Something that is wrong with a store's folder or file."""

    spoil: Callable[[Path], None]
    repair: Callable[[Path], None]
    says: tuple[str, ...]


def _make_folder_read_only(folder: Path) -> None:
    folder.mkdir(mode=0o555)


def _make_folder_writable(folder: Path) -> None:
    folder.chmod(0o755)


def _put_file_in_place_of_folder(folder: Path) -> None:
    folder.write_text("no folder")


def _remove(folder: Path) -> None:
    folder.unlink()


def _make_all_read_only(folder: Path) -> None:
    folder.mkdir()
    _make_store(folder / "bgtask.sqlite3", rows=1)
    (folder / "bgtask.sqlite3").chmod(0o444)
    folder.chmod(0o555)


def _make_all_writable(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "bgtask.sqlite3").chmod(0o600)


def _make_log_impossible(folder: Path) -> None:
    folder.mkdir()
    _make_store(folder / "bgtask.sqlite3", rows=1)
    folder.chmod(0o555)


def _write_nonsense(folder: Path) -> None:
    folder.mkdir()
    (folder / "bgtask.sqlite3").write_bytes(b"this is no database, but some text " * 99)


def _damage(folder: Path) -> None:
    folder.mkdir()
    path = folder / "bgtask.sqlite3"
    _make_store(path, rows=400)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(20_000))


def _make_newer(folder: Path) -> None:
    folder.mkdir()
    _make_store(folder / "bgtask.sqlite3", rows=0)
    with contextlib.closing(sqlite3.connect(folder / "bgtask.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 999")


def _move_away(folder: Path) -> None:
    for path in folder.glob("bgtask.sqlite3*"):
        if path.is_file():
            path.rename(path.with_name(f"old-{path.name}"))


def _make_store(path: Path, rows: int) -> None:
    """A store with jobs of another app, closed."""
    from flask_bgtask.job import Record
    from flask_bgtask.stores.sqlite import SQLiteStore

    store = SQLiteStore("another", path)
    store.counts()
    for n in range(rows):
        store.add(Record(id=f"{n:032x}", app="another", task="t", durable=True, owner="x" * 900))
    store.close()


CASES = {
    "a read-only folder": Case(
        _make_folder_read_only, _make_folder_writable, ("Permission denied", "BGTASK_STORE")
    ),
    "a read-only store": Case(_make_all_read_only, _make_all_writable, ("BGTASK_STORE",)),
    "a store in a read-only folder": Case(
        _make_log_impossible, _make_folder_writable, ("BGTASK_STORE",)
    ),
    "a folder that cannot be made": Case(
        _put_file_in_place_of_folder, _remove, ("cannot be used", "BGTASK_STORE")
    ),
    "no database": Case(_write_nonsense, _move_away, ("is no SQLite database", "BGTASK_STORE")),
    "a damaged file": Case(_damage, _move_away, ("is damaged", "move the file away")),
    "a newer version": Case(
        _make_newer, _move_away, ("newer version of Flask-BgTask", "BGTASK_STORE")
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_store_that_cannot_be_used(site: Site, name: str) -> None:
    """From the start on: one line in the log, submit and health say so; repaired, all works
    without a restart."""
    case = CASES[name]
    folder = site.folder / "instance"
    case.spoil(folder)
    server = site.start(lambda port: powerless(gunicorn(port, "--threads", "4")))
    wait_until(lambda: complaints(server, "background jobs: "), what="a line in the log")
    assert int(server.get()) in server.children()
    refused = submit(server, key="refused")
    assert refused.status == 503
    for words in (str(folder), *case.says):
        assert words in refused.body["error"]
    assert ask(server, "/bgtasks/health").status == 503
    threading.Event().wait(2.5)  # in which it is tried again, and not told again
    assert_said_once(server, folder, case.says)
    case.repair(folder)
    wait_until(lambda: ask(server, "/bgtasks/health").status == 200, what="the store is usable")
    accepted(server, key="after")
    site.wait("end", "after")
    assert set(site.count("begin")) == {"after"}


def assert_said_once(server: ServerProcess, folder: Path, words: tuple[str, ...]) -> None:
    """One line names the file and what to do; no traceback beside it."""
    (line,) = complaints(server, "background jobs: ")
    for each in (str(folder), *words):
        assert each in line
    assert "Traceback" not in server.output()


def test_jobs_of_an_earlier_process_run_once_the_store_is_there(site: Site) -> None:
    """A store whose folder is there later (a disk that is mounted late) is picked up: its
    waiting jobs run with no request."""
    server = site.serve(APP_BGTASK_RUN_WORKERS="false")
    keys = [f"k{n}" for n in range(5)]
    for key in keys:
        accepted(server, key=key)
    server.kill()
    folder, away = site.folder / "instance", site.folder / "away"
    folder.rename(away)
    folder.write_text("no folder")
    server = site.serve()
    wait_until(lambda: complaints(server, "background jobs: "), what="a line in the log")
    folder.unlink()
    away.rename(folder)
    site.wait("end", *keys, timeout=10)


def test_a_folder_without_file_locks(site: Site) -> None:
    """Where a dead process could not be told from a live one nothing is accepted, and nothing
    that waits is begun; the line says where to put the file instead."""
    server = site.serve(APP_BGTASK_RUN_WORKERS="false")
    accepted(server, key="waiting")
    server.kill()
    server = site.serve(NO_LOCKS="1")
    wait_until(lambda: complaints(server, "without file locks"), what="a line in the log")
    for args in ({}, {"function": "durable"}, {"function": "volatile"}):
        refused = submit(server, key="refused", **args)
        assert refused.status == 503
        assert "without file locks (No locks available)" in refused.body["error"]
        assert "BGTASK_STORE" in refused.body["error"]
    threading.Event().wait(2.5)
    assert len(complaints(server, "without file locks")) == 1
    assert "Traceback" not in server.output()
    assert int(server.get()) in server.children()
    assert not site.count("begin")
    server.kill()
    site.serve()
    site.wait("end", "waiting")
