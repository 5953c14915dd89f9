"""Old and new code side by side, as during a deploy: what only the new code knows is left to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harness import PROJECT, ServerProcess, environment, wait_until
from trouble_site import Site, accepted, ask, complaints, reaches, status

NEW = """
from trouble_app import note


def fresh(key, seconds=0.0):
    note("fresh", key)
    return key
"""

#: What the old release has in place of the module: none, or one without the function.
OLD = {"no module": None, "no function": "def other():\n    pass\n"}


@pytest.fixture(params=OLD, ids=lambda name: name.replace(" ", "-"))
def releases(request: pytest.FixtureRequest, site: Site) -> dict[str, Path]:
    """Folders with the code of two releases, over the same application and store."""
    folders = {name: site.folder / name for name in ("old", "new")}
    for name, text in (("old", OLD[request.param]), ("new", NEW)):
        folders[name].mkdir()
        if text is not None:
            (folders[name] / "release.py").write_text(text)
    return folders


def serve(site: Site, releases: dict[str, Path], name: str, **env: str) -> ServerProcess:
    """A server with the code of one release."""
    paths = [str(releases[name]), str(site.folder), str(PROJECT)]
    return site.serve(PYTHONPATH=os.pathsep.join(paths), RELEASE=name, **env)


def test_a_task_that_only_the_new_code_knows(site: Site, releases: dict[str, Path]) -> None:
    """The old process does not touch it, names it in its health, and goes on with what it
    knows; a new process runs it, once, in its first attempt."""
    old = serve(site, releases, "old")
    new = serve(site, releases, "new", APP_BGTASK_RUN_WORKERS="false")
    fresh = [accepted(new, key=f"fresh{n}", task="fresh") for n in range(3)]
    for n in range(5):
        accepted(new, key=f"known{n}")
    site.wait("end", *(f"known{n}" for n in range(5)))
    wait_until(lambda: unknown(old) == ["fresh"], what="health names the task")
    assert unknown(new) == []
    assert "fresh" in doctor(site, releases, "old")
    assert "fresh" not in doctor(site, releases, "new")
    threading.Event().wait(1.0)
    assert not site.count("fresh")
    assert {status(old, each)["state"] for each in fresh} == {"queued"}
    newer = serve(site, releases, "new")
    site.wait("fresh", *(f"fresh{n}" for n in range(3)))
    for job_id in fresh:
        reaches(old, job_id, "succeeded")
        assert status(newer, job_id)["attempt"] == 1
    assert {line.pid for line in site.lines() if line.word == "fresh"} <= newer.children()
    assert set(site.count("fresh").values()) == {1}
    assert unknown(old) == []


def test_a_signed_function_that_only_the_new_code_has(
    site: Site, releases: dict[str, Path]
) -> None:
    """The old process cannot tell before it tries: it gives the job back with no attempt used,
    says so once for the function, and leaves further ones alone."""
    old = serve(site, releases, "old")
    new = serve(site, releases, "new", APP_BGTASK_RUN_WORKERS="false")
    ids = [accepted(new, key=f"fresh{n}", function="fresh") for n in range(3)]
    wait_until(lambda: unknown(old) == ["release:fresh"], what="health names the function")
    accepted(new, key="known")
    site.wait("end", "known")
    threading.Event().wait(1.0)
    assert not site.count("fresh")
    assert 1 <= len(complaints(old, "which cannot be imported here")) <= 3
    for job_id in ids:
        assert status(old, job_id)["state"] == "queued"
        assert status(old, job_id)["attempt"] == 0
    serve(site, releases, "new")
    site.wait("fresh", *(f"fresh{n}" for n in range(3)))
    for job_id in ids:
        reaches(old, job_id, "succeeded")
        assert status(old, job_id)["attempt"] == 1
    assert "Traceback" not in old.output()


def test_what_nobody_knows_is_kept(site: Site, releases: dict[str, Path]) -> None:
    """After a roll-back the jobs of the newer code wait, for days if need be, and health names
    them; they can be cancelled by who does not know them."""
    new = serve(site, releases, "new", APP_BGTASK_RUN_WORKERS="false")
    kept = accepted(new, key="kept", task="fresh")
    ended = accepted(new, key="ended", task="fresh")
    new.kill()
    old = serve(site, releases, "old")
    wait_until(lambda: unknown(old) == ["fresh"], what="health names the task")
    assert ask(old, f"/bgtasks/{ended}/cancel", post=True).body["state"] == "cancelled"
    old.signal(15)
    old.wait()
    assert not site.count("fresh")
    again = serve(site, releases, "new")
    site.wait("fresh", "kept")
    reaches(again, kept, "succeeded")
    assert site.count("fresh") == {"kept": 1}


def doctor(site: Site, releases: dict[str, Path], name: str) -> str:
    """What ``flask bgtask doctor`` says of waiting jobs, with the code of one release."""
    paths = [str(releases[name]), str(site.folder), str(PROJECT)]
    env = environment(
        site.folder,
        {
            "PYTHONPATH": os.pathsep.join(paths),
            "RELEASE": name,
            "JOURNAL": str(site.folder / "record"),
            "INSTANCE": str(site.store.parent),
        },
    )
    command = [sys.executable, "-m", "flask", "--app", "application", "bgtask", "doctor"]
    said = subprocess.run(command, cwd=site.folder, env=env, capture_output=True, timeout=60)
    lines = said.stdout.decode().splitlines()
    return "\n".join(line for line in lines if "Jobs wait for tasks" in line)


def unknown(server: ServerProcess) -> list[str]:
    """The tasks that jobs wait for and this server does not know."""
    return list(ask(server, "/bgtasks/health").body["unknown_tasks"])
