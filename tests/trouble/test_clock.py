"""The clock is set back an hour: what waits runs, and nothing is deleted early or done twice."""

from __future__ import annotations

import threading

from harness import ServerProcess, wait_until
from trouble_site import Site, accepted, ask, complaints, reaches, status


def set_clock(site: Site, seconds: float) -> None:
    """Let the clock of the servers be wrong by so much, from now on."""
    draft = site.folder / "clock.new"
    draft.write_text(str(seconds))
    draft.rename(site.folder / "clock")


def serve(site: Site, **env: str) -> ServerProcess:
    """A server whose clock can be set."""
    return site.serve(CLOCK=str(site.folder / "clock"), APP_BGTASK_WORKERS="2", **env)


def test_the_clock_goes_back_an_hour(site: Site) -> None:
    """Running and queued jobs end, new ones run, a delay counts by the new clock, and finished
    jobs stay; a job that was scheduled before waits for the time that was said."""
    set_clock(site, 0)
    server = serve(site)
    done = accepted(server, key="done")
    site.wait("end", "done")
    running = [accepted(server, key=f"running{n}", seconds=1) for n in range(2)]
    queued = [accepted(server, key=f"queued{n}") for n in range(5)]
    scheduled = accepted(server, key="scheduled", delay=2)
    site.wait("begin", "running0", "running1")
    set_clock(site, -3600)
    site.wait("end", *(f"queued{n}" for n in range(5)))
    accepted(server, key="new")
    accepted(server, key="soon", delay=1)
    site.wait("end", "new", "soon", timeout=10)
    threading.Event().wait(1.0)
    assert status(server, scheduled)["state"] == "scheduled"
    for job_id in (done, *running, *queued):
        reaches(server, job_id, "succeeded")
    assert ask(server, "/bgtasks/health").status == 200
    set_clock(site, 0)
    site.wait("end", "scheduled", timeout=15)
    assert set(site.count("begin").values()) == {1}
    assert "Traceback" not in server.output()
    assert not complaints(server, "ERROR")


def test_a_restart_after_the_clock_went_back(site: Site) -> None:
    """What a killed server left is picked up although its times are still to come."""
    set_clock(site, 0)
    server = serve(site)
    accepted(server, key="a", seconds=30)
    accepted(server, key="b", seconds=30)
    accepted(server, key="c")
    site.wait("begin", "a", "b")
    server.kill()
    set_clock(site, -3600)
    server = serve(site)
    wait_until(lambda: site.count("begin")["a"] == site.count("begin")["b"] == 2, 10)
    accepted(server, key="d")
    assert ask(server, "/bgtasks").body["counts"]["running"] == 2


def test_jobs_are_kept_for_their_time(site: Site) -> None:
    """With a second to be kept, finished jobs go; back an hour, those from before stay longer,
    and none goes earlier than its second."""
    set_clock(site, 0)
    server = serve(site, APP_BGTASK_RESULT_TTL="3600")
    old = accepted(server, key="old")
    site.wait("end", "old")
    set_clock(site, -3599)
    new = accepted(server, key="new")
    site.wait("end", "new")
    server.kill()
    server = serve(site)  # which deletes what is over at once
    wait_until(lambda: ask(server, "/bgtasks/health").status == 200)
    threading.Event().wait(1.0)
    assert {status(server, each)["state"] for each in (old, new)} == {"succeeded"}
    server.kill()
    set_clock(site, 2)  # the old job's hour is not over yet, that of the new one is
    server = serve(site)
    wait_until(lambda: ask(server, f"/bgtasks/{new}").status == 404, what="the new one is gone")
    assert status(server, old)["state"] == "succeeded"


def test_ticks_after_the_clock_went_back(site: Site) -> None:
    """A tick that was dealt with is not dealt with again; the schedule goes on when the clock
    has come to where it was."""
    set_clock(site, 0)
    server = serve(site, TICK="1")
    wait_until(lambda: site.count("tick")["tick"] >= 3, what="ticks")
    set_clock(site, -6)
    threading.Event().wait(1.5)  # in which a tick that was noted before may still run
    before = site.count("tick")["tick"]
    threading.Event().wait(2.5)
    assert site.count("tick")["tick"] == before
    wait_until(lambda: site.count("tick")["tick"] >= before + 2, 15, "ticks go on")
    assert "Traceback" not in server.output()
