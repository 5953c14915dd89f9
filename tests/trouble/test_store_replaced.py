"""The store's file goes while servers use it: a clear error, no silent new file, and after a
restart all is well."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from harness import wait_until
from trouble_site import Site, accepted, ask, complaints, status, submit

GONE = "was deleted or replaced while in use"


def delete(store: Path) -> None:
    """As ``rm instance/bgtask.sqlite3*``."""
    for path in store.parent.glob(f"{store.name}*"):
        if path.is_file():
            path.unlink()


def delete_alone(store: Path) -> None:
    """As ``rm`` of the file, whose log stays behind."""
    store.unlink()


def replace(store: Path) -> None:
    """As a restored backup: another store, of the same version, in the file's place."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(backup(store))) as copy:
        source.backup(copy)
    os.replace(backup(store), store)


def backup(store: Path) -> Path:
    """Where the copy is made."""
    return store.with_name("backup")


@pytest.mark.parametrize("fate", [delete, delete_alone, replace], ids=lambda fate: fate.__name__)
def test_a_store_that_goes_while_in_use(site: Site, fate: object) -> None:
    """Submit is refused, health is 503, other pages are served, the log says it once, no new
    file appears; the restarted server works, and a waiting job of a restored file runs."""
    server = site.serve("--workers", "2", APP_BGTASK_DRAIN_TIMEOUT="2")
    running = accepted(server, key="running", seconds=2)
    accepted(server, key="later", delay=6)
    site.wait("begin", "running")
    wait_until(lambda: len(ask(server, "/bgtasks/health").body["workers"]) == 2, what="both work")
    fate(site.store)  # type: ignore[operator]
    threading.Event().wait(0.1)
    for _ in range(6):
        refused = submit(server, key="refused")
        assert refused.status == 503
        assert refused.body["error"].startswith(f"StoreError: the store {site.store} {GONE}")
        assert ask(server, "/bgtasks/health").status == 503
        assert status(server, running)["status"] == 503
        assert int(server.get()) in server.children()
    site.wait("end", "running")
    threading.Event().wait(1.5)
    assert site.store.exists() == (fate is replace)
    assert 1 <= len(complaints(server, GONE)) <= 2  # one for each worker process
    assert "Traceback" not in server.output()
    server.signal(signal.SIGTERM)
    server.wait(6)
    server = site.serve()
    wait_until(lambda: ask(server, "/bgtasks/health").status == 200, what="health is up")
    accepted(server, key="after")
    site.wait("end", "after")
    if fate is replace:
        site.wait("end", "later", "running")
    assert "refused" not in site.count("begin")


def test_a_process_that_starts_while_others_miss_the_file(site: Site) -> None:
    """A worker that comes after the file was deleted makes no new one beside processes that
    still have the old one; once those have ended, it does."""
    old = site.serve()
    accepted(old, key="old")
    site.wait("end", "old")
    site.store.unlink()
    new = site.serve()
    wait_until(lambda: complaints(new, GONE), what="a line in the log")
    assert submit(new, key="refused").status == 503
    assert not site.store.exists()
    old.kill()
    wait_until(lambda: submit(new, key="new").status == 202, 10, "the new one works")
    site.wait("end", "new")


def test_a_file_that_is_put_back(site: Site) -> None:
    """A file that was moved away by mistake and is put back is used again, without a restart;
    the job that ended meanwhile is shown as ended, and ran once."""
    server = site.serve()
    job_id = accepted(server, key="a", seconds=1)
    site.wait("begin", "a")
    away = site.store.with_name("away")
    site.store.rename(away)
    wait_until(lambda: submit(server, key="refused").status == 503, 5, "submits are refused")
    site.wait("end", "a")
    away.rename(site.store)
    wait_until(lambda: status(server, job_id).get("state") == "succeeded", what="it is written")
    accepted(server, key="b")
    site.wait("end", "b")
    assert site.count("begin")["a"] == 1
