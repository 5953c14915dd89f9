"""Connections that wait for the next mail, for each app and process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import Flask

from .connection import Connection
from .failures import MailDeferred, MailRefused
from .settings import Server

if TYPE_CHECKING:
    from ..runtime import Runtime

#: Seconds without a mail after which a connection is closed.
CLOSE_AFTER = 10.0

_KEY = "flask_bgtask.mail"


class Pool:
    """Idle connections. One in use belongs to its thread alone and is not in here.

    So there are never more connections than threads that send at the same time, and what closes
    idle ones cannot disturb a mail.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Guards the list and the flag; held for list operations only, never while talking.
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    def take(self, server: Server) -> Connection | None:
        """The connection that was used last, if there is one to this very server."""
        with self._lock:
            self._closed = False
            connection = self._idle.pop() if self._idle else None
        if connection is not None and connection.server != server:
            connection.quit()
            return None
        return connection

    def give(self, connection: Connection, most: int | None = None) -> None:
        """Keep a connection for the next mail.

        :param most: mails after which it is closed (``MAIL_MAX_EMAILS``).
        """
        if not connection.alive:
            return
        if not (most and connection.mails >= most):
            connection.idle_since = time.monotonic()
            if self._keep(connection):
                self._runtime.keeper.poke(self.close_idle, CLOSE_AFTER)
                return
        connection.quit()

    def _keep(self, connection: Connection) -> bool:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
            return not self._closed

    def close_idle(self) -> float | None:
        """Duty: close what was not used for a while; seconds until there may be more of it."""
        now = time.monotonic()
        with self._lock:
            old = [c for c in self._idle if now - c.idle_since >= CLOSE_AFTER]
            self._idle = [c for c in self._idle if c not in old]
            first = min((c.idle_since for c in self._idle), default=None)
        for connection in old:
            self._runtime.tell(connection.quit)  # the server may take its time to answer
        return None if first is None else first + CLOSE_AFTER - now

    def close(self) -> None:
        """Close all, and those that are in use when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.quit()

    def abandon(self) -> None:
        """In a forked child: close our copies of the parent's connections, without a word."""
        # Without the lock, which a thread of the parent may have held at the fork.
        for connection in self._idle:
            connection.drop()


def pool_of(app: Flask) -> Pool:
    """The pool of this process."""
    pools: dict[int, Pool] = app.extensions.setdefault(_KEY, {})
    mine = pools.get(os.getpid())
    if mine is None:
        for process in list(pools):
            # Single dictionary operations are atomic: each pool is abandoned by one thread.
            inherited = pools.pop(process, None) if process != os.getpid() else None
            if inherited is not None:
                inherited.abandon()
        mine = pools.setdefault(os.getpid(), Pool(app.extensions["bgtask"]))
    return mine


@contextmanager
def begun(
    pool: Pool, server: Server, begin: Callable[[Connection], None], most: int | None = None
) -> Iterator[Connection]:
    """A connection on which ``begin`` has begun a mail; it goes back to the pool at the end.

    That a server closed a connection which waited shows with the first command. This is no
    failure to send: a new connection is made, once.

    :param most: mails after which a connection is closed (``MAIL_MAX_EMAILS``).
    """
    waiting = pool.take(server)
    connection = Connection(server) if waiting is None else waiting
    try:
        try:
            begin(connection)
        except (MailDeferred, MailRefused):
            if waiting is None or waiting.alive:
                raise
            connection = Connection(server)
            begin(connection)
        yield connection
    except (MailDeferred, MailRefused):
        pool.give(connection, most)
        raise
    except BaseException:
        connection.drop()
        raise
    pool.give(connection, most)


def close_all(runtime: Runtime) -> None:
    """Close all connections of this process."""
    pools: dict[int, Pool] = runtime.app.extensions.get(_KEY, {})
    pool = pools.get(os.getpid())
    if pool is not None:
        pool.close()
