"""An application folder with servers, workers and commands, each a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import PATIENCE, ServerProcess, environment, free_port, wait_until

#: ``APP_…`` that make a web process one that only submits.
WEB_ONLY = {"APP_BGTASK_RUN_WORKERS": "false"}


class Site:
    """What outlives the processes that are started in it."""

    def __init__(self, folder: Path, processes: ExitStack) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.instance = folder / "instance"
        self._env = {"JOURNAL": str(self.journal), "INSTANCE": str(self.instance)}
        self._processes = processes

    def serve(self, command: Callable[[int], Sequence[str]], **env: str) -> ServerProcess:
        """A web server, once it accepts connections."""
        port = free_port()
        server = self._start(command(port), env, port=port)
        server.wait_up()
        return server

    def worker(self, *options: str, **env: str) -> ServerProcess:
        """A worker process, once it takes jobs."""
        worker = self._start(_flask("bgtask", "worker", *options), env)
        wait_until(lambda: "Worker " in worker.output(), what="the worker's first line")
        return worker

    def _start(self, command: Sequence[str], env: Mapping[str, str], port: int = 0) -> Any:
        process = ServerProcess(command, self.folder, port=port, env={**self._env, **env})
        return self._processes.enter_context(process)

    def flask(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            _flask(*words),
            cwd=self.folder,
            env=environment(self.folder, {**self._env, **env}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def doctor(self, **env: str) -> dict[str, dict[str, str]]:
        """What the doctor says, by code."""
        said = self.flask("bgtask", "doctor", "--json", **env)
        assert said.stdout, said.stderr
        return {each["code"]: each for each in json.loads(said.stdout)["findings"]}

    def jobs(self) -> dict[str, dict[str, Any]]:
        """All jobs by their ids, as the command lists them."""
        listed = json.loads(self.flask("bgtask", "list", "--json").stdout)
        return {job["id"]: job for job in listed["jobs"]}

    def submit(self, server: ServerProcess, **args: object) -> str:
        """Submit over HTTP; the id."""
        query = "&".join(f"{name}={value}" for name, value in args.items())
        job_id = server.get(f"/submit?{query}")
        assert len(job_id) == 32, job_id
        return job_id

    def lines(self, word: str) -> list[tuple[int, str]]:
        """Process and key of each line with the word."""
        if not self.journal.exists():
            return []
        split = [line.split(" ") for line in self.journal.read_text().splitlines()]
        return [(int(pid), key) for found, pid, key in split if found == word]

    def wait_for(self, word: str, count: int) -> list[tuple[int, str]]:
        """The lines with the word, once there are so many."""
        wait_until(lambda: len(self.lines(word)) >= count, what=f"{count} times {word!r}")
        return self.lines(word)


def _flask(*words: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "application", *words]
