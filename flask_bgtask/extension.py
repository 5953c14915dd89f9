"""The Flask extension: wires the parts and gives them public names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload
from weakref import WeakSet

from flask import Blueprint, Flask, Response, has_app_context

from . import cli, databases, mail, parts, scheduler, startup, task, web
from .arguments import Codec
from .config import read_settings
from .context import Carrier, current_app_context, take_unwritten
from .engine import Capacity
from .errors import BgTaskError
from .handle import Handle
from .job import Job, JobState, Page
from .metrics import metrics_text
from .naming import MAIL_TASK
from .options import DURABLE, VOLATILE, Options
from .recovery import lifecycle
from .runtime import Registry, Runtime
from .store import Filter
from .task import Decorator, Submitter, Task, iterate, register, submit_callable

if TYPE_CHECKING:
    from email.message import EmailMessage

    from flask_mail import Message

P = ParamSpec("P")
T = TypeVar("T")


class BackgroundTasks(Executor):
    """Context-correct background work for Flask applications.

    Tasks, carriers and references are registered on this object; what runs belongs to an app, in
    ``app.extensions["bgtask"]``. One object serves any number of apps.

    :param app: an app to initialise at once; with a factory, call :meth:`init_app` in it.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._registry = Registry(Codec())
        self._runtimes: WeakSet[Runtime] = WeakSet()
        self.authorizer: web.Authorizer | None = None
        "What :meth:`authorize` was given."
        self.blueprint: Blueprint = web.create_blueprint(self, metrics=metrics_text)
        "The blueprint of the status pages, for the application's own limits and exemptions."
        options = dataclasses.replace(DURABLE, backoff=mail.backoff)
        self._mail_task: Task[..., mail.MailReceipt] = Task(
            self, mail.deliver, MAIL_TASK, options, max_bytes=mail.MAX_STORED_BYTES
        )
        self._registry.tasks[MAIL_TASK] = self._mail_task
        # By BGTASK_MAIL_RETRIES, of which each app has its own; single operations.
        self._mail_defaults: dict[int, Options] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Prepare an app. Starts no thread and opens no file.

        Reads the ``BGTASK_*`` keys (see :doc:`configuration`) once and registers the blueprint.

        :raises ConfigError: a setting is wrong.
        :raises RuntimeError: the app was prepared already.
        """
        if "bgtask" in app.extensions:
            raise RuntimeError(
                f"Flask-BgTask is initialised on {app.name!r} already: call init_app once for each "
                "app, and use one BackgroundTasks object"
            )
        settings = read_settings(app)
        parts.check(settings)
        runtime = Runtime(
            app, settings, self._registry, parts.make_store, parts.make_engine, parts.make_parts
        )
        obstacle = startup.obstacle()
        if obstacle is not None and settings.run_workers:
            runtime.capacity = Capacity(0, obstacle=obstacle)
        runtime.closers.append(lambda: mail.close_all(runtime))
        app.extensions["bgtask"] = runtime
        self._runtimes.add(runtime)
        self._registry.codec.trusted.add(app.import_name.partition(".")[0])
        app.teardown_appcontext(_flush(runtime))
        if settings.url_prefix is not None:
            app.register_blueprint(self.blueprint, url_prefix=settings.url_prefix)
        lifecycle.follow(runtime)
        databases.install()  # listens before requests come, if SQLAlchemy is imported by now
        startup.watch(
            app,
            start=lambda: lifecycle.start(runtime),
            stop=lambda: lifecycle.drain(runtime, settings.drain_timeout),
        )
        cli.add_commands(app, self, details=web.details, finish=startup.finish)

    def runtime(self, app: Flask | None = None) -> Runtime:
        """The run-time state of an app, of the current one by default.

        :raises RuntimeError: outside an app context, or ``init_app`` was not called, or not on
            this object.
        """
        if app is None:
            context = current_app_context()
            if context is None:
                raise RuntimeError(_NO_CONTEXT)
            app = context.app
        runtime: Runtime | None = app.extensions.get("bgtask")
        if runtime is None:
            raise RuntimeError(
                f"Flask-BgTask is not initialised on {app.name!r}: call bg.init_app(app) where the "
                "app is made"
            )
        if runtime.registry is not self._registry:
            raise RuntimeError(
                f"{app.name!r} is initialised with another BackgroundTasks object, which knows "
                "nothing of the tasks and carriers of this one: use one object for all"
            )
        return runtime

    # Submitting.

    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Run ``fn(*args, **kwargs)`` in the background, in a context of the current app.

        :raises ArgumentError: something cannot travel; the path says what. Nothing was queued.
        :raises QueueFull: as many jobs wait as ``BGTASK_MAX_QUEUED`` allows.
        :raises RuntimeError: outside an app context, or after a shutdown.
        """
        return submit_callable(self.runtime(), fn, args, kwargs, {}, VOLATILE)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """As :meth:`concurrent.futures.Executor.map`; a durable job is not cancelled by it.

        :param timeout: seconds from now for all results.
        :param chunksize: has no effect, as with threads.
        """
        return iterate(lambda *args: self.submit(fn, *args), iterables, timeout)

    def using(self, **options: Any) -> Submitter:
        """``submit``, ``map`` and ``send_mail`` with options (see :doc:`options`).

        :raises TypeError: there is no such option; names the nearest one.
        """
        return Submitter(self, options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers of the current app, outside a context those of every app.

        What runs here, and what is queued and can run here, comes to its end, however long it
        takes. A job that is scheduled, or waits for another attempt, does so if only this process
        can run it and it is due within ``BGTASK_DRAIN_TIMEOUT`` seconds. Of those that are due
        later, or whose queue is paused or left to others, durable ones stay in a shared store; all
        others end as ``lost`` (:exc:`.JobLost`), each with a line in the log.

        :param wait: return when all that has happened.
        :param cancel_futures: cancel those that wait; durable ones stay in the store.
        :raises RuntimeError: called in a job, which would wait for itself; ``wait=False`` is fine.
        """
        runtimes = [self.runtime()] if has_app_context() else list(self._runtimes)
        for runtime in runtimes:
            lifecycle.shutdown(runtime, wait=wait, cancel=cancel_futures)

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Task[P, T]: ...
    @overload
    def task(self, fn: Callable[P, T], /) -> Task[P, T]: ...
    @overload
    def task(
        self, fn: Callable[P, Coroutine[Any, Any, T]], /, *, name: str | None = None, **options: Any
    ) -> Task[P, T]: ...
    @overload
    def task(
        self, fn: Callable[P, T], /, *, name: str | None = None, **options: Any
    ) -> Task[P, T]: ...
    @overload
    def task(self, /, *, name: str | None = None, **options: Any) -> Decorator: ...
    def task(
        self, fn: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Any
    ) -> Any:
        """Register a function as a task: durable, and known by name in every process.

        :param name: its name in the store; by default its module and qualified name.
        :param options: see :doc:`options`.
        :raises TypeError: an option is wrong.
        :raises ValueError: another function has the name.
        """
        chosen = dataclasses.replace(DURABLE.merged(options), given=frozenset())

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            return register(self, self._registry, function, name, chosen)

        return decorate if fn is None else decorate(fn)

    def periodic(
        self,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        trigger: Any = None,
        tz: str | tzinfo = "UTC",
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        catch_up: str = "latest",
        jitter: float | timedelta = 0,
        id: str | None = None,
        **options: Any,
    ) -> Callable[[Task[P, T]], Task[P, T]]:
        """Decorator over a task: runs it on a schedule, once a tick across all processes.

        :param cron: five fields as in crontab(5), read in ``tz``.
        :param every: seconds, or a timedelta; ticks are at whole multiples since the epoch.
        :param trigger: a trigger of APScheduler 3.
        :param args: and ``kwargs``: what the task is called with.
        :param catch_up: which of the ticks that were missed while no process ran get a job after
            all: ``"latest"``, ``"all"`` or ``"skip"``.
        :param jitter: seconds by which a job starts later than its tick at most, at random.
        :param id: the schedule's name in the store; by default the task's. A second schedule of a
            task needs one.
        :param options: of its jobs; see :doc:`options`.
        :raises ValueError: the rule means nothing, or the task has a schedule of this id already.
        :raises ConfigError: croniter is not installed.
        :raises ArgumentError: what the task is called with cannot be stored.
        """
        rule = scheduler.read_rule(cron, every, trigger, tz)
        before = self._registry.schedules.copy()

        def decorate(target: Task[P, T]) -> Task[P, T]:
            if not isinstance(target, Task):
                raise TypeError(
                    f"{target!r} is no task: put @bg.task below @bg.periodic(...), or wrap a bound "
                    "method as in bg.task(worker.run, name=...)"
                )
            scheduler.plan(
                self._registry,
                target,
                rule,
                args=args,
                kwargs=kwargs,
                options=options,
                catch_up=catch_up,
                jitter=jitter,
                id=id,
                before=before,
            )
            return target

        return decorate

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The registered tasks by name."""
        return dict(self._registry.tasks)

    # Mail.

    def send_mail(self, message: Message | EmailMessage) -> Handle[mail.MailReceipt]:
        """Send a mail in the background, durably. It is frozen now; later changes do not matter.

        :raises ArgumentError: it can never be sent: it has no recipient, say.
        """
        return self.submit_mail(message, self.mail_options({}))

    def mail_options(self, options: dict[str, Any]) -> Options:
        """The options of a mail, with some replaced."""
        retries = self.runtime().settings.mail_retries
        own = self._mail_defaults.get(retries)
        if own is None:
            own = dataclasses.replace(self._mail_task.options, retries=retries)
            self._mail_defaults[retries] = own
        return own.merged(options) if options else own

    def submit_mail(
        self, message: Message | EmailMessage, options: Options
    ) -> Handle[mail.MailReceipt]:
        """Freeze a mail and queue it."""
        frozen = mail.freeze(self.runtime().app, message)
        return self._mail_task._submit(options, (frozen,), {})

    # Looking and steering.

    def get(self, job_id: str) -> Job:
        """The job as any process of the app sees it.

        :raises JobNotFound: there is no such job.
        """
        return self.runtime().jobs.get(job_id)

    def jobs(
        self,
        *,
        state: JobState | str | None = None,
        task: str | None = None,
        queue: str | None = None,
        owner: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Job]:
        """A page of jobs, newest first.

        :param limit: most jobs on the page, 1 to 500.
        :param after: ``next`` of the page before.
        :raises TypeError: ``limit`` is no whole number, or ``after`` no text.
        :raises ValueError: a value is wrong.
        """
        if type(limit) is not int:
            raise TypeError(f"limit={limit!r}: a whole number is expected")
        if not 1 <= limit <= 500:
            raise ValueError(f"limit={limit!r}: 1 to 500 is expected")
        wanted = Filter(None if state is None else JobState(state), task, queue, owner)
        return self.runtime().jobs.page(wanted, limit=limit, after=after)

    def handle(self, job_id: str) -> Handle[Any]:
        """A live :class:`.Handle` for a job that was submitted anywhere.

        :raises JobNotFound: there is no such job.
        """
        return self.runtime().handles.open(job_id)

    def cancel(self, job_id: str) -> Job:
        """End a waiting job; ask a running one to stop at its next ``checkpoint``.

        :raises JobNotFound: there is no such job.
        :raises JobStateError: it has ended.
        """
        return task.cancel(self.runtime(), job_id)

    def retry(self, job_id: str) -> Job:
        """Queue a failed, cancelled or lost job again, under its id and with its arguments.

        A handle that was done stays so: take a new one with :meth:`handle`.

        :raises JobNotFound: there is no such job.
        :raises JobStateError: its state forbids it, or its arguments are gone.
        """
        return task.retry(self.runtime(), job_id)

    def accepted(self, handle: Handle[Any]) -> Response:
        """202 with ``Location``, ``Retry-After`` and the job's status as its body."""
        return web.accepted(self.runtime(), handle)

    # Registering.

    def authorize(self, fn: web.Authorizer) -> web.Authorizer:
        """Decorator: ``fn(action, job)`` decides who may do what over HTTP.

        It returns ``True``, ``False`` or ``None``, which is a no, or a response that is sent as it
        is. Actions are ``list``, ``view``, ``detail``, ``result``, ``cancel``, ``retry``,
        ``manage`` and ``metrics``.
        """
        self.authorizer = fn
        return fn

    def reference(
        self, cls: type[T], *, dump: Callable[[T], Any], load: Callable[[Any], T]
    ) -> None:
        """Let objects of ``cls`` travel by reference.

        :param dump: gives plain data that names an object; called at submit.
        :param load: finds the object again; called in the task's app context.
        """
        self._registry.codec.reference(cls, dump=dump, load=load)

    def carry(
        self,
        name: str,
        *,
        capture: Callable[[], Any],
        restore: Callable[[Any], AbstractContextManager[Any]],
    ) -> None:
        """Carry something of the submitting context to every task.

        :param name: any but ``babel``, ``owner``, ``request`` and ``url``, which are taken.
        :param capture: called at submit; gives plain data, or ``None`` for nothing.
        :param restore: gives a context manager that surrounds the task.
        :raises ValueError: it is one of these names.
        """
        others = [each for each in self._registry.carriers if each.name != name]
        self._registry.carriers[:] = [*others, Carrier(name, capture, restore)]

    # Life cycle by hand.

    def start(self, app: Flask) -> None:
        """Let this process take jobs, also those that earlier processes left.

        After a shutdown or a drain it opens the app again: jobs, handles and what is paused are as
        they were.

        :raises RuntimeError: ``init_app`` was not called on the app; or jobs still run that a
            drain gave up, or that a shutdown did not wait for.
        """
        runtime = self.runtime(app)
        again = lifecycle.reopen(runtime)
        startup.begin(app)
        if again:  # `begin` does nothing a second time
            lifecycle.start(runtime)

    def drain(self, app: Flask, timeout: float | None = None) -> bool:
        """Take no new job and wait for those that run here; whether all ended in time.

        :param timeout: seconds; by default ``BGTASK_DRAIN_TIMEOUT``.
        """
        runtime = self.runtime(app)
        limit = runtime.settings.drain_timeout if timeout is None else timeout
        return lifecycle.drain(runtime, limit)

    def pause(self, queue: str) -> None:
        """Let no process begin jobs of the queue until :meth:`resume`."""
        self._pause(queue, True)

    def resume(self, queue: str) -> None:
        """Let jobs of the queue begin again."""
        self._pause(queue, False)

    def _pause(self, queue: str, paused: bool) -> None:
        runtime = self.runtime()
        runtime.store.pause(queue, paused)
        runtime.engine.pause_all(runtime.store.paused())


def _flush(runtime: Runtime) -> Callable[[BaseException | None], None]:
    """Before a response leaves, what was submitted for it is there for every process."""

    def flush(_: BaseException | None) -> None:
        if runtime.has_store and take_unwritten():
            try:
                runtime.store.flush()
            except BgTaskError as error:
                runtime.troubles.tell(error)

    return flush


_NO_CONTEXT = (
    "there is no app context here, so there is no telling for which app the job is to run. In a "
    "view and in a task there is one; elsewhere write\n\n"
    "    with app.app_context():\n"
    "        bg.submit(...)"
)
