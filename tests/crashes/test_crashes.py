"""What was accepted is done, whatever dies: real servers, real signals, an independent record."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException

import pytest
from crash_site import Site
from harness import PATIENCE, ServerProcess, environment, gunicorn, wait_until

SYNC = ("--workers", "4")
THREADS = ("--workers", "4", "--worker-class", "gthread", "--threads", "4")


def command(*options: str) -> Callable[[int], Sequence[str]]:
    return lambda port: gunicorn(port, *options)


def submit_until_accepted(site: Site, server: ServerProcess, key: str, accepted: set[str]) -> None:
    """A client that tries again when its connection breaks, and counts what was accepted."""
    for attempt in range(20):
        with contextlib.suppress(OSError, HTTPException):
            site.submit(server, key=f"{key}.{attempt}", seconds=0.2)
            accepted.add(f"{key}.{attempt}")
            return
    raise AssertionError("the server accepted nothing in 20 tries")


def running_at(site: Site, pid: int, at: float) -> set[str]:
    """The jobs that a process was busy with when it was killed.

    One whose function had just ended counts too: its end may not have been written yet.
    """
    mine = [line for line in site.record.lines() if line.pid == pid]
    ended = {line.key for line in mine if line.word == "end" and line.at < at - 0.1}
    return {line.key for line in mine if line.word == "begin"} - ended


def wait_after(site: Site, key: str, at: float) -> float:
    """Seconds from a kill to the job's next beginning; 0 if its end had been written."""
    again = [line.at - at for line in site.record.lines() if line[1:3] == ("begin", key)]
    return min((wait for wait in again if wait > 0), default=0.0)


@pytest.mark.parametrize("options", [SYNC, THREADS], ids=["sync", "gthread"])
def test_killed_workers_lose_nothing(site: Site, options: Sequence[str]) -> None:
    """500 jobs over HTTP while a worker is killed each second: none lost, none done twice but
    those that ran at a kill, each of which begins again within a second."""
    server = site.start(command(*options))
    accepted: set[str] = set()
    kills: list[tuple[float, int]] = []
    done = threading.Event()

    def kill() -> None:
        while not done.wait(1.0):
            for pid in sorted(server.children())[:1]:
                kills.append((time.time(), pid))
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ThreadPoolExecutor(4) as clients:
            submit = partial(submit_until_accepted, site, server, accepted=accepted)
            list(clients.map(submit, [f"k{n}" for n in range(500)]))
        wait_until(lambda: accepted <= set(site.record.count("end")), 60, "all accepted jobs ended")
    finally:
        done.set()
        killer.join()
    assert len(kills) >= 4
    ends = site.record.count("end")
    lost = accepted - set(ends)
    twice = {key for key, count in ends.items() if count > 1}
    running = [(key, at) for at, pid in kills for key in running_at(site, pid, at)]
    assert not lost
    assert twice <= {key for key, _ in running}
    waits = [wait_after(site, key, at) for key, at in running]
    print(
        f"accepted {len(accepted)}, kills {len(kills)}, running at a kill {len(running)}, "
        f"twice {len(twice)}, longest wait {max(waits, default=0):.2f} s"
    )
    assert max(waits, default=0) < 1.0


@pytest.mark.parametrize(
    "preload",
    [(), ("--preload",), ("-k", "gevent"), ("-k", "gevent", "--preload")],
    ids=["plain", "preload", "gevent", "gevent-preload"],
)
def test_a_killed_server_is_made_good_by_the_next(site: Site, preload: Sequence[str]) -> None:
    """With jobs queued and running, the whole server is killed; a new one finishes them all
    within 10 s without any request."""
    server = site.start(command("--workers", "2", *preload))
    keys = [f"k{n}" for n in range(40)]
    for key in keys:
        site.submit(server, key=key, seconds=0.3)
    wait_until(lambda: site.record.count("begin"), what="the first job began")
    server.kill()
    assert set(site.record.count("end")) < set(keys)
    begun = time.monotonic()
    site.start(command("--workers", "2", *preload))
    wait_until(lambda: set(site.record.count("end")) == set(keys), 10, "all jobs ended")
    print(f"all {len(keys)} ended {time.monotonic() - begun:.1f} s after the start")


def test_a_stopped_worker_keeps_its_jobs(site: Site) -> None:
    """A worker that is frozen for 5 s is alive: nobody takes its jobs, nothing is done twice."""
    server = site.start(command("--workers", "2", "--timeout", "60"))
    for n in range(8):
        site.submit(server, key=f"k{n}", seconds=1.0)
    wait_until(lambda: len(site.record.count("begin")) >= 8, what="all began")
    frozen = next(line.pid for line in site.record.lines())
    os.kill(frozen, signal.SIGSTOP)
    threading.Event().wait(5.0)
    os.kill(frozen, signal.SIGCONT)
    wait_until(lambda: len(site.record.count("end")) == 8, what="all ended")
    assert set(site.record.count("begin").values()) == {1}
    assert set(site.record.count("end").values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["HUP", "TERM"])
def test_reload_and_stop_under_load(site: Site, number: signal.Signals) -> None:
    """Nothing is lost; a stop takes no longer than the drain time and two seconds."""
    server = site.start(command(*THREADS), APP_BGTASK_DRAIN_TIMEOUT="3")
    accepted: set[str] = set()
    stop = threading.Event()

    def client(n: int) -> None:
        count = 0
        while not stop.is_set():
            key = f"c{n}.{count}"
            count += 1
            with contextlib.suppress(OSError, HTTPException):
                site.submit(server, key=key, seconds=0.2)
                accepted.add(key)

    clients = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for each in clients:
        each.start()
    wait_until(lambda: len(accepted) > 100, what="load")
    began = time.monotonic()
    server.signal(number)
    if number is signal.SIGTERM:
        server.wait(30)
        took = time.monotonic() - began
        stop.set()
        print(f"stopped in {took:.1f} s")
        assert took < 3 + 2
    else:
        wait_until(lambda: len(accepted) > 300, what="load goes on after the reload")
        stop.set()
    for each in clients:
        each.join()
    if number is signal.SIGTERM:
        server = site.start(command(*THREADS))
    wait_until(lambda: accepted <= set(site.record.count("end")), 60, "all accepted jobs ended")


def test_status_is_there_in_every_worker(site: Site) -> None:
    """Straight after the 202, whichever worker is asked knows the job."""
    server = site.start(command(*SYNC))
    for n in range(20):
        job_id = site.submit(server, key=f"k{n}", seconds=0)
        for _ in range(5):
            assert site.status(server, job_id)["id"] == job_id


def test_poison_is_parked(site: Site) -> None:
    """A job that kills its process three times is not tried a fourth time."""
    server = site.start(command("--workers", "2"))
    site.submit(server, key="ok", seconds=0)
    job_id = site.submit(server, task="poison", delay=0.2)
    wait_until(lambda: site.status(server, job_id).get("state") == "failed", what="it failed")
    assert site.record.count("begin")["poison"] == 3


def test_at_most_once(site: Site) -> None:
    """``on_crash="fail"``: its process died, so it is lost, and not run again."""
    server = site.start(command("--workers", "2"))
    job_id = site.submit(server, task="once", key="k", seconds=30)
    wait_until(lambda: site.record.count("begin"), what="it began")
    os.kill(site.record.lines()[0].pid, signal.SIGKILL)
    wait_until(lambda: site.status(server, job_id).get("state") == "lost", what="it is lost")
    assert site.record.count("begin")["k"] == 1


# The life of one job in three processes: told to stop, killed, and the one that looks after it.
LIVES = """
import os, sys, threading
from crash_app import app, bg, note
from flask_bgtask.signals import job_lost, job_retrying

life, retries = sys.argv[1], int(sys.argv[2])
began, go_on, told = threading.Event(), threading.Event(), threading.Event()

@bg.task(name="once", on_crash="fail", retries=retries, backoff=0)
def once():
    note("begin", life)
    if life == "killed":
        os.kill(os.getpid(), 9)
    began.set()
    assert go_on.wait(20)
    raise ValueError("in time")

def tell(app, job):
    note(job.state, life)
    told.set()

with app.app_context(), job_lost.connected_to(tell), job_retrying.connected_to(tell):
    if life == "drained":
        handle = once.submit()
        assert began.wait(20)
        assert not bg.drain(app, timeout=0)
        go_on.set()
        if retries:
            assert told.wait(20)
        else:
            handle.exception(20)
            bg.retry(handle.id)
    else:
        bg.start(app)
        assert told.wait(20)
os._exit(0)
"""


@pytest.mark.parametrize("retries", [1, 0], ids=["by itself", "by hand"])
def test_at_most_once_after_a_drain(site: Site, retries: int) -> None:
    """A drain excuses the attempt that it cut short, not the next: one that failed in time after
    all is tried again, and if its process dies then, it is lost."""
    (site.folder / "lives.py").write_text(LIVES)
    codes = []
    for life in ("drained", "killed", "after"):
        ended = subprocess.run(
            [sys.executable, "lives.py", life, str(retries)],
            cwd=site.folder,
            env=environment(site.folder, site.env),
            capture_output=True,
            timeout=PATIENCE,
        )
        print(ended.stderr.decode())
        codes.append(ended.returncode)
    assert codes == [0, -signal.SIGKILL, 0]
    told = [(line.word, line.key) for line in site.record.lines() if line.word != "queued"]
    assert told == [("begin", "drained"), ("begin", "killed"), ("lost", "after")]
