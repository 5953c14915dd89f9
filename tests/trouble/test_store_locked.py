"""Another program keeps the store locked for ten seconds: who submits waits or is told, who does
not is unharmed, and afterwards everything goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from harness import wait_until
from trouble_site import Answer, Site, accepted, ask, complaints, locked, reaches, status, submit

#: Seconds for which the store is locked, and for which a submit waits.
LOCKED = 12.0
PATIENCE = 5.0

#: Seconds within which a request is answered that writes nothing.
AT_ONCE = 1.0


def timed(call: Callable[[], Answer]) -> tuple[float, Answer]:
    """What a call gives, after the seconds that it took."""
    begun = time.monotonic()
    answer = call()
    return time.monotonic() - begun, answer


def test_a_store_locked_for_ten_seconds(site: Site) -> None:
    """Early submits fail with a clear error after five seconds, later ones wait and are accepted;
    requests that write nothing are answered at once; the ends of running jobs and all that was
    accepted before are written and run afterwards, once each."""
    server = site.serve("--threads", "16")
    running = accepted(server, key="running", seconds=1)
    volatile = accepted(server, key="volatile", seconds=1, function="volatile")
    soon = accepted(server, key="soon", delay=2)
    site.wait("begin", "running", "volatile")
    reading: dict[str, list[float]] = {}
    with ThreadPoolExecutor(8) as clients, locked(site.store):
        end = time.monotonic() + LOCKED
        early = [clients.submit(timed, lambda n=n: submit(server, key=f"early{n}")) for n in (1, 2)]
        in_memory = clients.submit(timed, lambda: submit(server, key="memory", function="volatile"))
        late: Future[tuple[float, Answer]] | None = None
        while time.monotonic() < end:
            if late is None and end - time.monotonic() < PATIENCE - 2:
                late = clients.submit(timed, lambda: submit(server, key="late"))
            for path in ("/", f"/bgtasks/{running}", "/bgtasks", "/bgtasks/health"):
                seconds, answer = timed(lambda path=path: ask_any(server, path))
                assert answer.status == 200
                reading.setdefault(path.replace(running, "<id>"), []).append(seconds)
            threading.Event().wait(0.1)
    print({path: f"{max(times):.3f} s" for path, times in reading.items()})
    for future in early:
        seconds, answer = future.result()
        assert answer.status == 503
        assert "stayed locked for 5 s" in answer.body["error"]
        # A thread may wait once for another one of its process, and once for the store.
        assert PATIENCE - 1 < seconds < 2 * PATIENCE + 1.5
    assert late is not None
    seconds, answer = late.result()
    assert answer.status == 202
    assert seconds > 1
    assert in_memory.result()[1].status == 202
    site.wait("end", "running", "volatile", "soon", "memory", "late", timeout=10)
    for job_id in (running, volatile, soon):
        reaches(server, job_id, "succeeded")
    accepted(server, key="after")
    site.wait("end", "after")
    assert not {"early1", "early2"} & set(site.count("begin"))
    assert set(site.count("begin").values()) == {1}
    assert {path: max(times) < AT_ONCE for path, times in reading.items()} == dict.fromkeys(
        reading, True
    )
    assert "Traceback" not in server.output()
    assert len(complaints(server, "stayed locked")) <= 4


def ask_any(server: object, path: str) -> Answer:
    """Ask for a page of the application's or of ours."""
    if path == "/":
        return Answer(200, {"pid": server.get()})  # type: ignore[attr-defined]
    return ask(server, path)  # type: ignore[arg-type]


def test_a_store_that_is_locked_at_the_start(site: Site) -> None:
    """A server that starts meanwhile serves at once, and works once the lock is gone."""
    server = site.serve(APP_BGTASK_RUN_WORKERS="false")
    job_id = accepted(server, key="waiting")
    server.kill()
    with locked(site.store):
        server = site.serve()
        seconds, _ = timed(lambda: ask_any(server, "/"))
        assert seconds < AT_ONCE
        assert status(server, job_id)["state"] == "queued"
        threading.Event().wait(6.0)
        assert not site.count("begin")
    site.wait("end", "waiting", timeout=10)
    wait_until(lambda: status(server, job_id)["state"] == "succeeded", what="it is written")
    assert "Traceback" not in server.output()
