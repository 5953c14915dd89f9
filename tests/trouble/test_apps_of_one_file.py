"""Two applications whose stores are one file: neither sees, counts or runs the other's jobs."""

from __future__ import annotations

import threading

from harness import wait_until
from trouble_site import Site, accepted, ask, reaches, status, submit


def test_two_apps_in_one_file(site: Site) -> None:
    """Lists, status, counts, limits and steering are each app's own; ids are never shared."""
    alpha = site.serve(NAME="alpha", APP_BGTASK_RUN_WORKERS="false", APP_BGTASK_MAX_QUEUED="3")
    beta = site.serve(NAME="beta", APP_BGTASK_RUN_WORKERS="false", APP_BGTASK_MAX_QUEUED="3")
    ids = {
        name: [accepted(server, key=f"{name}{n}") for n in range(3)]
        for name, server in (("alpha", alpha), ("beta", beta))
    }
    for server, mine, others in (
        (alpha, ids["alpha"], ids["beta"]),
        (beta, ids["beta"], ids["alpha"]),
    ):
        assert "QueueFull" in submit(server, key="refused").body["error"]
        assert {job["id"] for job in ask(server, "/bgtasks").body["jobs"]} == set(mine)
        assert ask(server, "/bgtasks").body["counts"]["queued"] == 3
        for other in others:
            assert ask(server, f"/bgtasks/{other}").status == 404
            assert ask(server, f"/bgtasks/{other}/cancel", post=True).status == 404
    assert not set(ids["alpha"]) & set(ids["beta"])


def test_an_app_leaves_the_jobs_of_another_alone(site: Site) -> None:
    """Waiting and orphaned jobs of an app whose servers are down wait for it: the other one,
    which knows tasks of the same names, takes none, and clears nothing away."""
    alpha = site.serve(NAME="alpha", APP_BGTASK_WORKERS="2")
    held = [accepted(alpha, key=f"held{n}", seconds=30) for n in range(2)]
    accepted(alpha, key="waiting")
    signed = accepted(alpha, key="signed", function="durable")
    site.wait("begin", "held0", "held1")
    alpha.kill()
    beta = site.serve(NAME="beta")
    accepted(beta, key="own")
    site.wait("end", "own")
    threading.Event().wait(1.5)  # in which it looks for orphans several times
    assert set(site.count("begin")) == {"held0", "held1", "own"}
    assert ask(beta, "/bgtasks/health").body["unknown_tasks"] == []
    alpha = site.serve(NAME="alpha", APP_BGTASK_WORKERS="4")
    site.wait("end", "waiting", "signed")
    reaches(alpha, signed, "succeeded")
    wait_until(lambda: site.count("begin")["held0"] == site.count("begin")["held1"] == 2)
    assert {status(alpha, each)["state"] for each in held} == {"running"}
