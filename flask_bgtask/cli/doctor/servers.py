"""What is special about the servers that run the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from .case import Case
from .crew import Kind, Member
from .finding import Finding, error, info, warning
from .gunicorn import Gunicorn, gunicorn_of
from .uwsgi import Uwsgi, uwsgi_of

#: From this version on uWSGI lets threads run unless it is told not to.
UWSGI_WITH_THREADS = (2, 0, 27)

_BESIDE = "For a stop that waits for them: BGTASK_RUN_WORKERS = False and flask bgtask worker"


def examine_servers(case: Case) -> Iterator[Finding]:
    """Look at each kind of server among the live processes."""
    if case.store is not None and not case.crew:
        yield info(
            "no-process",
            "No live process uses the store, so that nothing can be said about the server.",
            "Start it, and ask again.",
        )
    for kind in sorted({member.kind for member in case.crew}):
        look = _LOOKS.get(kind)
        members = [member for member in case.crew if member.kind is kind]
        if look is not None:
            yield from look(case, members)


def _gunicorn(case: Case, members: list[Member]) -> Iterator[Finding]:
    found = {gunicorn_of(member) for member in members}
    for server in found:
        yield from _cut_short(case, server)
    if case.site.runtime.settings.run_workers and any(server.gevent for server in found):
        yield warning(
            "gunicorn-gevent",
            "Under gunicorn's gevent workers tasks are greenlets: one that computes, or waits in "
            "C code, stops all requests of its process, and if it takes longer than --timeout, "
            "gunicorn ends the process.",
            "Leave such tasks to other processes, queue by queue: BGTASK_QUEUES = {'cpu': 0} and "
            "flask bgtask worker --queues cpu",
        )


def _cut_short(case: Case, server: Gunicorn) -> Iterator[Finding]:
    """gunicorn ends a worker that drains, because it hears nothing of it, or is late."""
    drain = case.site.runtime.settings.drain_timeout
    for option, limit, when in (
        ("--graceful-timeout", server.graceful_timeout, "when it stops"),
        ("--timeout", server.timeout, "when it reloads, or a worker has served --max-requests"),
    ):
        if limit is not None and limit <= drain:
            yield warning(
                "gunicorn-timeout",
                f"gunicorn {option} is {limit:g} s, and {when}, it kills a worker after that time. "
                f"BGTASK_DRAIN_TIMEOUT lets jobs run on for {drain:g} s: they are cut short, which "
                "counts as a crash.",
                f"{option} {drain + 5:g}, or a smaller BGTASK_DRAIN_TIMEOUT",
            )


def _uwsgi(case: Case, members: list[Member]) -> Iterator[Finding]:
    for server in {uwsgi_of(member) for member in members} - {None}:
        assert server is not None
        if case.site.runtime.settings.run_workers and not server.threads:
            yield from _no_threads()
        if server.master:
            yield from _signals(case, server)


def _no_threads() -> Iterator[Finding]:
    known = _uwsgi_version()
    if known is not None and known >= UWSGI_WITH_THREADS:
        return
    say = error if known is not None else warning
    yield say(
        "uwsgi-threads",
        "uWSGI lets no thread of the application run (before 2.0.27 that is its default), and so "
        "no job: durable ones wait for another process, all others are refused.",
        "enable-threads = true",
    )


def _uwsgi_version() -> tuple[int, ...] | None:
    """The version that is installed beside the application, if one is."""
    for name in ("uwsgi", "pyuwsgi"):
        try:
            return tuple(int(part) for part in version(name).split(".")[:3])
        except (PackageNotFoundError, ValueError):
            continue
    return None


def _signals(case: Case, server: Uwsgi) -> Iterator[Finding]:
    drain = case.site.runtime.settings.drain_timeout
    if not server.die_on_term:
        yield warning(
            "uwsgi-sigterm",
            "On SIGTERM uWSGI begins anew instead of ending; a service manager that sends it "
            "kills all of it in the end, and running jobs with it.",
            "die-on-term = true",
        )
    if server.mercy <= drain:
        yield warning(
            "uwsgi-mercy",
            f"uWSGI kills a worker that takes {server.mercy:g} s to end (worker-reload-mercy), and "
            f"BGTASK_DRAIN_TIMEOUT lets jobs run on for {drain:g} s: they are cut short, which "
            "counts as a crash.",
            f"worker-reload-mercy = {drain + 5:g}, or a smaller BGTASK_DRAIN_TIMEOUT",
        )


def _ends_at_once(case: Case, members: list[Member]) -> Iterator[Finding]:
    if case.site.runtime.settings.run_workers:
        yield info(
            "ends-at-once",
            f"On SIGTERM {members[0].kind} ends without waiting: jobs that run are cut short and "
            "begin again in the next process, those that are not durable are lost. On SIGINT "
            "(Ctrl+C) they have BGTASK_DRAIN_TIMEOUT.",
            _BESIDE,
        )


def _other(case: Case, members: list[Member]) -> Iterator[Finding]:
    if case.site.runtime.settings.run_workers:
        yield info(
            "server-unknown",
            f"{_names(members)}: a program that is not known here. Under app.run() and "
            "waitress.serve() jobs are taken from the start; under another server, such as "
            "gevent's pywsgi, from the first request or submit on.",
            "bg.start(app), where the program begins to serve",
        )


def _elsewhere(case: Case, members: list[Member]) -> Iterator[Finding]:
    yield info(
        "elsewhere",
        f"{_names(members)}: of another machine or container, or of another user, so that nothing "
        "can be said about the server.",
        "Ask the doctor there too. A SQLite store must be on a local disk of one machine.",
    )


def _names(members: list[Member]) -> str:
    return ", ".join(member.name for member in members)


_LOOKS: dict[Kind, Callable[[Case, list[Member]], Iterator[Finding]]] = {
    Kind.GUNICORN: _gunicorn,
    Kind.UWSGI: _uwsgi,
    Kind.DEVELOPMENT: _ends_at_once,
    Kind.WAITRESS: _ends_at_once,
    Kind.OTHER: _other,
    Kind.ELSEWHERE: _elsewhere,
}
