"""An app with Flask-Mail, and jobs to send its mail in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_mail import Mail
from mail_post import Post
from mail_servers import Inbox, Scripted, real_server

from flask_bgtask import BackgroundTasks
from flask_bgtask.mail import close_all


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
