"""How attempts end: what is written, who is told."""

from __future__ import annotations

import functools
import json
import logging
import time
from contextlib import suppress
from typing import Any

from blinker import NamedSignal

from ..context import RunningJob
from ..errors import JobLost, StoreError
from ..job import JobState, Record
from ..runtime import Runtime
from ..signals import job_cancelled, job_failed, job_lost, job_retrying, job_succeeded
from .attempt import Attempt
from .failure import failure_text, message_of
from .writing import RUNNING, Writer


class Ending:
    """Writes the end of an attempt and, if this attempt was the one to end the job, tells it."""

    def __init__(self, runtime: Runtime, writer: Writer) -> None:
        self._runtime = runtime
        self._writer = writer

    def succeed(self, attempt: Attempt) -> None:
        """The function returned."""
        job, result = attempt.job, attempt.result
        columns = {"result": attempt.result_text, "error": None}
        ended = self._finish(job, JobState.SUCCEEDED, columns, result)
        if ended is not None:
            self._tell(job_succeeded, ended)

    def fail(self, job: RunningJob, error: BaseException, *, late: bool = False) -> bool:
        """There is to be no other attempt; whether this one was the one to end the job.

        :param late: its thread has not come back yet, and the job keeps its keys until then.
        """
        columns: dict[str, Any] = {"error": failure_text(error)}
        if late:
            columns["holds"] = True
        ended = self._finish(job, JobState.FAILED, columns, error=error)
        if ended is not None:
            self._tell(job_failed, ended)
        return ended is not None

    def cancel(self, job: RunningJob) -> None:
        """It stopped because it was asked to."""
        ended = self._finish(job, JobState.CANCELLED, {})
        if ended is not None:
            self._tell(job_cancelled, ended)

    def _finish(
        self,
        job: RunningJob,
        state: JobState,
        columns: dict[str, Any],
        result: Any = None,
        error: BaseException | None = None,
    ) -> Record | None:
        """Write the end, resolve the handle; ``None`` if this attempt was not the one to end it."""
        runtime, record = self._runtime, job.record
        columns = {**runtime.columns.ending(record, state), **job.unwritten(), **columns}
        ended = self._writer.persist(lambda: self._write_end(record, columns))
        if ended is None:
            return None
        if error is not None:
            self._log_failure(ended, error)
        handle = runtime.handles.settle(record.id)
        if handle is not None:
            resolve = functools.partial(handle.resolve, result=result, error=error)
            runtime.tell(handle.resolve_cancelled if state is JobState.CANCELLED else resolve)
        return ended

    def _write_end(self, record: Record, columns: dict[str, Any]) -> Record | None:
        runtime = self._runtime
        call = runtime.calls.get(record.id)
        ended = None if call is None else runtime.fresh.end(call, columns)
        if ended is None and runtime.store_as_is.end(record, columns):
            ended = record.copy(**columns)
        return ended

    def _tell(self, signal: NamedSignal, ended: Record) -> None:
        runtime = self._runtime
        if not signal.receivers:
            return
        with suppress(StoreError):  # the row knows what was reported and asked for meanwhile
            ended = runtime.store_as_is.get(ended.id) or ended
        runtime.send(signal, ended)

    def _log_failure(self, record: Record, error: BaseException) -> None:
        self._runtime.log(
            logging.ERROR,
            "job %s (%s) failed in attempt %d of %d",
            record.id,
            record.task,
            record.attempt - record.crashes,
            record.max_attempts,
            exc_info=(type(error), error, error.__traceback__),
        )

    def retry(self, job: RunningJob, error: BaseException, wait: float) -> None:
        """There is to be another attempt in ``wait`` seconds."""
        runtime, record = self._runtime, job.record
        columns = {
            "state": JobState.SCHEDULED if wait > 0 else JobState.QUEUED,
            "run_at": time.time() + wait,
            "token": None,
            "process": None,
            "error": failure_text(error),
            "memo": json.dumps(job.memo) if job.memo else None,
            **job.unwritten(),
        }
        again = self._writer.persist(
            lambda: runtime.store_as_is.change(
                record.id, columns, states=RUNNING, token=record.token
            )
        )
        if again is None:
            return
        if again.cancel_requested:  # while the attempt failed
            runtime.cancel_waiting(record.id)
            return
        runtime.log(
            logging.WARNING,
            "job %s (%s) failed in attempt %d of %d and is tried again in %.1f s: %s: %s",
            record.id,
            record.task,
            record.attempt - record.crashes,
            record.max_attempts,
            wait,
            type(error).__name__,
            message_of(error),
        )
        runtime.send(job_retrying, again)
        runtime.deliver(again)

    def lose(self, record: Record) -> None:
        """A job whose function and arguments were in the memory of a process that is gone."""
        runtime = self._runtime
        ended = runtime.store_as_is.change(
            record.id,
            runtime.columns.ending(record, JobState.LOST),
            states=RUNNING,
            token=record.token,
        )
        handle = runtime.handles.settle(record.id)
        if handle is not None:
            handle.resolve(error=JobLost())
        if ended is not None:
            runtime.send(job_lost, ended)

    def leave_to_others(self, record: Record) -> None:
        """Newer code than ours submitted this: it is signed, but there is no such function here."""
        runtime = self._runtime
        columns = {
            "state": JobState.QUEUED,
            "attempt": record.attempt - 1,
            "token": None,
            "process": None,
        }
        self._writer.persist(
            lambda: runtime.store_as_is.change(
                record.id, columns, states=RUNNING, token=record.token
            )
        )
        runtime.log(
            logging.WARNING,
            "job %s names %s, which cannot be imported here; it is left to a process that can",
            record.id,
            record.task,
        )

    def release_late(self, record: Record) -> None:
        """The thread of an attempt that was given up came back: its keys are free again."""
        store = self._runtime.store_as_is
        self._writer.persist(lambda: store.change(record.id, {"holds": False}, token=record.token))
