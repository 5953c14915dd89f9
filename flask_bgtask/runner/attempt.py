"""One attempt at a job: everything that happens inside its own context."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from contextvars import Context
from typing import Any

from flask.ctx import AppContext

from .. import databases
from ..arguments import TooLarge
from ..calls import Call
from ..context import (
    REQUEST,
    UNFELT,
    RunningJob,
    own_decimal_context,
    restore_locale,
    restore_url,
    run_as,
    thaw_request,
)
from ..coroutines import run_to_end
from ..errors import ArgumentError
from ..job import Record
from ..runtime import Runtime
from ..task.signature import verify

#: Characters of a result's ``repr`` that are kept where the result itself cannot be stored.
REPR_LENGTH = 10_000


class Attempt:
    """Calls the function of a job in an app context with its carriers; notes what came of it."""

    def __init__(
        self, runtime: Runtime, record: Record, call: Call | None, job: RunningJob
    ) -> None:
        self.runtime = runtime
        self.record = record
        self.job = job
        self.result: Any = None
        self.result_text: str | None = None
        self.error: BaseException | None = None
        self._call = call

    def execute(self) -> None:
        """Do it, in a context of its own; raises nothing."""
        call = self._call
        variables = Context() if call is None or call.variables is None else call.variables.copy()
        variables.run(self._surrounded)

    def _surrounded(self) -> None:
        own_decimal_context()
        run_as(self.job)
        with databases.usable_connections():
            context = self.runtime.app.app_context()
            try:
                context.push()  # calls the receivers of a signal of Flask's, which may fail
                self._carried()
            except BaseException as error:
                self.error = error
            self._pop(context)

    def _pop(self, context: AppContext) -> None:
        """Run the teardown functions; an error of theirs changes no result."""
        try:
            context.pop(self.error)
        except BaseException:  # SystemExit too: who waits for the job must get to know its end
            databases.give_back_sessions(context)
            self._teardown_failed()

    def _teardown_failed(self) -> None:
        text = "a teardown function failed after job %s (%s)"
        self.runtime.log(logging.ERROR, text, self.record.id, self.record.task, exc_info=True)

    def _carried(self) -> None:
        self._check_row()
        self.job.carried = carried = self._carriers()
        restore_url(self.runtime.app, carried)
        if carried.keys() <= UNFELT:
            self._called()
            return
        with ExitStack() as stack:
            for surrounding in self._surroundings(carried):
                stack.enter_context(surrounding)
            self._called()

    def _surroundings(self, carried: dict[str, Any]) -> Iterator[AbstractContextManager[Any]]:
        """What the carriers put around the task, each made when those before it are entered."""
        yield restore_locale(carried)
        for carrier in self.runtime.registry.carriers:
            if carrier.name in carried:
                yield carrier.restore(carried[carrier.name])
        if REQUEST in carried:
            yield thaw_request(self.runtime.app, carried[REQUEST], self._teardown_failed)

    def _called(self) -> None:
        fn, args, kwargs = self._target()
        result = run_to_end(fn(*args, **kwargs))
        self.result_text = self._text(result)
        self.result = result

    def _carriers(self) -> dict[str, Any]:
        if self._call is not None:
            return self._call.carried
        text = self.record.carried
        carried = {} if text is None else self.runtime.codec.decode(text)
        if type(carried) is not dict:
            raise ArgumentError("carried", "in the store cannot be read: it is no dictionary")
        return carried

    def _check_row(self) -> None:
        """Use nothing of a row that ``submit`` did not write, as far as that can be told.

        :raises itsdangerous.BadSignature: a bare function that is not signed.
        :raises ArgumentError: what an earlier attempt left cannot be read.
        """
        if self._call is not None and self._call.prepared is not None:
            return
        if self.record.task not in self.runtime.registry.tasks:
            verify(self.runtime.app, self.record)
        if not self.job.readable:
            raise ArgumentError("memo", "in the store cannot be read: it is no dictionary")

    def _target(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The function and its arguments as they were at submit.

        :raises UnknownFunction: this process does not have the function.
        """
        if self._call is not None and self._call.prepared is not None:
            return self._call.prepared.attempt()
        record, codec = self.record, self.runtime.codec
        task = self.runtime.registry.tasks.get(record.task)
        if task is None:
            return codec.decode_call(record.task, record.arguments or "")
        args, kwargs = codec.decode_arguments(record.arguments or "")
        return task.fn, args, kwargs

    def _text(self, result: Any) -> str | None:
        """The result as the store keeps it; made here, where references can be looked at."""
        if result is None:
            return None
        codec = self.runtime.codec
        try:
            return codec.encode(result, "result")
        except Exception as error:
            # Plain jobs return all kinds of objects, which only their handles are to give.
            if self.record.durable or isinstance(error, TooLarge):
                self.runtime.log(
                    logging.WARNING,
                    "job %s (%s) succeeded, but only the repr of its result is kept: %s",
                    self.record.id,
                    self.record.task,
                    error,
                )
            return codec.encode(shown(result), "result")


def shown(value: Any) -> str:
    """The ``repr`` of anything, cut to :data:`REPR_LENGTH`."""
    try:
        return repr(value)[:REPR_LENGTH].encode("utf-8", "replace").decode()
    except Exception:
        return f"<{type(value).__name__}>"
