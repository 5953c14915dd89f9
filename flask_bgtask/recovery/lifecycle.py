"""The life of an app's workers in one process: start, fork, end."""

from __future__ import annotations

import functools
import json
import logging
import os
import threading
import time
from weakref import WeakSet

from ..errors import BgTaskError, JobLost, StoreError
from ..job import JobState
from ..runtime import Runtime
from ..signals import job_lost

#: Seconds until workers are started again where the store could not be used.
START_AGAIN = 1.0

#: Seconds between two looks whether somebody still waits for what other processes do.
CLOSE_AGAIN = 0.25

#: Every app's state in this process; a forked child begins them anew.
_runtimes: WeakSet[Runtime] = WeakSet()


def follow(runtime: Runtime) -> None:
    """See that a forked child of this process uses nothing of the parent's."""
    _runtimes.add(runtime)


def _after_fork() -> None:
    for runtime in list(_runtimes):
        runtime.reset()


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


def shutdown(runtime: Runtime, *, wait: bool, cancel: bool) -> None:
    """As :meth:`concurrent.futures.Executor.shutdown`; durable jobs are not cancelled."""
    runtime.closed = True
    if runtime.has_engine:
        if cancel:
            _cancel_waiting(runtime)
        runtime.engine.shutdown(wait=wait, cancel=cancel)
    if wait:
        _close(runtime)
    else:
        name = f"bgtask-{runtime.app.name}-shutdown"
        threading.Thread(target=_close_later, args=(runtime,), name=name, daemon=True).start()


def _close_later(runtime: Runtime) -> None:
    """Close once the last worker ended, and nobody waits for what other processes do."""
    if runtime.has_engine:
        runtime.engine.shutdown(wait=True, cancel=False)
    close = functools.partial(_close_unless_needed, runtime)
    again = close()
    if again is not None:
        runtime.keeper.poke(close, again)


def _close_unless_needed(runtime: Runtime) -> float | None:
    if runtime.parts.watcher.is_needed:
        return CLOSE_AGAIN
    try:
        _close(runtime)
    except BgTaskError as error:
        runtime.troubles.tell(error)
    return None


def drain(runtime: Runtime, timeout: float) -> bool:
    """Take no new job, give those that run here ``timeout`` seconds; whether all ended."""
    end = time.monotonic() + timeout
    runtime.closed = True
    done = not runtime.has_engine or runtime.engine.drain(timeout)
    runtime.parts.runner.give_up()
    if runtime.has_store:
        _mark_rest(runtime)
    if done:
        _close(runtime, max(0.0, end - time.monotonic()))
    else:
        _run_closers(runtime)
    return done


def _cancel_waiting(runtime: Runtime) -> None:
    for job_id, call in list(runtime.calls.items()):
        if not call.options.durable:
            runtime.cancel_waiting(job_id)


def _mark_rest(runtime: Runtime) -> None:
    """Give what this process will not end a state that is true.

    A durable job that runs is taken over once this process is gone, as its thread may run till
    then. What is not durable is lost.
    """
    try:
        for job_id, call in list(runtime.calls.items()):
            if not call.options.durable:
                _lose(runtime, job_id)
        for job in list(runtime.running.values()):
            if job.record.durable:
                # What it did so far is known to the attempt that takes over.
                memo = json.dumps(job.memo) if job.memo else None
                columns = {"drained": True, "memo": memo}
                runtime.store.change(job.record.id, columns, token=job.record.token)
        runtime.store.flush()
    except StoreError as error:
        text = "the jobs that were cut short cannot be noted as such: %s"
        runtime.log(logging.ERROR, text, error)


def _lose(runtime: Runtime, job_id: str) -> None:
    record = runtime.store.get(job_id)
    if record is None or record.state.finished:
        return
    ending = runtime.columns.ending(record, JobState.LOST)
    lost = runtime.store.change(job_id, ending, states=(record.state,), token=record.token)
    if lost is None:
        return
    text = "job %s (%s) is lost: its process ends"
    runtime.log(logging.ERROR, text, job_id, record.task)
    handle = runtime.handles.settle(job_id)
    if handle is not None:
        handle.resolve(error=JobLost("the process of this job ended before it did"))
    runtime.send(job_lost, lost)


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
