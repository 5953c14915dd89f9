"""The one path on which every job is executed, whichever engine brought it."""

from __future__ import annotations

import logging
import time

from itsdangerous import BadSignature

from ..arguments import UnknownFunction
from ..calls import Call
from ..context import RunningJob
from ..errors import Abort, ArgumentError, JobCancelled, JobTimeout, Retry
from ..job import JobState, Record
from ..options import DURABLE, VOLATILE, Options, StoredOptions, exponential, stored_options
from ..runtime import Runtime
from ..signals import job_started
from ..store import Wanted
from .attempt import Attempt
from .ending import Ending
from .timeouts import Timeouts
from .writing import Writer

#: Failures that no retry mends: the task wants none, or the row itself cannot be used.
_FINAL = (Abort, BadSignature, ArgumentError)


class Runner:
    """Executes jobs: claim, call, record, resolve, tell."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._writer = Writer(runtime)
        self._ending = Ending(runtime, self._writer)
        self._timeouts = Timeouts(runtime.keeper, self._expire)
        self.unknown: set[str] = set()
        "Signed functions that this process could not import; it leaves them to others."

    def give_up(self) -> None:
        """The process ends: what cannot be written now never will be."""
        self._writer.giving_up.set()

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
        job = RunningJob(record, write=self._writer.report, later=self._writer.report_later)
        runtime.running[record.id] = job
        runtime.parts.watcher.job_began()
        if call is not None and call.stop:
            job.ask_to_stop(JobCancelled)
        try:
            self._attempt(record, call, job)
        except Exception as error:
            # Its row is not as we wrote it, or this is a fault of ours: no job stays running.
            self._timeouts.remove(job)
            if not self._ending.fail(job, error):
                raise
        finally:
            runtime.running.pop(record.id, None)
            self._writer.forget(job)

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
        return runtime.store_as_is.claim(Wanted(job_id=job_id), runtime.columns.claiming())

    def _attempt(self, record: Record, call: Call | None, job: RunningJob) -> None:
        runtime = self._runtime
        if call is None and not record.durable:
            self._ending.lose(record)
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

    def _end(self, attempt: Attempt, options: Options | StoredOptions) -> None:
        record, job = attempt.record, attempt.job
        error = JobTimeout() if job.timed_out else attempt.error
        wait = None if error is None else self._retry_after(error, record, options)
        if error is None:
            self._ending.succeed(attempt)
        elif isinstance(error, UnknownFunction):
            self.unknown.add(record.task)
            self._ending.leave_to_others(record)
        elif job.cancel_requested and (wait is not None or isinstance(error, JobCancelled)):
            self._ending.cancel(job)
        elif wait is not None:
            self._ending.retry(job, error, wait)
        else:
            self._ending.fail(job, error)
        attempt.error = None  # breaks the cycle of exception, traceback and frame
        if job.timed_out:
            self._ending.release_late(record)

    def _may_retry(
        self, error: BaseException, record: Record, options: Options | StoredOptions
    ) -> bool:
        """Whether there is to be another attempt."""
        used = record.attempt - record.crashes
        if used >= record.max_attempts or isinstance(error, _FINAL):
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

    def _expire(self, job: RunningJob) -> None:
        """An attempt took too long; called on the housekeeping thread."""
        record = job.record
        job.timed_out = True
        job.ask_to_stop(JobTimeout)
        call = self._runtime.calls.get(record.id)
        options = self._options(record, None if call is None else call.options)
        error = JobTimeout()
        if not self._may_retry(error, record, options):
            self._ending.fail(job, error, late=True)
