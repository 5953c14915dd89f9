"""The one path on which every job is executed, whichever engine brought it."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from blinker import NamedSignal
from itsdangerous import BadSignature

from ..arguments import UnknownFunction
from ..calls import Call
from ..context import RunningJob
from ..errors import Abort, JobCancelled, JobLost, JobTimeout, Retry, StoreError
from ..job import JobState, Record
from ..options import DURABLE, VOLATILE, Options, StoredOptions, exponential, stored_options
from ..runtime import Runtime
from ..signals import (
    job_cancelled,
    job_failed,
    job_lost,
    job_progressed,
    job_retrying,
    job_started,
    job_succeeded,
)
from ..store import Wanted
from .attempt import UNUSABLE, Attempt
from .failure import failure_text, message_of
from .timeouts import Timeouts

T = TypeVar("T")

#: Seconds between two tries to write the end of a job, at first and at most.
WRITE_AGAIN = (0.05, 2.0)

_RUNNING = (JobState.RUNNING,)


class Runner:
    """Executes jobs: claim, call, record, resolve, tell."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timeouts = Timeouts(runtime.keeper, self._expire)
        # Attempts with something unwritten; single dictionary operations only.
        self._unwritten: dict[str, RunningJob] = {}
        self.giving_up = threading.Event()
        "Set when the process ends: what cannot be written now never will be."
        self.unknown: set[str] = set()
        "Signed functions that this process could not import; it leaves them to others."

    def knows(self, task: str) -> bool:
        """Whether jobs of this task can run here, as far as can be told without trying."""
        if task in self._runtime.registry.tasks:
            return True
        return ":" in task and task not in self.unknown

    def run(self, job_id: str, claimed: Record | None = None) -> None:
        """Execute a job to the end of one attempt.

        :param claimed: the row, if this process has claimed it already.
        """
        runtime = self._runtime
        call = runtime.calls.get(job_id)
        record = claimed or self._begin(job_id, call)
        if record is None:
            return  # cancelled, or another process was first
        job = RunningJob(record, write=self._write, later=self._write_later)
        runtime.running[record.id] = job
        if call is not None and call.stop:
            job.ask_to_stop(JobCancelled)
        try:
            self._attempt(record, call, job)
        except Exception as error:
            # Its row is not as we wrote it, or this is a fault of ours: no job stays running.
            self._timeouts.remove(job)
            if not self._fail(job, error):
                raise
        finally:
            runtime.running.pop(record.id, None)
            self._unwritten.pop(record.id, None)

    def run_now(self, job_id: str, claimed: Record | None = None) -> None:
        """As :meth:`run`, for a job whose time has not come too."""
        if claimed is None:
            due = {"state": JobState.QUEUED, "run_at": time.time()}
            self._runtime.store.change(job_id, due, states=(JobState.SCHEDULED,))
        self.run(job_id, claimed)

    def _begin(self, job_id: str, call: Call | None) -> Record | None:
        """The row of an attempt that begins now."""
        runtime = self._runtime
        if call is not None:
            call.complete()
            record = runtime.fresh.begin(call)
            if record is not None:
                if not call.written:
                    runtime.write_soon()
                return record
        return runtime.own_store.claim(Wanted(job_id=job_id), runtime.claiming())

    def _attempt(self, record: Record, call: Call | None, job: RunningJob) -> None:
        runtime = self._runtime
        if call is None and not record.durable:
            self._lose(record)
            return
        options = self._options(record, None if call is None else call.options)
        runtime.send(job_started, record)
        if options.timeout is not None and not runtime.immediate:
            self._timeouts.add(job, options.timeout)
        attempt = Attempt(runtime, record, call, job)
        del call
        attempt.execute()
        self._timeouts.remove(job)
        self._end(attempt, options)
        if record.serial is not None:
            runtime.engine.look()

    def _options(self, record: Record, given: Options | None) -> Options | StoredOptions:
        if given is not None:
            return given
        task = self._runtime.registry.tasks.get(record.task)
        base = task.options if task is not None else DURABLE if record.durable else VOLATILE
        return stored_options(base, record.options)

    # How an attempt ends.

    def _end(self, attempt: Attempt, options: Options | StoredOptions) -> None:
        record, job = attempt.record, attempt.job
        error = JobTimeout() if job.timed_out else attempt.error
        wait = None if error is None else self._retry_after(error, record, options)
        if error is None:
            self._succeed(attempt)
        elif isinstance(error, UnknownFunction):
            self._leave_to_others(record)
        elif job.cancel_requested and (wait is not None or isinstance(error, JobCancelled)):
            self._finish(job, JobState.CANCELLED, {})
        elif wait is not None:
            self._retry(job, error, wait)
        else:
            self._fail(job, error)
        attempt.error = None  # breaks the cycle of exception, traceback and frame
        if job.timed_out:
            self._release_late(record)

    def _succeed(self, attempt: Attempt) -> None:
        job, result = attempt.job, attempt.result
        columns = {"result": attempt.result_text, "error": None}
        ended = self._finish(job, JobState.SUCCEEDED, columns, result)
        if ended is not None:
            self._tell(job_succeeded, ended)

    def _fail(self, job: RunningJob, error: BaseException, *, late: bool = False) -> bool:
        """Whether this attempt was the one to end the job."""
        columns: dict[str, Any] = {"error": failure_text(error)}
        if late:
            columns["holds"] = True  # until its thread comes back
        ended = self._finish(job, JobState.FAILED, columns, error=error)
        if ended is not None:
            self._tell(job_failed, ended)
        return ended is not None

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
        columns = {**runtime.ending(record, state), **job.unwritten(), **columns}
        ended = self._persist(lambda: self._write_end(record, columns))
        if ended is None:
            return None
        if error is not None:
            self._log_failure(ended, error)
        handle = runtime.settle(record.id)
        if handle is not None:
            resolve = functools.partial(handle.resolve, result=result, error=error)
            runtime.tell(handle.resolve_cancelled if state is JobState.CANCELLED else resolve)
        if state is JobState.CANCELLED:
            self._tell(job_cancelled, ended)
        return ended

    def _write_end(self, record: Record, columns: dict[str, Any]) -> Record | None:
        runtime = self._runtime
        call = runtime.calls.get(record.id)
        ended = None if call is None else runtime.fresh.end(call, columns)
        if ended is None and runtime.own_store.end(record, columns):
            ended = record.copy(**columns)
        return ended

    def _tell(self, signal: NamedSignal, ended: Record) -> None:
        runtime = self._runtime
        if not signal.receivers:
            return
        with suppress(StoreError):  # the row knows what was reported and asked for meanwhile
            ended = runtime.own_store.get(ended.id) or ended
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

    def _may_retry(
        self, error: BaseException, record: Record, options: Options | StoredOptions
    ) -> bool:
        """Whether there is to be another attempt."""
        used = record.attempt - record.crashes
        if used >= record.max_attempts or isinstance(error, (Abort, BadSignature, *UNUSABLE)):
            return False
        return isinstance(error, Retry) or options.retries_on(error)

    def _retry_after(
        self, error: BaseException, record: Record, options: Options | StoredOptions
    ) -> float | None:
        """Seconds until the next attempt; ``None`` if there is to be none."""
        if not self._may_retry(error, record, options):
            return None
        if isinstance(error, Retry):
            return error.delay
        used = record.attempt - record.crashes
        try:
            return options.wait_after(used)
        except Exception:
            text = "the backoff of %s failed"
            self._runtime.log(logging.ERROR, text, record.task, exc_info=True)
            return exponential(used)

    def _retry(self, job: RunningJob, error: BaseException, wait: float) -> None:
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
        again = self._persist(
            lambda: runtime.own_store.change(
                record.id, columns, states=_RUNNING, token=record.token
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

    def _lose(self, record: Record) -> None:
        """A job whose function and arguments were in the memory of a process that is gone."""
        runtime = self._runtime
        ended = runtime.own_store.change(
            record.id,
            runtime.ending(record, JobState.LOST),
            states=_RUNNING,
            token=record.token,
        )
        handle = runtime.settle(record.id)
        if handle is not None:
            handle.resolve(error=JobLost())
        if ended is not None:
            runtime.send(job_lost, ended)

    def _leave_to_others(self, record: Record) -> None:
        """Newer code than ours submitted this: it is signed, but there is no such function here."""
        runtime = self._runtime
        self.unknown.add(record.task)
        columns = {
            "state": JobState.QUEUED,
            "attempt": record.attempt - 1,
            "token": None,
            "process": None,
        }
        self._persist(
            lambda: runtime.own_store.change(
                record.id, columns, states=_RUNNING, token=record.token
            )
        )
        runtime.log(
            logging.WARNING,
            "job %s names %s, which cannot be imported here; it is left to a process that can",
            record.id,
            record.task,
        )

    # Timeouts.

    def _expire(self, job: RunningJob) -> None:
        """An attempt took too long; called on the housekeeping thread."""
        record = job.record
        job.timed_out = True
        job.ask_to_stop(JobTimeout)
        call = self._runtime.calls.get(record.id)
        options = self._options(record, None if call is None else call.options)
        error = JobTimeout()
        if not self._may_retry(error, record, options):
            self._fail(job, error, late=True)

    def _release_late(self, record: Record) -> None:
        """The thread of an attempt that was given up came back: its keys are free again."""
        store = self._runtime.own_store
        self._persist(lambda: store.change(record.id, {"holds": False}, token=record.token))

    # Writing.

    def _persist(self, write: Callable[[], T]) -> T | None:
        """Write until it works: an outcome is not lost because the disk is full for a while."""
        wait, longest = WRITE_AGAIN
        while True:
            try:
                return write()
            except StoreError as error:
                self._runtime.troubles.tell(error)
                if self.giving_up.wait(wait):
                    return None
                wait = min(wait * 2, longest)

    def _write(self, job: RunningJob, columns: dict[str, Any]) -> None:
        """Write progress, log lines or the memo of a running attempt."""
        runtime = self._runtime
        try:
            record = runtime.own_store.change(
                job.record.id, columns, states=_RUNNING, token=job.record.token
            )
        except StoreError as error:
            runtime.troubles.tell(error)
            return
        if record is not None and "progress" in columns:
            runtime.tell(functools.partial(self._show_progress, job, record))

    def _show_progress(self, job: RunningJob, record: Record) -> None:
        if self._runtime.running.get(job.id) is job:  # else more is known by now
            self._runtime.send(job_progressed, record)

    def _write_later(self, job: RunningJob) -> None:
        self._unwritten[job.id] = job
        self._runtime.keeper.poke(self._write_all, 0.05)

    def _write_all(self) -> float | None:
        """Duty: write what running jobs said since their last write."""
        for job_id in list(self._unwritten):
            job = self._unwritten.pop(job_id, None)
            if job is not None:
                job.flush()
        return None
