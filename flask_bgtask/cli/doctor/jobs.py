"""Are jobs taken and run?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ...job import JobState, Record
from ...store import Filter, Store
from ..output import ago, counted
from .case import Case
from .crew import Kind
from .finding import Finding, error, warning

#: Seconds that a job may wait before that is worth a word.
LONG = 60.0

#: Seconds back in which jobs that ended badly are looked for.
DAY = 86_400.0

_START = "Start the server, or a worker beside it: flask bgtask worker"


def examine_jobs(case: Case) -> Iterator[Finding]:
    """Look at what waits and at what ended badly."""
    if case.store is None:
        return
    yield from _waiting(case, case.store)
    yield from _queues(case, case.store)
    yield from _unknown(case)
    yield from _ended_badly(case)


def _waiting(case: Case, store: Store) -> Iterator[Finding]:
    """Does anybody take jobs at all?"""
    due = list(case.rows(Filter(state=JobState.QUEUED)))
    count = max(len(due), store.counts()[JobState.QUEUED])
    since = min([row.run_at for row in due] + [store.oldest_queued() or case.now])
    age = max(0.0, case.now - since)
    left = sum(row.worker not in case.names for row in case.rows(Filter(state=JobState.RUNNING)))
    if (count or left) and not case.workers():
        what = f"No live process runs jobs; {counted(count)} waiting, the oldest for {ago(age)}"
        more = f", and {counted(left)} begun by a process that is gone" if left else ""
        yield error("no-worker", f"{what}{more}.", _START)
    elif not case.workers() and not case.site.runtime.settings.run_workers:
        what = "BGTASK_RUN_WORKERS is False and no worker process is alive: nothing would run."
        yield warning("no-worker", what, "Start one: flask bgtask worker")
    elif count and age > LONG:
        yield warning(
            "long-wait",
            f"{counted(count)} waiting, the oldest for {ago(age)}, although {len(case.workers())} "
            "live processes may run them: all of their threads are busy, or they leave its queue "
            "or its task to others, or have BGTASK_RUN_WORKERS = False, other than here.",
            "If they are busy: a larger BGTASK_WORKERS for jobs that wait for something, one more "
            "worker process for jobs that compute.",
        )


def _queues(case: Case, store: Store) -> Iterator[Finding]:
    """Do all queues have somebody?"""
    paused = store.paused()
    for queue in _queues_with_jobs(case, store, paused):
        if queue in paused:
            what = f"Jobs wait in queue {queue!r}, which is paused."
            yield warning("paused", what, f"bg.resume({queue!r}), or the button on the status page")
        elif case.workers() and not _is_taken(case, queue):
            yield error(
                "queue-left",
                f"Jobs wait in queue {queue!r}, and no live process takes it (BGTASK_QUEUES, "
                "--queues).",
                f"Start a worker for it: flask bgtask worker --queues {queue}",
            )


def _queues_with_jobs(case: Case, store: Store, paused: Iterable[str]) -> list[str]:
    """The queues in which jobs wait: all that have a name here, and others as far as seen."""
    seen = {row.queue for row in case.rows(Filter(state=JobState.QUEUED))}
    for queue in {*paused, *case.site.runtime.settings.queues} - seen:
        if store.listing(Filter(JobState.QUEUED, queue=queue), limit=1, now=case.now):
            seen.add(queue)
    return sorted(seen)


def _is_taken(case: Case, queue: str) -> bool:
    left = case.site.runtime.settings.queues.get(queue) == 0
    for member in case.workers():
        if member.kind is Kind.ELSEWHERE:
            return True
        if member.queues is None:
            if not left:
                return True
        elif queue in member.queues:
            return True
    return False


def _unknown(case: Case) -> Iterator[Finding]:
    unknown = sorted(case.site.runtime.unknown_tasks())
    if unknown:
        yield warning(
            "unknown-tasks",
            f"Jobs wait for tasks that this code does not have: {', '.join(unknown)}.",
            "Import the modules that define them where the application is made. If the tasks are "
            "gone for good, cancel these jobs: flask bgtask cancel ID",
        )


def _ended_badly(case: Case) -> Iterator[Finding]:
    """Lost and poisonous jobs of the last day."""
    lost = [row.id for row in case.rows(Filter(state=JobState.LOST)) if _is_recent(case, row)]
    if lost:
        yield warning(
            "lost",
            f"{counted(len(lost))} lost within a day, as processes died: {_some(lost)}.",
            "A function that is no task ends with its process: make it one with @bg.task. A task "
            "with on_crash='fail' can be tried again by hand: flask bgtask retry ID",
        )
    failed = case.rows(Filter(state=JobState.FAILED))
    poison = [row.id for row in failed if _is_recent(case, row) and _is_poison(row)]
    if poison:
        yield warning(
            "poison",
            f"{counted(len(poison))} given up within a day, whose process died three times: "
            f"{_some(poison)}.",
            "See the server's log for how it died (memory, a signal, a crash in C code); then "
            "flask bgtask retry ID",
        )


def _is_recent(case: Case, row: Record) -> bool:
    return row.finished_at is not None and case.now - row.finished_at < DAY


def _is_poison(row: Record) -> bool:
    return row.error is not None and json.loads(row.error)[0] == "Poison"


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
