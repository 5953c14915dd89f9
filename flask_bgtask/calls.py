"""What jobs that stay in this process will call, and rows that the store has not got yet."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from .arguments import Prepared
from .context import own_variables
from .errors import StoreError
from .handle import Handle
from .job import Record
from .options import VOLATILE, Options
from .store import Store


class Call:
    """What a job that stays in this process will call, until it ends.

    What was not set reads as the class has it.
    """

    options: Options = VOLATILE
    carried: dict[str, Any]
    "Data of the carriers."
    variables: Context | None = None
    "Context variables of the submitter, without Flask's own; ``None`` for none."
    prepared: Prepared | None = None
    "Function and arguments; ``None`` for a durable job, whose row has them."
    has_place: bool = False
    "A thread is kept for it or has it: its first attempt begins without a claim."
    record: Record | None = None
    "The row as it was at first; that of a plain job is made later."
    written: bool = False
    "Whether the store has the row."
    stop: bool = False
    "Somebody asked the job to stop, maybe before it began."

    # What the rest is made of, of a plain job alone: see `task.plain`.
    fn: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any]
    copied: Context | None = None
    created_at: float = 0.0

    # A plain job as an engine sees it: see `engine.WaitingJob`.
    queue: str = VOLATILE.queue
    priority: int = VOLATILE.priority
    serial: str | None = None
    durable: bool = False
    attempt: int = 0

    def __init__(self, handle: Handle[Any]) -> None:
        self.handle = handle
        self.id = handle.id

    def shown(self) -> Prepared | None:
        """Function and arguments for who looks at the job; ``None`` for a durable one."""
        if self.prepared is None and self.fn is not None:
            return Prepared(self.fn, self.args, self.kwargs)
        return self.prepared

    def complete(self) -> None:
        """Do what the submit of a plain job left for later; twice does no harm."""
        if self.copied is not None:
            self.variables = own_variables(self.copied) or None
            self.copied = None
        self.prepared = self.shown()


class Fresh(deque[Call]):
    """Plain jobs whose rows are not in the store yet, in the order of their submission.

    To make a row, to add it and to change it takes half of the time that a small job takes. So
    it is added when somebody looks into the store, or else when the job has ended.

    A deque, as each submit pays for what it does with it: an ``append``, which is atomic. A call
    is taken out only once its row is in the store: who finds nothing here misses nothing there.

    :param store: gives the store.
    :param make: makes the row of a call, as running if it has a place.
    """

    def __init__(self, store: Callable[[], Store], make: Callable[[Call], Record]) -> None:
        super().__init__()
        self._store = store
        self._make = make
        # Held while a row is made, changed or added: each is added once, as it is at that moment,
        # and in the order of submission.
        self._lock = threading.Lock()
        self.welcome = False
        "Whether the store took a row lately; if not, a submit is to try itself, and to fail."

    def write(self) -> None:
        """Add all rows to the store, if it can take them.

        If not, whatever is asked of it next will meet the same trouble.
        """
        with self._lock:
            try:
                for _ in range(len(self)):  # not those that are submitted meanwhile
                    self._write_first()
            except StoreError:
                self.welcome = False

    def begin(self, call: Call) -> Record | None:
        """The row of a job that a thread has now; ``None`` if it is to be claimed in the store."""
        with self._lock:
            # Nobody has seen it wait, not even where a row was made that the store refused.
            if call.record is None or not (call.written or call.has_place):
                call.has_place = True
                call.record = self._make(call)
            elif not call.has_place:
                return None
            call.has_place = False  # a second attempt will have to wait for one
            return call.record

    def end(self, call: Call, columns: dict[str, Any]) -> Record | None:
        """Add the row of a job that ended, with these columns; ``None`` if it was added before.

        :raises StoreError: the store cannot take it; nothing has changed.
        """
        with self._lock:
            running = call.record
            if running is None or call.written:
                return None
            call.record = ended = running.copy(**columns)
            try:
                self._write_up_to(call)
            except StoreError:
                self.welcome = False
                call.record = running
                raise
            return ended

    def _write_up_to(self, call: Call) -> None:
        while not call.written:
            self._write_first()

    def _write_first(self) -> None:
        call = self[0]
        if call.record is None:
            call.record = self._make(call)
        self._store().add(call.record)
        call.written = True
        self.popleft()
