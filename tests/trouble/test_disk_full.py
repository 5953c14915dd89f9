"""A full disk: what cannot be kept is refused, what was accepted is done, and room mends all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from harness import ServerProcess, wait_until
from trouble_site import (
    LITTLE,
    Site,
    accepted,
    ask,
    complaints,
    limit_files,
    small_disk,
    status,
    submit,
)


def worker_of(server: ServerProcess) -> int:
    """The process that serves."""
    wait_until(server.children, what="a worker")
    (pid,) = server.children()
    return pid


def log_size(site: Site) -> int:
    """Bytes of the store's write-ahead log, which is what grows."""
    return site.store.with_name(f"{site.store.name}-wal").stat().st_size


def test_a_submit_without_room_is_refused(site: Site) -> None:
    """The view gets a clear error, other views are unharmed, nothing that was accepted is lost."""
    server = site.serve()
    worker = worker_of(server)
    first = accepted(server, key="first")
    site.wait("end", "first")
    limit_files(worker, log_size(site) + 100_000)
    answers = {f"k{n}": submit(server, key=f"k{n}") for n in range(50)}
    refused = {key: answer for key, answer in answers.items() if answer.status != 202}
    assert 0 < len(refused) < len(answers)
    for answer in refused.values():
        assert answer.status == 503
        assert answer.body["error"].startswith(f"StoreError: the store {site.store} ")
        assert "disk is full" in answer.body["error"]
    assert status(server, first)["state"] == "succeeded"
    assert ask(server, "/bgtasks").status == 200
    assert int(server.get()) == worker
    limit_files(worker, None)
    accepted(server, key="last")
    site.wait("end", "last", *(answers.keys() - refused.keys()))
    assert not refused.keys() & set(site.count("begin"))
    assert set(site.count("end").values()) == {1}
    assert len(complaints(server, "disk is full")) <= 3
    assert "Traceback" not in server.output()


def test_an_end_without_room_is_written_later(site: Site) -> None:
    """A job that ends while the disk is full is shown as ended once there is room; its worker
    thread lives on and its function ran once."""
    server = site.serve(APP_BGTASK_WORKERS="1")
    worker = worker_of(server)
    ids = [accepted(server, key="a", seconds=1.5), accepted(server, key="b")]
    site.wait("begin", "a")
    fill(server, worker)
    site.wait("end", "a")
    settle = threading.Event()
    settle.wait(1.0)
    assert status(server, ids[0])["state"] == "running"
    assert site.count("begin") == {"a": 1}
    limit_files(worker, None)
    wait_until(lambda: {status(server, each)["state"] for each in ids} == {"succeeded"})
    assert site.count("begin") == site.count("end") == {"a": 1, "b": 1}
    accepted(server, key="c")
    site.wait("end", "c")
    assert worker_of(server) == worker


def fill(server: ServerProcess, worker: int) -> None:
    """Leave no room, so that not a single row fits."""
    limit_files(worker, LITTLE)
    assert submit(server, key="refused").status == 503


def test_progress_without_room_is_told_once(site: Site) -> None:
    """Progress that cannot be written harms no job and floods no log."""
    server = site.serve()
    worker = worker_of(server)
    job_id = accepted(server, key="a", seconds=2, task="chatty")
    site.wait("begin", "a")
    fill(server, worker)
    site.wait("end", "a")
    limit_files(worker, None)
    wait_until(lambda: status(server, job_id)["state"] == "succeeded", what="the end is written")
    assert len(complaints(server, "disk is full")) <= 3
    assert "Traceback" not in server.output()


def test_jobs_in_memory_run_without_room(site: Site) -> None:
    """A job that is not durable is run even where its row cannot be written yet."""
    server = site.serve()
    worker = worker_of(server)
    accepted(server, key="first")
    site.wait("end", "first")
    fill(server, worker)
    ids = [accepted(server, key=f"v{n}", function="volatile") for n in range(5)]
    site.wait("end", *(f"v{n}" for n in range(5)))
    assert {status(server, each)["state"] for each in ids} == {"succeeded"}
    limit_files(worker, None)
    wait_until(lambda: ask(server, "/bgtasks").body["counts"]["succeeded"] == 6)
    assert "Traceback" not in server.output()


def fill_up(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_disk_that_is_full(site: Site) -> None:
    """The same on a disk of 2 MB that another program fills up and clears again."""
    with small_disk(site.folder / "instance", "2m") as mounted:
        if not mounted:
            pytest.skip("only root may mount a disk; the tests above limit the files instead")
        server = site.serve()
        job_id = accepted(server, key="a", seconds=1.5)
        site.wait("begin", "a")
        other = site.folder / "instance" / "other"
        with pytest.raises(OSError, match="No space"):
            fill_up(other)
        answers = {f"k{n}": submit(server, key=f"k{n}") for n in range(50)}
        refused = {key: answer for key, answer in answers.items() if answer.status != 202}
        assert refused
        assert all("is full" in answer.body["error"] for answer in refused.values())
        site.wait("end", "a")
        other.unlink()
        wait_until(lambda: status(server, job_id)["state"] == "succeeded", what="it is written")
        site.wait("end", *(answers.keys() - refused.keys()))
        assert not refused.keys() & set(site.count("begin"))
        server.kill()
