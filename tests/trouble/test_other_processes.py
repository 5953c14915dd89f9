"""One process submits and others work: they notice, and who waits is told, at once."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

import pytest
from flask import Flask
from harness import PATIENCE, environment
from trouble_site import Site, accepted

from flask_bgtask import BackgroundTasks, current_job

#: Seconds within which a waiting process begins what another one submitted.
AT_ONCE = 0.1

JOBS = 50

# Waits by a handle for jobs that run elsewhere, and says how long after their end it knew.
CLIENT = """
import json, sys, time
from trouble_app import app, bg, work

late = []
with app.app_context():
    for n in range(int(sys.argv[1])):
        handle = work.submit(f"c{n}", 0.013)  # so that they end between two looks
        handle.result(20)
        late.append(time.time() - handle.job.finished_at.timestamp())
print(json.dumps(late))
"""


def summary(name: str, seconds: list[float]) -> list[float]:
    """Print the figures; the times in rising order."""
    ranked = sorted(seconds)
    print(
        f"{name}: median {statistics.median(ranked) * 1000:.0f} ms, "
        f"largest {ranked[-1] * 1000:.0f} ms"
    )
    return ranked


def test_a_waiting_process_notices_work_at_once(site: Site) -> None:
    """From the request at a process that only submits to the beginning in one that works: less
    than 100 ms, over 50 jobs; a machine that is busy otherwise may spoil a few."""
    submitter = site.serve(APP_BGTASK_RUN_WORKERS="false")
    worker = site.serve()
    accepted(submitter, key="first")
    site.wait("end", "first")
    pause = threading.Event()
    for n in range(JOBS):
        accepted(submitter, key=f"k{n}")
        pause.wait(0.03 + 0.001 * n)  # at another moment between two looks each time
    site.wait("end", *(f"k{n}" for n in range(JOBS)))
    began = {line.key: line for line in site.lines() if line.word == "begin"}
    sent = {line.key: line.at for line in site.lines() if line.word == "sent"}
    assert {line.pid for line in began.values()} <= worker.children()
    waits = summary("noticed", [began[f"k{n}"].at - sent[f"k{n}"] for n in range(JOBS)])
    assert waits[int(JOBS * 0.9)] < AT_ONCE
    assert set(site.count("begin").values()) == {1}


def test_who_waits_is_told_at_once(site: Site) -> None:
    """A handle of a job that runs in another process is done within 100 ms of its end."""
    site.serve()
    (site.folder / "client.py").write_text(CLIENT)
    paths = {"JOURNAL": str(site.folder / "record"), "INSTANCE": str(site.store.parent)}
    env = environment(site.folder, {**paths, "APP_BGTASK_RUN_WORKERS": "false"})
    client = subprocess.run(
        [sys.executable, "client.py", "30"],
        cwd=site.folder,
        env=env,
        capture_output=True,
        timeout=2 * PATIENCE,
    )
    assert client.returncode == 0, client.stderr.decode()
    waits = summary("told", json.loads(client.stdout))
    assert waits[int(len(waits) * 0.9)] < AT_ONCE
    assert len(site.count("end")) == 30


def test_who_waits_for_many_is_told_of_each(
    make_app: Callable[..., Flask], bg: BackgroundTasks
) -> None:
    """However many handles of unfinished jobs a process has, no other is overlooked."""
    worker = make_app(BGTASK_STORE="sqlite")
    submitter = make_app(BGTASK_STORE="sqlite", BGTASK_RUN_WORKERS=False)
    task = bg.task(int, name="number")
    with submitter.app_context():
        held = [task.using(delay=3600).submit() for _ in range(1_100)]
        handles = [task.submit(str(n)) for n in range(3)]
        bg.start(worker)
        assert [handle.result(PATIENCE) for handle in handles] == [0, 1, 2]
        assert not any(handle.done() for handle in held)


# Two apps of one name that share a store are to each other as two processes are.


@pytest.fixture
def script(make_app: Callable[..., Flask]) -> Flask:
    """A process that serves nothing: it has one worker for its own jobs."""
    return make_app(BGTASK_STORE="sqlite", BGTASK_WORKERS=1)


@pytest.fixture
def other(make_app: Callable[..., Flask]) -> Flask:
    """Another process."""
    return make_app(BGTASK_STORE="sqlite")


@pytest.mark.parametrize("durable", [True, False])
def test_a_script_hears_that_its_job_is_to_stop(
    script: Flask, other: Flask, bg: BackgroundTasks, durable: bool
) -> None:
    """Though it serves nothing, and waits for nothing."""
    began, ended = threading.Event(), threading.Event()

    def obey() -> None:
        began.set()
        try:
            while not ended.wait(0.001):
                current_job.checkpoint()
        finally:
            ended.set()

    task = bg.task(obey, name="obey", durable=durable)
    with script.app_context():
        job_id = task.submit().id
    assert began.wait(PATIENCE)
    with other.app_context():
        assert bg.cancel(job_id).cancel_requested
        assert ended.wait(PATIENCE)
        with pytest.raises(CancelledError):
            bg.handle(job_id).result(PATIENCE)


@pytest.mark.parametrize("delay", [0, 60], ids=["queued", "scheduled"])
def test_a_job_that_waits_is_cancelled_from_elsewhere(
    script: Flask, other: Flask, bg: BackgroundTasks, delay: float
) -> None:
    """Who waits for it is told, and its process does not wait for it when it ends."""
    began, opened = threading.Event(), threading.Event()
    with script.app_context():
        bg.submit(lambda: began.set() or opened.wait(PATIENCE))
        assert began.wait(PATIENCE)
        waits = bg.using(delay=delay).submit(int)
    with other.app_context():
        assert bg.cancel(waits.id).state == "cancelled"
    with script.app_context():
        with pytest.raises(CancelledError):
            waits.result(PATIENCE)
        opened.set()
        bg.shutdown()


def test_a_job_that_is_tried_again_elsewhere(
    script: Flask, other: Flask, bg: BackgroundTasks
) -> None:
    """Who submitted it is told of its end, though its first attempt was here."""
    began, opened = threading.Event(), threading.Event()

    def work() -> int:
        if current_job.attempt == 1:
            raise ValueError
        return current_job.attempt

    with script.app_context():
        handle = bg.task(work, name="work", retries=1, backoff=0.05).submit()
        bg.submit(lambda: began.set() or opened.wait(PATIENCE))  # its only worker is busy now
        assert began.wait(PATIENCE)
        bg.start(other)
        assert handle.result(PATIENCE) == 2
        opened.set()
        bg.shutdown()
