"""How much of a core a gunicorn worker uses while it waits for jobs of other processes.

Beside it the same server with an application that has no background work, because a server's own
loop is not free either.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds for which the processes are watched, side by side.
SECONDS = 20.0

#: Seconds that they get to come to rest after their start.
REST = 3.0

#: Part of a core that is wanted at most, in percent.
MOST = 0.5

PLAIN = """
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return "hello"
"""

APPLICATION = """
import os
from flask import Flask
from flask_bgtask import BackgroundTasks

bg = BackgroundTasks()
app = Flask(__name__, instance_path=os.environ["INSTANCE"])
app.config["SECRET_KEY"] = "bench"
bg.init_app(app)


@bg.task(name="hello")
def hello():
    pass


@app.get("/")
def index():
    hello.submit()
    return "hello"
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, of user and system time (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches(pid: int) -> int:
    """How often its threads slept and woke again."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                count += int(line.split()[1])
    return count


@contextmanager
def worker(folder: Path, text: str) -> Iterator[int]:
    """A gunicorn worker that has served a request; its process id."""
    folder.mkdir()
    (folder / "application.py").write_text(text)
    port = free_port()
    env = {**os.environ, "INSTANCE": str(folder / "instance")}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "application:app"]
    server = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL)
    try:
        ask(port)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        yield int(children.split()[0])
    finally:
        server.terminate()
        server.wait()


def ask(port: int) -> None:
    """Send a request as soon as the server answers."""
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                answer.read()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def main() -> float:
    with (
        tempfile.TemporaryDirectory() as name,
        worker(Path(name) / "plain", PLAIN) as plain,
        worker(Path(name) / "ours", APPLICATION) as ours,
    ):
        time.sleep(REST)
        before = {pid: (cpu_seconds(pid), switches(pid)) for pid in (plain, ours)}
        time.sleep(SECONDS)
        used = {}
        for pid, what in ((plain, "no background work"), (ours, "waiting for jobs")):
            used[pid] = 100 * (cpu_seconds(pid) - before[pid][0]) / SECONDS
            wakes = (switches(pid) - before[pid][1]) / SECONDS
            print(f"  {what:20} {used[pid]:5.2f} % of a core, {wakes:5.1f} wake-ups a second")
    print(f"idle: {used[ours]:.2f} % of a core (less than {MOST} is wanted)")
    return used[ours]


if __name__ == "__main__":
    main()
