"""An application with jobs in every state, and clients for it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_bgtask import Abort, BackgroundTasks, Handle, current_job

#: Seconds after which a test that waits has failed.
PATIENCE = 10


@dataclass
class Site:
    """One application and what the tests do with it."""

    app: Flask
    bg: BackgroundTasks
    release: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def client(self, **options: Any) -> FlaskClient:
        return self.app.test_client(**options)

    def submit(self, fn: Callable[..., Any], *args: Any, **options: Any) -> str:
        with self.app.app_context():
            return self.bg.using(**options).submit(fn, *args).id

    def done(self, fn: Callable[..., Any] = lambda: None, *args: Any, **options: Any) -> str:
        """The id of a job that has ended, well or not."""
        with self.app.app_context():
            handle = self.bg.using(**options).submit(fn, *args)
            handle.exception(PATIENCE)
            return handle.id

    def later(self, **options: Any) -> str:
        """The id of a job that waits."""
        return self.submit(_nothing, **{"delay": 3600, **options})

    def running(self, **options: Any) -> str:
        """The id of a job that runs until the test ends."""
        begun = threading.Event()
        job_id = self.submit(self._hold, begun, **options)
        assert begun.wait(PATIENCE)
        return job_id

    def failed(self, **options: Any) -> str:
        """The id of a job that failed and can be tried again."""
        with self.app.app_context():
            handle: Handle[None] = self.failing.using(**options).submit("a", password="hunter2")
            handle.exception(PATIENCE)
            return handle.id

    def __post_init__(self) -> None:
        self.failing = self.bg.task(name=f"failing{next(self._numbers)}")(_fail)

    def _hold(self, begun: threading.Event) -> None:
        begun.set()
        while not self.release.wait(0.01):
            current_job.checkpoint()


def _nothing() -> None:
    pass


def _fail(value: str, password: str) -> None:
    raise Abort("it went wrong")


Make = Callable[..., Site]


@pytest.fixture
def make_site() -> Iterator[Make]:
    """Makes applications: as in production unless the test says otherwise."""
    sites: list[Site] = []

    def make(name: str = "shop", **config: Any) -> Site:
        app = Flask(name)
        app.config.update(SECRET_KEY="not a secret", BGTASK_STORE="memory", BGTASK_WORKERS=2)
        app.config.update(BGTASK_QUEUES={"mail": 1})  # gives the list a button, and so a token
        app.config.update(config)
        bg = BackgroundTasks(app)
        sites.append(Site(app, bg))
        return sites[-1]

    yield make
    for site in sites:
        site.release.set()
        site.bg.shutdown(cancel_futures=True)


@pytest.fixture
def site(make_site: Make) -> Site:
    """An application in which everything is open."""
    return make_site(TESTING=True)


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.client()
