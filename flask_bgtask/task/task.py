"""Tasks, and the ways to submit them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from ..arguments import MAX_BYTES
from ..context import NullJob, null_job, running_as
from ..coroutines import in_event_loop, run_to_end
from ..handle import Handle
from ..options import VOLATILE, Options
from .drafting import Target
from .mapping import iterate
from .plain import submit_plain
from .submission import submit

if TYPE_CHECKING:
    from email.message import EmailMessage

    from flask_mail import Message

    from ..mail import MailReceipt
    from ..runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


class Owner(Protocol):
    """What a task asks of the ``BackgroundTasks`` it is registered on."""

    def runtime(self) -> Runtime:
        """The run-time state of the current app; ``RuntimeError`` without one."""

    def mail_options(self, options: dict[str, Any]) -> Options:
        """The options of a mail, with some replaced."""

    def submit_mail(self, message: Message | EmailMessage, options: Options) -> Handle[MailReceipt]:
        """Queue a mail."""


class Task(Generic[P, T]):
    """A registered function. Calling it runs it here and now; ``submit`` runs it in the background.

    Made by :meth:`.BackgroundTasks.task`.
    """

    def __init__(
        self,
        owner: Owner,
        fn: Callable[P, Any],
        name: str,
        options: Options,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.fn = fn
        "The function itself."
        self.name = name
        "Name in the store; the same in every process."
        self.options = options
        self._owner = owner
        self._max_bytes = max_bytes
        # Without the function's own attributes, which may have names that are ours.
        functools.update_wrapper(self, fn, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function here and now, with a null :data:`.current_job`."""
        job = null_job()
        with running_as(job):
            result = self.fn(*args, **kwargs)
            awaited = inspect.iscoroutine(result) and in_event_loop()
            value: Any = _awaited(result, job) if awaited else run_to_end(result)
        return value  # type: ignore[no-any-return]

    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """Run the task in the background, durably unless it was declared otherwise.

        :raises ArgumentError: an argument cannot travel; nothing was queued.
        :raises QueueFull: too many jobs wait.
        :raises RuntimeError: outside an app context, or after a shutdown.
        """
        return self._submit(self.options, args, kwargs)

    def map(
        self, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """As :meth:`.BackgroundTasks.map`."""
        return iterate(self._submitter(self.options), iterables, timeout)

    def using(self, **options: Any) -> TaskSubmitter[P, T]:
        """The same task with other options.

        :raises TypeError: there is no such option.
        """
        return TaskSubmitter(self, self.options.merged(options))

    def _submit(self, options: Options, args: Any, kwargs: Any) -> Handle[T]:
        runtime = self._owner.runtime()
        target = Target(self.name, self.fn, args, kwargs, self._max_bytes)
        return submit(runtime, target, options)

    def _submitter(self, options: Options) -> Callable[..., Handle[T]]:
        return lambda *args: self._submit(options, args, {})

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Refuse to be a method: which object it belongs to would be lost in the store."""
        if instance is None:
            return self
        raise TypeError(
            f"{self.name} is a task defined in a class body, which cannot know its object: make a "
            "task of the bound method, bg.task(obj.method, name=...), with a bg.reference for its "
            "class, or of a module's function"
        )

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


async def _awaited(result: Coroutine[Any, Any, T], job: NullJob) -> T:
    """Within an event loop the function only runs where its result is awaited."""
    with running_as(job):
        return await result


class TaskSubmitter(Generic[P, T]):
    """A task with some options replaced."""

    def __init__(self, task: Task[P, T], options: Options) -> None:
        self._task = task
        self.options = options

    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """As :meth:`Task.submit`."""
        return self._task._submit(self.options, args, kwargs)

    def map(
        self, *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """As :meth:`Task.map`."""
        return iterate(self._task._submitter(self.options), iterables, timeout)

    def using(self, **options: Any) -> TaskSubmitter[P, T]:
        """The same with further options replaced."""
        return TaskSubmitter(self._task, self.options.merged(options))


#: Options of which the one that was given last counts alone.
_WHEN = ("delay", "eta")


class Submitter:
    """``submit``, ``map`` and ``send_mail`` with options."""

    def __init__(self, owner: Owner, options: dict[str, Any]) -> None:
        self._owner = owner
        self._given = options
        self.options = VOLATILE.merged(options)

    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """As :meth:`.BackgroundTasks.submit`."""
        return submit_callable(self._owner.runtime(), fn, args, kwargs, self._given, self.options)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """As :meth:`.BackgroundTasks.map`."""
        return iterate(lambda *args: self.submit(fn, *args), iterables, timeout)

    def send_mail(self, message: Message | EmailMessage) -> Handle[MailReceipt]:
        """As :meth:`.BackgroundTasks.send_mail`."""
        return self._owner.submit_mail(message, self._owner.mail_options(self._given))

    def using(self, **options: Any) -> Submitter:
        """The same with further options replaced."""
        given = dict(self._given)
        if not options.keys().isdisjoint(_WHEN):
            given = {name: value for name, value in given.items() if name not in _WHEN}
        return Submitter(self._owner, {**given, **options})


def submit_callable(
    runtime: Runtime,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: dict[str, Any],
    options: Options,
) -> Handle[Any]:
    """Submit any callable; a task keeps its name and its own options."""
    if type(fn) is Task:
        own = fn.options.merged(given) if given else fn.options
        return submit(runtime, Target(fn.name, fn.fn, args, kwargs), own)
    if options is VOLATILE:
        return submit_plain(runtime, fn, args, kwargs)
    return submit(runtime, Target(None, fn, args, kwargs), options)
