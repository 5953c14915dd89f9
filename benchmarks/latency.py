"""What a CPU-bound task does to web requests in the same process, and in one of its own.

The median latency of a trivial view of one server: idle; with a task that never pauses; with one
that calls ``current_job.checkpoint()``; and with one in ``flask bgtask worker --queues cpu``.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

REQUESTS = 300

#: Seconds between two requests.
REST = 0.01

APPLICATION = """
import os, time
from flask import Flask, request
from flask_bgtask import BackgroundTasks, current_job

bg = BackgroundTasks()


@bg.task
def burn(seconds, pauses):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for n in range(200):  # some microseconds of work, as one row of a loop
            n * n
        if pauses:
            current_job.checkpoint()


def create_app():
    app = Flask(__name__, instance_path=os.environ["INSTANCE"])
    app.config.update(SECRET_KEY="bench", BGTASK_QUEUES={"cpu": 0} if "SPLIT" in os.environ else {})
    bg.init_app(app)

    @app.get("/")
    def index():
        return "hello"

    @app.post("/burn")
    def start():
        queue = "cpu" if "SPLIT" in os.environ else "default"
        seconds, pauses = float(request.args["seconds"]), request.args["pauses"] == "1"
        return bg.accepted(burn.using(queue=queue).submit(seconds, pauses))

    return app


app = create_app()
"""


class Server:
    """One waitress process with four threads, and a kept-alive connection to it."""

    def __init__(self, folder: Path, stack: ExitStack, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.env = {**os.environ, "INSTANCE": str(folder / "instance"), **env}
        self.env["PYTHONPATH"] = os.pathsep.join(sys.path)
        self.folder = folder
        self.stack = stack
        self.run("-m", "waitress", "--listen", f"127.0.0.1:{self.port}", "bench_app:app")
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(OSError):
                self.ask("GET", "/")
                return
            self.connection.close()
            time.sleep(0.05)
        raise RuntimeError("the server did not come up")

    def run(self, *arguments: str) -> None:
        process = subprocess.Popen([sys.executable, *arguments], cwd=self.folder, env=self.env)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)

    def ask(self, method: str, path: str) -> bytes:
        self.connection.request(method, path, headers={"Content-Length": "0"})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        return body

    def median(self) -> float:
        """Seconds of one request.

        Between two of them there is a rest, as between those of real clients: back to back they
        would keep the interpreter lock among themselves, and show nothing of the task.
        """
        times = []
        for _ in range(REQUESTS):
            time.sleep(REST)
            begin = time.perf_counter()
            self.ask("GET", "/")
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    def burning(self, *, pauses: bool) -> float:
        """The median while a task burns; waits for its end."""
        job = json.loads(self.ask("POST", f"/burn?seconds=8&pauses={int(pauses)}"))
        self.wait_for(job["id"], "running")
        median = self.median()
        if self.state(job["id"]) != "running":
            raise RuntimeError("the task had ended before the last request")
        self.wait_for(job["id"], "succeeded")
        return median

    def state(self, job_id: str) -> str:
        return str(json.loads(self.ask("GET", f"/bgtasks/{job_id}"))["state"])

    def wait_for(self, job_id: str, state: str) -> None:
        end = time.monotonic() + 20
        while (now := self.state(job_id)) != state:
            if time.monotonic() > end:
                raise RuntimeError(f"the task is {now}; is there a process that runs it?")
            time.sleep(0.05)


def main() -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "bench_app.py").write_text(APPLICATION)
        server = Server(folder, stack)
        server.median()
        found["idle"] = server.median()
        found["a task in a thread, no checkpoint"] = server.burning(pauses=False)
        found["a task in a thread, with checkpoint()"] = server.burning(pauses=True)
        found["idle again"] = server.median()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "bench_app.py").write_text(APPLICATION)
        server = Server(folder, stack, SPLIT="1")
        server.run("-m", "flask", "--app", "bench_app", "bgtask", "worker", "--queues", "cpu")
        found["a task in a worker process"] = server.burning(pauses=False)
    idle = statistics.mean([found["idle"], found["idle again"]])
    for name, median in found.items():
        print(f"  {name:40} {median * 1e3:7.2f} ms   {median / idle:5.1f} times idle")
    return {name: median / idle for name, median in found.items()}


if __name__ == "__main__":
    main()
