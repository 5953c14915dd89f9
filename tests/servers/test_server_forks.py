"""Children that are forked off a process that serves: which of them serve too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import Journal, Serve, gunicorn

BEGIN = """
import os, sys, multiprocessing, subprocess
from concurrent.futures import ProcessPoolExecutor
from application import app, note, startup

def wait_for(child):
    assert os.waitpid(child, 0)[1] == 0
"""

FORK = """
child = os.fork()
if child:
    wait_for(child)
else:
    note("child")
"""

HELPERS = {
    "process": "child = multiprocessing.get_context('fork').Process(target=note, args=('child',))\n"
    "child.start()\nchild.join()\n",
    "pool": "with ProcessPoolExecutor(1, multiprocessing.get_context('fork')) as pool:\n"
    "    pool.submit(note, 'child').result()\n",
    "subprocess": "subprocess.run(['true'], preexec_fn=lambda: note('child'))\n",
}


def run(serve: Serve, application: Path, script: str) -> int:
    """Run a script to its good end; its process."""
    application.with_name("main.py").write_text(BEGIN + script)
    process = serve(lambda _: [sys.executable, "main.py"])
    assert process.wait() == 0, process.output()
    return process.pid


def test_a_fork_of_a_process_that_serves_starts_its_own(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """Nothing that the parent started is in the child; it starts, and at its end stops."""
    parent = run(serve, application, "startup.begin(app)" + FORK)
    [child] = journal.pids("child")
    assert journal.pids("started") == [parent, child]
    assert journal.pids("stopped") == [child, parent]


def test_a_fork_of_a_process_that_does_not_serve_waits_for_a_request(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """A server that nobody knows may fork its workers before it serves."""
    request = "    app.test_client().get('/')\n    note('asked')\n"
    parent = run(serve, application, FORK + request)
    [child] = journal.pids("asked")
    assert child != parent
    assert journal.pids("started") == [child]
    words = [line.split()[0] for line in journal.lines()]
    assert words.index("child") < words.index("started") < words.index("asked")


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_process_does_not_start(
    serve: Serve, journal: Journal, application: Path, name: str
) -> None:
    """Children of ``multiprocessing`` and ``subprocess`` do one thing, and serve nobody."""
    parent = run(serve, application, "startup.begin(app)\n" + HELPERS[name])
    [child] = journal.pids("child")
    assert child != parent
    assert journal.pids("started") == [parent]


def test_a_helper_process_that_is_asked_starts(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """Some servers make their workers with ``multiprocessing``: a request tells them apart."""
    parent = run(
        serve,
        application,
        "def ask():\n"
        "    note('child')\n"
        "    app.test_client().get('/')\n"
        "startup.begin(app)\n" + HELPERS["process"].replace("note, args=('child',)", "ask"),
    )
    assert journal.pids("started") == [parent, *journal.pids("child")]


def test_a_server_that_forks_for_each_request_starts_once(
    serve: Serve, journal: Journal, application: Path
) -> None:
    """``app.run(processes=…)``: each child answers one request, the parent has workers."""
    application.with_name("main.py").write_text(
        "import sys\n"
        "from application import app\n"
        "app.run(port=int(sys.argv[1]), threaded=False, processes=4)\n"
    )
    server = serve(lambda port: [sys.executable, "main.py", str(port)])
    server.wait_up()
    answered = {int(server.get()) for _ in range(3)}
    assert len(answered - {server.pid}) == 3
    assert journal.pids("started") == [server.pid]


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_a_fork_within_a_gunicorn_worker_is_no_worker(
    serve: Serve, journal: Journal, application: Path, preload: bool
) -> None:
    """A view that forks has gunicorn's frames on its stack; its child is like any other."""
    text = application.read_text().replace(
        "    return str(os.getpid())",
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        note('child')\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    return str(os.getpid())",
    )
    application.write_text(text)
    server = serve(lambda port: gunicorn(port, *["--preload"] * preload))
    [worker] = journal.wait("started", 1)
    assert int(server.get()) == worker
    [child] = journal.pids("child")
    assert journal.pids("started") == [worker, child]
