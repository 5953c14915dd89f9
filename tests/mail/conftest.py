"""An app with Flask-Mail, and jobs to send its mail in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_mail import Mail, Message
from mail_servers import Inbox, Scripted, real_server

from flask_bgtask import BackgroundTasks
from flask_bgtask.context import RunningJob, running_as
from flask_bgtask.job import Record
from flask_bgtask.mail import MailReceipt, close_all, deliver, freeze


@dataclass
class Post:
    """Sends a mail attempt by attempt, as the runner does."""

    app: Flask
    memo: dict[str, Any] = field(default_factory=dict)
    "What one attempt leaves to the next."
    saved: list[dict[str, Any]] = field(default_factory=list)
    "The memo, as often as an attempt wrote it to the store."
    frozen: dict[str, Any] = field(default_factory=dict)

    def freeze(self, *recipients: str, **fields: Any) -> Post:
        """Take a mail for these recipients."""
        fields = {"subject": "s", "body": "text"} | fields
        with self.app.app_context():
            message = Message(recipients=list(recipients or ["a@x.org"]), **fields)
            self.frozen = freeze(self.app, message)
        return self

    def attempt(self, number: int = 1, of: int = 9, crashes: int = 0) -> MailReceipt:
        """One attempt at a job with this mail."""
        record = Record(id="a" * 32, attempt=number, max_attempts=of, crashes=crashes)
        job = RunningJob(record, write=self._write, later=lambda _: None)
        job.memo = self.memo
        with self.app.app_context(), running_as(job):
            return deliver(self.frozen)

    def _write(self, _: RunningJob, columns: dict[str, Any]) -> None:
        self.saved.append(json.loads(columns["memo"]))


@pytest.fixture
def make_app(bg: BackgroundTasks, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Makes apps that send to a port of this machine; their connections are closed at the end."""
    apps = []

    def make(port: int = 25, **config: Any) -> Flask:
        app = Flask("post", instance_path=str(tmp_path))
        app.config.update(
            BGTASK_STORE="memory",
            BGTASK_MAIL_TIMEOUT=10,
            MAIL_DEFAULT_SENDER="app@x.org",
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=port,
        )
        app.config.update(config)
        Mail(app)
        bg.init_app(app)
        apps.append(app)
        return app

    yield make
    for app in apps:
        close_all(app.extensions["bgtask"])


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An app for tests that send nothing."""
    return make_app()


@pytest.fixture
def make_post(make_app: Callable[..., Flask]) -> Callable[..., Post]:
    """Makes an app that sends to a server, and what sends its mail."""

    def make(server: Scripted | int, **config: Any) -> Post:
        port = server if isinstance(server, int) else server.port
        return Post(make_app(port, **config)).freeze()

    return make


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Makes scripted servers and stops them."""
    servers = []

    def make(extensions: list[str] | None = None, **script: list[Any]) -> Scripted:
        server = Scripted(script)
        if extensions is not None:
            server.extensions = extensions
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    """A real server that takes everything: its inbox and its port."""
    from aiosmtpd.smtp import SMTP

    with real_server(lambda handler: SMTP(handler, enable_SMTPUTF8=True)) as running:
        yield running
