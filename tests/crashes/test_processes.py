"""Several processes at the same instant: one key, one tick."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from crash_site import Site
from harness import gunicorn, wait_until

RACE = """
import os, sys
from crash_app import app, bg, note, work
from flask_bgtask import DuplicateJob

name, rounds = sys.argv[1], int(sys.argv[2])
accepted = refused = 0
with app.app_context():
    for n in range(rounds):
        try:
            handle = work.using(unique="one").submit(f"{name}.{n}", 0)
        except DuplicateJob:
            refused += 1
        else:
            accepted += 1
            handle.result(30)
    bg.shutdown()
print(accepted, refused)
"""


@pytest.mark.parametrize(
    "rounds", [100, pytest.param(1000, marks=pytest.mark.stress)], ids=["short", "long"]
)
def test_one_unique_key_in_four_processes(site: Site, rounds: int) -> None:
    """Each time the key is free exactly one job gets it: never are two of them unfinished."""
    (site.folder / "race.py").write_text(RACE)
    env = {**os.environ, **site.env, "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [
        subprocess.Popen(
            [sys.executable, "race.py", f"p{n}", str(rounds)],
            cwd=site.folder,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    results = [racer.communicate(timeout=100)[0].split() for racer in racers]
    accepted = sum(int(each[0]) for each in results)
    lines = [line for line in site.record.lines() if line.word in ("begin", "end")]
    print(f"accepted {accepted} of {4 * rounds}")
    assert all(int(a) + int(b) == rounds for a, b in results)
    assert len(lines) == 2 * accepted
    # Each begins only after the one before has ended.
    assert [line.word for line in lines] == ["begin", "end"] * accepted
    assert all(a.key == b.key for a, b in pairwise(lines) if a.word == "begin")


@pytest.mark.parametrize(
    "seconds", [8, pytest.param(60, marks=pytest.mark.stress)], ids=["short", "long"]
)
def test_ticks_while_workers_die(site: Site, seconds: int) -> None:
    """A task each second, four workers killed one after the other: each tick at most once, and
    none missing, as one process always lived."""
    server = site.start(lambda port: gunicorn(port, "--workers", "4"), TICK="1")
    wait_until(lambda: site.record.count("tick"), what="the first tick")
    kills = 0
    end = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < end:
        pause.wait(1.3)
        children = sorted(server.children())
        os.kill(children[kills % len(children)], signal.SIGKILL)
        kills += 1
    scheduled = sorted(int(line.at) for line in site.record.lines() if line.word == "tick")
    print(f"{len(scheduled)} ticks, {kills} kills")
    missing = set(range(scheduled[0], scheduled[-1] + 1)) - set(scheduled)
    assert not missing
    assert len(scheduled) == len(set(scheduled))


def test_nothing_runs_without_a_server(site: Site, tmp_path: Path) -> None:
    """``flask routes``, ``flask shell`` and a failing import: no job runs, no file appears, and
    the end is immediate, also beside a store with waiting jobs."""
    env = {**os.environ, **site.env, "PYTHONPATH": os.pathsep.join([str(site.folder), *sys.path])}
    flask = [sys.executable, "-m", "flask", "--app", "application"]
    (site.folder / "broken.py").write_text("import crash_app\nraise RuntimeError('broken')\n")
    commands = [
        [*flask, "routes"],
        [*flask, "shell"],
        [sys.executable, "-c", "import application"],
        [sys.executable, "-m", "flask", "--app", "broken", "routes"],
    ]

    def run_all() -> None:
        for each in commands:
            began = time.monotonic()
            subprocess.run(
                each,
                cwd=site.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
            )
            assert time.monotonic() - began < 5

    run_all()
    assert not (site.folder / "instance").exists()
    server = site.start(lambda port: gunicorn(port, "--workers", "1"))
    site.submit(server, key="held", seconds=60)
    for n in range(8):
        site.submit(server, key=f"k{n}", seconds=60)
    wait_until(lambda: len(site.record.count("begin")) == 4, what="four began")
    server.kill()
    run_all()
    assert len(site.record.count("begin")) == 4
