"""``flask bgtask worker``: real processes, real signals, a record of what ran where."""

from __future__ import annotations

import signal
import time

import pytest
from harness import ServerProcess, gunicorn, wait_until
from worker_site import WEB_ONLY, Site

WEB = gunicorn


def two_workers(port: int) -> list[str]:
    return gunicorn(port, "--workers", "2")


def end(worker: ServerProcess, number: signal.Signals = signal.SIGTERM) -> None:
    """Tell a worker to end, and see that it does so in peace."""
    worker.signal(number)
    assert worker.wait() == 0, worker.output()
    assert "Traceback" not in worker.output()


def test_jobs_run_in_the_worker_alone(site: Site) -> None:
    """Web processes that only submit, and a worker beside them."""
    server = site.serve(two_workers, **WEB_ONLY)
    for n in range(10):
        site.submit(server, key=f"before{n}")
    worker = site.worker()
    for n in range(10):
        site.submit(server, key=f"after{n}")
    ended = site.wait_for("end", 20)
    assert {pid for pid, _ in ended} == {worker.pid}
    assert len({key for _, key in ended}) == 20
    end(worker)


def test_it_says_what_it_does(site: Site) -> None:
    """One line at the start: threads, queues, store."""
    worker = site.worker("--queues", "mail, cpu", "--threads", "3")
    [line] = worker.output().splitlines()
    assert line.endswith(f"3 threads, queues cpu, mail, store {site.instance}/bgtask.sqlite3")
    end(worker)
    assert worker.output().splitlines()[1:] == ["Ended."]
    queues = '{"cpu": 0}'
    worker = site.worker(APP_BGTASK_WORKERS="1", APP_BGTASK_QUEUES=queues, **WEB_ONLY)
    assert "'worker_app': 1 thread, all queues but cpu, store" in worker.output()
    end(worker)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_jobs_end(site: Site, number: signal.Signals) -> None:
    """What runs has time to end; what waits is left to the next worker."""
    server = site.serve(WEB, **WEB_ONLY)
    worker = site.worker("--threads", "1")
    site.submit(server, key="runs", seconds=1)
    site.wait_for("begin", 1)
    site.submit(server, key="waits")
    end(worker, number)
    assert "Ending: 1 job still running, for at most 10 s" in worker.output()
    assert site.lines("end") == [(worker.pid, "runs")]
    following = site.worker()
    assert site.wait_for("end", 2)[1] == (following.pid, "waits")
    end(following)


def test_the_drain_has_a_limit(site: Site) -> None:
    """A job that takes longer is begun again elsewhere, and its attempt does not count."""
    server = site.serve(WEB, **WEB_ONLY)
    worker = site.worker(APP_BGTASK_DRAIN_TIMEOUT="0.5")
    job_id = site.submit(server, key="long", seconds=30)
    site.wait_for("begin", 1)
    began = time.monotonic()
    end(worker)
    assert 0.5 <= time.monotonic() - began < 2.5
    assert "1 job did not end in time" in worker.output()
    following = site.worker()
    site.wait_for("begin", 2)
    assert site.jobs()[job_id]["attempt"] == 1
    following.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(site: Site, number: signal.Signals) -> None:
    """Whoever insists does not wait for the drain; the status tells of the signal."""
    server = site.serve(WEB, **WEB_ONLY)
    worker = site.worker()
    site.submit(server, key="long", seconds=30)
    site.wait_for("begin", 1)
    worker.signal(number)
    wait_until(lambda: "Ending: " in worker.output(), what="the first signal was heard")
    worker.signal(number)
    assert worker.wait(5) == 128 + number
    assert "Traceback" not in worker.output()


def test_a_killed_worker_is_made_good(site: Site) -> None:
    """SIGKILL in the middle of jobs: a new worker does what the other began, and what waited."""
    server = site.serve(WEB, **WEB_ONLY)
    worker = site.worker("--threads", "2")
    keys = {f"k{n}" for n in range(8)}
    for key in sorted(keys):
        site.submit(server, key=key, seconds=0.5)
    site.wait_for("begin", 2)
    worker.kill()
    following = site.worker()
    wait_until(lambda: {key for _, key in site.lines("end")} == keys, what="all jobs ended")
    assert "died in attempt 1; the job is now queued" in following.output()
    end(following)


def test_a_queue_that_web_processes_leave(site: Site) -> None:
    """``BGTASK_QUEUES`` has 0 for it, so that only a worker which names it takes it."""
    queues = {"APP_BGTASK_QUEUES": '{"cpu": 0}'}
    server = site.serve(WEB, **queues)
    unnamed = site.worker(**queues)
    for n in range(5):
        site.submit(server, key=f"web{n}")
        site.submit(server, key=f"cpu{n}", queue="cpu")
    assert {key for _, key in site.wait_for("end", 5)} == {f"web{n}" for n in range(5)}
    named = site.worker("--queues", "cpu", **queues)
    ended = site.wait_for("end", 10)
    assert {key for pid, key in ended if pid == named.pid} == {f"cpu{n}" for n in range(5)}
    end(named)
    end(unnamed)


def test_threads(site: Site) -> None:
    """So many jobs at a time, whatever ``BGTASK_WORKERS`` says."""
    server = site.serve(WEB, **WEB_ONLY)
    for n in range(4):
        site.submit(server, key=f"k{n}", seconds=0.2)
    worker = site.worker("--threads", "1", APP_BGTASK_WORKERS="4")
    site.wait_for("end", 4)
    words = [line.split()[0] for line in site.journal.read_text().splitlines()]
    assert words == ["begin", "end"] * 4
    end(worker)


def test_jobs_of_jobs(site: Site) -> None:
    """What only this process can run it runs, whichever queues it was told to take and although
    the configuration says that no job runs here."""
    server = site.serve(WEB, **WEB_ONLY)
    worker = site.worker("--queues", "cpu", "--threads", "1", **WEB_ONLY)
    site.submit(server, task="family", key="k", queue="cpu")
    assert site.wait_for("child", 2) == [(worker.pid, "k")] * 2
    site.wait_for("end", 1)
    end(worker)


def test_forked_helpers_can_be_told_to_end(site: Site) -> None:
    """A child that a task forks does not inherit the worker's deaf ear."""
    server = site.serve(WEB, **WEB_ONLY)
    worker = site.worker()
    site.submit(server, task="helper", key="k")
    site.wait_for("end", 1)
    assert site.lines("status-15") == [(worker.pid, "k")]
    end(worker)


def test_schedules_tick_in_a_worker(site: Site) -> None:
    """With no server at all."""
    worker = site.worker(PERIODIC="1")
    assert {pid for pid, _ in site.wait_for("tick", 2)} == {worker.pid}
    end(worker)


REFUSED = {
    "memory": ({"APP_BGTASK_STORE": "memory"}, "in the memory of the process"),
    "immediate": ({"APP_BGTASK_IMMEDIATE": "true"}, "BGTASK_IMMEDIATE = True"),
    "engine": ({"APP_BGTASK_ENGINE": "huey"}, "BGTASK_ENGINE = 'huey'"),
    "store": ({"APP_BGTASK_STORE": "sqlite:////proc/jobs.sqlite3"}, "the store /proc/jobs.sqlite3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_a_worker_can_do_nothing(site: Site, name: str) -> None:
    """It says why in one line, with status 1, rather than wait for jobs that never come."""
    env, why = REFUSED[name]
    result = site.flask("bgtask", "worker", **env)
    assert result.returncode == 1
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"APP_BGTASK_WORKERS": "0"}, "BGTASK_WORKERS = 0: a whole number"),
        ({"APP_BGTASK_ENGINE": "celery"}, "BGTASK_ENGINE = 'celery': this version has"),
    ],
)
def test_an_app_that_cannot_be_made(site: Site, env: dict[str, str], why: str) -> None:
    """The doctor, as every other command, says in one line which setting is wrong."""
    for command in (["bgtask", "doctor"], ["routes"]):
        result = site.flask(*command, **env)
        assert result.returncode == 1
        assert why in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("option", [("--queues", " ,"), ("--threads", "0")], ids=str)
def test_wrong_options(site: Site, option: tuple[str, str]) -> None:
    """A usage error names the option."""
    result = site.flask("bgtask", "worker", *option)
    assert result.returncode == 2
    assert option[0] in result.stderr


def test_no_other_command_runs_jobs(site: Site) -> None:
    """Looking, cancelling and retrying are not working, in a configuration that would work."""
    server = site.serve(WEB, **WEB_ONLY)
    site.submit(server, key="waits")
    again = site.submit(server, key="again")
    assert site.flask("bgtask", "cancel", again).returncode == 0
    assert site.flask("bgtask", "retry", again).returncode == 0
    for words in ("list", "stats", "schedules", "purge", "doctor", f"show {again}"):
        assert "Traceback" not in site.flask("bgtask", *words.split()).stderr
    assert site.flask("routes").returncode == 0
    assert [job["state"] for job in site.jobs().values()] == ["queued"] * 2
    assert site.lines("begin") == []
    worker = site.worker()
    assert {key for _, key in site.wait_for("end", 2)} == {"waits", "again"}
    end(worker)
