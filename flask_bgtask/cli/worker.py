"""``flask bgtask worker``: a process that does nothing but run jobs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from queue import SimpleQueue
from types import FrameType
from typing import Any

import click

from ..config import Settings
from ..engine import Capacity
from ..errors import ConfigError
from ..runtime import Runtime
from ..store import Wanted
from .output import counted
from .site import Site

#: What tells a worker to end; the second one ends it at once.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def work(site: Site, queues: Collection[str] | None, threads: int | None) -> None:
    """Run jobs until the process is told to end; returns when those that ran have had their time.

    :param queues: only these; ``None`` for all that ``BGTASK_QUEUES`` does not leave to others.
    :param threads: ``None`` for ``BGTASK_WORKERS``.
    :raises ConfigError: there is nothing that a process of its own could do.
    :raises StoreError: the store cannot be used.
    """
    runtime = site.runtime
    _refuse(runtime)
    runtime.capacity = capacity_of(runtime.settings, queues, threads)
    _try_out(runtime)
    told = _listen()
    site.bg.start(runtime.app)
    click.echo(_begun(runtime))
    told.get()
    if runtime.running:
        limit = runtime.settings.drain_timeout
        click.echo(
            f"Ending: {counted(len(runtime.running))} still running, for at most {limit:g} s; "
            "a second signal ends all at once."
        )
    site.finish()
    _leave(len(runtime.running))


def capacity_of(
    settings: Settings, queues: Collection[str] | None, threads: int | None
) -> Capacity:
    """What a worker process does, whatever ``BGTASK_RUN_WORKERS`` says.

    A queue that the configuration leaves to others is one to take, if it is named here.
    """
    workers = settings.workers if threads is None else threads
    named = queues or ()
    limits = {
        queue: most for queue, most in settings.queues.items() if most > 0 or queue not in named
    }
    return Capacity(workers, limits, queues)


def _refuse(runtime: Runtime) -> None:
    if runtime.settings.immediate:
        allowed = "jobs run inside submit, so that a worker has nothing to do: set it to False"
        raise ConfigError("BGTASK_IMMEDIATE", True, allowed)
    if not runtime.store.shared:
        raise ConfigError(
            "BGTASK_STORE",
            "memory",
            "the jobs are in the memory of the process that accepts them, and a worker cannot get "
            "at them: set BGTASK_STORE to 'sqlite'",
        )


def _try_out(runtime: Runtime) -> None:
    """Find out now whether store and engine can be used, rather than later in the log.

    No job waits in a list of no queues, but who asks for one has to show that it lives.
    """
    runtime.store.claim(Wanted(queues=()), runtime.columns.claiming())
    runtime.engine  # noqa: B018 - it is made here


def _listen() -> SimpleQueue[int]:
    """From now on a signal comes out of the queue; a second one ends the process.

    A queue, as its ``put`` may interrupt its ``get`` on the same thread; the lock of an event
    may not be taken twice.
    """
    told: SimpleQueue[int] = SimpleQueue()
    before: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if before:
            os._exit(128 + number)
        before.append(number)
        told.put(number)

    _restore_in_children({number: signal.signal(number, handle) for number in SIGNALS})
    return told


def _restore_in_children(handlers: Mapping[signal.Signals, Any]) -> None:
    """Let children that tasks fork end when they are told to, as ``Process.terminate`` expects.

    Python drops a signal that a child gets before it knows itself: until then it is held back.
    """
    masks = threading.local()

    def block() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=restore)


def _begun(runtime: Runtime) -> str:
    capacity = runtime.capacity
    threads = counted(capacity.workers, "thread")
    left = sorted(queue for queue, most in capacity.limits.items() if most == 0)
    if capacity.queues is not None:
        queues = "queues " + ", ".join(sorted(capacity.queues))
    else:
        queues = "all queues" + (f" but {', '.join(left)}" if left else "")
    where = runtime.store.file or "a database server"
    who = f"Worker {runtime.columns.worker} of {runtime.app.name!r}"
    return f"{who}: {threads}, {queues}, store {where}"


def _leave(running: int) -> None:
    """End without waiting for what did not end in its time.

    Such a job may hold threads that the interpreter waits for without limit.
    """
    if not running:
        click.echo("Ended.")
        return
    click.echo(
        f"Ended; {counted(running)} did not end in time. Durable ones begin again in another "
        "process, others are lost."
    )
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
