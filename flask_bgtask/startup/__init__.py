"""Decides when this process will serve, and when it comes to its end.

Importing or making an application proves nothing: ``flask routes``, a migration and a test do so
too. A process serves once a server that we know enters its loop, and at the latest with its first
request. Each hook is placed on what a server calls at that moment; where one cannot be placed (a
server of another version, one that was imported too late) the first request tells.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from . import exits, forks, gunicorn, loops, uwsgi, watched
from .placing import attempt
from .uwsgi import obstacle
from .watched import begin, finish

__all__ = ["begin", "finish", "obstacle", "watch"]


def watch(app: Flask, start: Callable[[], object], stop: Callable[[], object]) -> None:
    """Arrange the life of an app's workers; opens nothing and starts no thread by itself.

    :param start: called once in each process that will serve the app, on the thread that tells:
        before the server's loop, in a forked child, or in the first request. A failure is logged.
    :param stop: called once when a process comes to its end, whether or not ``start`` was called
        in it, while threads still run and executors still take work. Takes as long as it may.
    """
    watched.add(app, start, stop)
    for place in (exits.place, forks.place, gunicorn.place, uwsgi.place):
        attempt(place)
    for place in (loops.place_werkzeug, loops.place_waitress):
        attempt(place)
