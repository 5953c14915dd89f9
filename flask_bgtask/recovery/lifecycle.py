"""The life of an app's workers in one process: start, fork, end."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from weakref import WeakSet

from ..context import submitting_job
from ..errors import BgTaskError, StoreError
from ..keeper import Keeper
from ..runtime import Runtime
from .leaving import leave_waiting, mark_rest

#: Seconds until workers are started again where the store could not be used.
START_AGAIN = 1.0

#: Seconds between two looks whether somebody still waits for what other processes do.
CLOSE_AGAIN = 0.25

#: Seconds between two looks for jobs that a shutdown does not wait for.
LEAVE_EVERY = 0.25

#: Every app's state in this process; a forked child begins them anew.
_runtimes: WeakSet[Runtime] = WeakSet()


def follow(runtime: Runtime) -> None:
    """See that a forked child of this process uses nothing of the parent's."""
    _runtimes.add(runtime)


def _after_fork() -> None:
    for runtime in list(_runtimes):
        runtime.reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def start(runtime: Runtime) -> None:
    """Begin to take jobs, also those that other processes left."""
    runtime.renew()
    again = _start(runtime)
    if again is not None:
        runtime.keeper.poke(functools.partial(_start, runtime), again)


def _start(runtime: Runtime) -> float | None:
    """Duty: the same, once the store can be used; a server serves its other pages meanwhile."""
    if runtime.closed or not runtime.capacity.workers:
        return None
    try:
        runtime.engine.start(serve=True)
    except BgTaskError as error:
        runtime.troubles.tell(error)
        return START_AGAIN if isinstance(error, StoreError) else None
    parts = runtime.parts
    parts.watcher.serving = True
    for duty in (
        parts.watcher.poll,
        parts.recovery.recover,
        parts.recovery.purge,
        parts.ticker.tick,
    ):
        runtime.keeper.poke(duty)
    runtime.keeper.poke(runtime.promote)
    return None


def reopen(runtime: Runtime) -> bool:
    """Undo a shutdown or a drain, if there was one; whether there was.

    :raises RuntimeError: jobs still run that were given up, or that a shutdown left to end.
    """
    with runtime.ending:
        if not runtime.closed:
            return False
        if runtime.has_engine and (runtime.running or not runtime.engine.wait(0)):
            raise RuntimeError(
                f"the workers of {runtime.app.name!r} cannot be started again while jobs of theirs "
                f"run or wait ({len(runtime.running)} run): try again when these have ended"
            )
        _close(runtime, runtime.settings.drain_timeout)
        runtime.open()
        if runtime.parts.watcher.is_needed:
            runtime.watch()
    return True


def shutdown(runtime: Runtime, *, wait: bool, cancel: bool) -> None:
    """As :meth:`concurrent.futures.Executor.shutdown`; durable jobs are not cancelled.

    :raises RuntimeError: it would wait for the job that calls it.
    """
    job = submitting_job()
    if wait and job is not None and job.id in runtime.running:
        raise RuntimeError(
            f"shutdown() in the job {job.id} would wait for that job itself: call it elsewhere, "
            "or with wait=False"
        )
    runtime.closed = True
    keeper = runtime.keeper
    if runtime.has_engine:
        if cancel:
            _cancel_waiting(runtime)
        runtime.engine.shutdown(cancel=cancel)
    if wait:
        _wait(runtime, cancel=cancel)
        _close_once(runtime, keeper)
    else:
        name = f"bgtask-{runtime.app.name}-shutdown"
        close = functools.partial(_close_later, runtime, keeper, cancel=cancel)
        threading.Thread(target=close, name=name, daemon=True).start()


def _wait(runtime: Runtime, *, cancel: bool) -> None:
    """Wait for what runs, and for what waits and comes to run here within the drain time."""
    if not runtime.has_engine or runtime.immediate:
        return
    durable = not cancel
    until = time.time() + runtime.settings.drain_timeout
    leave_waiting(runtime, until, durable=durable)
    while not runtime.engine.wait(LEAVE_EVERY):
        leave_waiting(runtime, until, durable=durable)  # an attempt may have failed meanwhile
    leave_waiting(runtime, None, durable=durable)


def _close_later(runtime: Runtime, keeper: Keeper, *, cancel: bool) -> None:
    """Close once the last worker ended, and nobody waits for what other processes do."""
    _wait(runtime, cancel=cancel)
    close = functools.partial(_close_unless_needed, runtime, keeper)
    again = close()
    if again is not None:
        keeper.poke(close, again)


def _close_unless_needed(runtime: Runtime, keeper: Keeper) -> float | None:
    if runtime.parts.watcher.is_needed:
        return CLOSE_AGAIN
    # Who holds the lock closes all itself, and may wait for this very thread to end.
    if runtime.ending.acquire(blocking=False):
        try:
            if runtime.keeper is keeper:
                _close(runtime)
        except BgTaskError as error:
            runtime.troubles.tell(error)
        finally:
            runtime.ending.release()
    return None


def _close_once(runtime: Runtime, keeper: Keeper, timeout: float | None = None) -> None:
    """Close what was open at the shutdown, unless all was opened again by now.

    :param timeout: seconds that who closes it already gets at most, and then callbacks of handles.
    """
    if runtime.ending.acquire(timeout=-1 if timeout is None else timeout):
        try:
            if runtime.keeper is keeper:
                _close(runtime, timeout)
        finally:
            runtime.ending.release()


def drain(runtime: Runtime, timeout: float) -> bool:
    """Take no new job, give those that run here ``timeout`` seconds; whether all ended."""
    end = time.monotonic() + timeout
    runtime.closed = True
    keeper = runtime.keeper
    done = not runtime.has_engine or runtime.engine.drain(timeout)
    runtime.parts.runner.give_up()
    if runtime.has_store:
        mark_rest(runtime)
    if done:
        _close_once(runtime, keeper, max(0.0, end - time.monotonic()))
    else:
        _run_closers(runtime)
    return done


def _cancel_waiting(runtime: Runtime) -> None:
    for job_id, call in list(runtime.calls.items()):
        if not call.options.durable:
            runtime.cancel_waiting(job_id)


def _run_closers(runtime: Runtime) -> None:
    for close in runtime.closers:
        try:
            close()
        except Exception:
            runtime.log(logging.ERROR, "%r failed", close, exc_info=True)


def _close(runtime: Runtime, timeout: float | None = None) -> None:
    """Nothing runs any more: give up threads and files.

    :param timeout: seconds that callbacks of handles get at most.
    """
    runtime.keeper.stop()
    runtime.dispatcher.stop(timeout)
    _run_closers(runtime)
    if runtime.has_store:
        runtime.store.close()
