"""The commands, and how their answers look."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from flask import Flask
from flask.cli import AppGroup

from ..errors import BgTaskError, JobNotFound
from ..job import Job, JobState
from ..runtime import Runtime
from ..store import BATCH, Filter
from ..task import cancel, requeue
from . import jobs
from .doctor import ERROR, Finding, examine
from .output import NOTHING, ago, counted, print_fields, print_json, print_table
from .site import KEY, Site, current_site, read_only
from .timetable import HEAD, timetable
from .worker import work

if TYPE_CHECKING:
    from ..extension import BackgroundTasks


def add_commands(
    app: Flask,
    bg: BackgroundTasks,
    *,
    details: Callable[[Runtime, Job], dict[str, Any]],
    finish: Callable[[], None],
) -> None:
    """Give the ``flask`` command of an app the group ``bgtask``.

    :param details: what is known of a job besides its status, as plain data without secrets.
    :param finish: says that this process comes to its end.
    """
    app.extensions[KEY] = Site(bg, bg.runtime(app), details, finish)
    app.cli.add_command(group)


class _Group(AppGroup):
    """Says what is wrong in one line and ends with status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BgTaskError as error:
            raise click.ClickException(str(error)) from error


group = _Group("bgtask", help="Background jobs: run them, look at them, steer them.")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _names(_: click.Context, __: click.Parameter, value: str | None) -> frozenset[str] | None:
    if value is None:
        return None
    names = frozenset(name.strip() for name in value.split(",")) - {""}
    if not names:
        raise click.BadParameter("names of queues are expected, as in mail,cpu")
    return names


@group.command("worker")
@click.option("--queues", callback=_names, help="Only these queues, as in mail,cpu.")
@click.option("--threads", type=click.IntRange(1), help="Jobs at a time (BGTASK_WORKERS).")
def worker_command(queues: frozenset[str] | None, threads: int | None) -> None:
    """Run jobs until told to end (Ctrl+C, SIGTERM).

    Works whatever BGTASK_RUN_WORKERS says, and on a queue that BGTASK_QUEUES leaves to others
    if --queues names it.
    """
    work(current_site(), queues, threads)


@group.command("list")
@click.option("--state", type=click.Choice([str(state) for state in JobState]))
@click.option("--task", help="Only jobs of this task.")
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--owner", help="Only jobs of this owner.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--after", help="Go on where an earlier list ended.")
@_as_json
def list_command(
    state: str | None,
    task: str | None,
    queue: str | None,
    owner: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first."""
    wanted = Filter(None if state is None else JobState(state), task, queue, owner)
    runtime = read_only()
    found: list[Job] = []
    following = None
    if runtime is not None:
        try:
            page = runtime.jobs.page(wanted, limit=limit, after=after)
        except ValueError as error:
            why = f"{after!r}: what a list ended with is expected"
            raise click.BadParameter(why, param_hint="--after") from error
        found, following = page.items, page.next
    if as_json:
        print_json({"jobs": [jobs.data(job) for job in found], "next": following})
    elif not found:
        click.echo("No jobs yet." if wanted == Filter() else "No such jobs.")
    else:
        print_table(jobs.HEAD, map(jobs.row, found))
        if following is not None:
            click.echo(f"More: --after {following}")


def _with(job_id: str) -> Runtime:
    """The runtime in whose store a job may be.

    :raises JobNotFound: there is no store yet.
    """
    runtime = read_only()
    if runtime is None:
        raise JobNotFound(job_id)
    return runtime


@group.command("show")
@click.argument("id")
@_as_json
def show_command(id: str, as_json: bool) -> None:
    """Show all that is known of a job."""
    runtime = _with(id)
    job = runtime.jobs.get(id)
    details = current_site().details(runtime, job)
    if as_json:
        print_json({**jobs.data(job), **details})
    else:
        print_fields(jobs.fields(job, details))


@group.command("cancel")
@click.argument("id")
def cancel_command(id: str) -> None:
    """End a job that waits; ask one that runs to stop."""
    job = cancel(_with(id), id)
    done = job.state.finished
    click.echo(f"{id} is cancelled." if done else f"{id} runs and was asked to stop.")


@group.command("retry")
@click.argument("id")
def retry_command(id: str) -> None:
    """Queue a failed, cancelled or lost job again."""
    runtime = _with(id)
    record = requeue(runtime, id)
    if runtime.has_engine:  # as in a test: not this command, but its process runs jobs
        runtime.deliver(record)
    click.echo(f"{id} is queued again.")


@group.command("stats")
@_as_json
def stats_command(as_json: bool) -> None:
    """Count jobs and processes."""
    runtime = read_only()
    figures = _figures(runtime)
    if as_json:
        print_json(figures)
        return
    age = figures["oldest_queued_age"]
    print_fields(
        [
            *figures["counts"].items(),
            ("oldest queued", NOTHING if age is None else f"waits {ago(age)}"),
            ("processes", ", ".join(figures["processes"])),
            ("paused", ", ".join(figures["paused"])),
            ("unknown tasks", ", ".join(figures["unknown_tasks"])),
        ]
    )


def _figures(runtime: Runtime | None) -> dict[str, Any]:
    if runtime is None:
        empty: list[str] = []
        counts = {str(state): 0 for state in JobState}
        oldest, processes, paused, unknown = None, empty, empty, empty
    else:
        store = runtime.store
        counts = {str(state): count for state, count in store.counts().items()}
        oldest, processes = store.oldest_queued(), store.processes()
        paused, unknown = sorted(store.paused()), sorted(runtime.unknown_tasks())
    return {
        "counts": counts,
        "oldest_queued_age": None if oldest is None else max(0.0, time.time() - oldest),
        "processes": processes,
        "paused": paused,
        "unknown_tasks": unknown,
    }


@group.command("purge")
@click.option("--all", "everything", is_flag=True, help="Every finished job, expired or not.")
def purge_command(everything: bool) -> None:
    """Delete finished jobs whose time to be kept is over."""
    runtime = read_only()
    count = 0 if runtime is None else _purge(runtime, everything)
    click.echo(f"{counted(count)} deleted.")


def _purge(runtime: Runtime, everything: bool) -> int:
    """Delete in small steps and rest after each as long as it took: others have to write too."""
    total = 0
    until = math.inf if everything else time.time()
    while True:
        began = time.monotonic()
        deleted = runtime.store.purge(until)
        total += deleted
        if deleted < BATCH:
            return total
        time.sleep(time.monotonic() - began)


@group.command("schedules")
@_as_json
def schedules_command(as_json: bool) -> None:
    """List periodic tasks, with their last and next tick."""
    site = current_site()
    store = site.runtime.store
    known = [] if store.file is not None and not store.file.exists() else store.schedules()
    lines = timetable(site.runtime.registry.schedules, known, time.time())
    if as_json:
        print_json({"schedules": [line.data() for line in lines]})
    elif not lines:
        click.echo("No schedules.")
    else:
        print_table(HEAD, [line.row() for line in lines])


@group.command("doctor")
@_as_json
def doctor_command(as_json: bool) -> None:
    """Say what is wrong with this configuration under this server, and what to write.

    Ends with status 1 if something is an error.
    """
    findings = examine(current_site())
    if as_json:
        print_json({"findings": [finding.data() for finding in findings]})
    else:
        _print_findings(findings)
    if any(finding.level == ERROR for finding in findings):
        raise click.exceptions.Exit(1)


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        click.echo(f"{finding.level}: {finding.code}")
        print_fields(finding.lines())
