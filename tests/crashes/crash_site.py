"""A folder with the crash application, its servers, and the record of what ran."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from harness import ServerProcess


class Line(NamedTuple):
    at: float
    word: str
    key: str
    pid: int


class Record:
    """The file that tasks append to, whatever becomes of their processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Line]:
        if not self.path.exists():
            return []
        split = [line.split() for line in self.path.read_text().splitlines()]
        return [Line(float(at), word, key, int(pid)) for at, word, key, pid in split]

    def count(self, word: str) -> Counter[str]:
        """How often each key came with the word."""
        return Counter(line.key for line in self.lines() if line.word == word)


class Site(NamedTuple):
    """One application folder, which outlives the servers that are started in it."""

    folder: Path
    env: dict[str, str]
    record: Record
    start: Callable[..., ServerProcess]

    def submit(self, server: ServerProcess, **args: object) -> str:
        """Submit over HTTP; the id."""
        query = "&".join(f"{name}={value}" for name, value in args.items())
        asked = urllib.request.Request(server.url(f"/jobs?{query}"), method="POST")
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.status == 202
            return str(json.loads(answer.read())["id"])

    def status(self, server: ServerProcess, job_id: str) -> dict[str, Any]:
        """What the server says of a job; nothing if the worker that was asked has just died."""
        try:
            return dict(json.loads(server.get(f"/bgtasks/{job_id}")))
        except (OSError, HTTPException):
            return {}

    def counts(self, server: ServerProcess) -> dict[str, int]:
        return dict(json.loads(server.get("/bgtasks?limit=1"))["counts"])
