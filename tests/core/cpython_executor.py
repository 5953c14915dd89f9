"""``BackgroundTasks`` in the shape of ``ThreadPoolExecutor``, for CPython's own tests."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Executor
from typing import Any
from weakref import WeakSet

from flask import Flask

from flask_bgtask import BackgroundTasks

_numbers = itertools.count(1)


class BgTaskExecutor(Executor):
    """An app with a ``bg`` of its own; each call is made in the app's context."""

    alive: WeakSet[BgTaskExecutor] = WeakSet()

    def __init__(self, max_workers: int = 4) -> None:
        self._app = Flask(f"cpython{next(_numbers)}")
        self._app.config.update(TESTING=True, BGTASK_WORKERS=max_workers, BGTASK_URL_PREFIX=None)
        self._max_workers = max_workers
        self._bg = BackgroundTasks(self._app)
        self.alive.add(self)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        with self._app.app_context():
            return self._bg.submit(fn, *args, **kwargs)

    def map(self, fn: Any, *iterables: Any, **options: Any) -> Any:
        with self._app.app_context():
            return self._bg.map(fn, *iterables, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._bg.shutdown(wait, cancel_futures=cancel_futures)

    @property
    def _threads(self) -> set[threading.Thread]:
        """The worker threads, as some of the tests look for them."""
        name = f"bgtask-{self._app.name}-"
        threads = (each for each in threading.enumerate() if each.name.startswith(name))
        return {each for each in threads if not each.name.endswith("-keeper")}
