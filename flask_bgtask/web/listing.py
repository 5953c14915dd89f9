"""Jobs that the client may see, gathered from pages of all jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

from ..context import user_id
from ..job import Job, JobState, Page
from ..runtime import Runtime
from ..store import Filter
from .access import Access

#: Jobs that are looked at for one page, and for counts that not everything may be counted in.
MOST_LOOKED_AT = 2_000

#: Of the newest jobs so many are counted for who may not know of all.
COUNTED = 500

#: Rows that are read at a time.
_AT_ONCE = 100


def visible_page(
    runtime: Runtime, access: Access, wanted: Filter, *, limit: int, after: str | None
) -> Page[Job]:
    """A page of the jobs that pass the filter and that the client may see, newest first.

    Jobs that it may not see are made up for by later ones, until many were looked at: then the
    page is shorter, and has a next one nevertheless. Otherwise there is a next page only if there
    is something on it for the client: it must not learn that others have jobs of the kind that it
    looks for.
    """
    found: list[Job] = []
    below = None if after is None else int(after)
    for looked_at, job in enumerate(_jobs(runtime, wanted, below), start=1):
        if is_visible(access, job, wanted):
            if len(found) == limit:
                return Page(found, str(found[-1].record.seq))
            found.append(job)
        if looked_at >= MOST_LOOKED_AT:
            return Page(found, str(job.record.seq))
    return Page(found, None)


def _jobs(runtime: Runtime, wanted: Filter, below: int | None = None) -> Iterator[Job]:
    """Jobs that pass the filter, newest first, without arguments, results and logs.

    These may hold a megabyte each, and a list shows none of them.
    """
    while True:
        now = time.time()
        rows = runtime.store.listing(wanted, limit=_AT_ONCE, after=below, now=now, brief=True)
        yield from map(runtime.jobs.show, rows)
        if len(rows) < _AT_ONCE:
            return
        below = rows[-1].seq


def is_visible(access: Access, job: Job, wanted: Filter) -> bool:
    """Whether the client may know of the job, and of what the filter found in it.

    Who sees the minimal status alone must not learn label and owner by searching for them.
    """
    if not access.allows("view", job):
        return False
    hidden = wanted.text is not None and not _in_open(wanted.text.casefold(), job)
    hidden = hidden or (wanted.owner is not None and wanted.owner != user_id())
    return not hidden or access.allows("detail", job)


def _in_open(text: str, job: Job) -> bool:
    return text in job.id or text in job.task.casefold()


def visible_counts(runtime: Runtime, access: Access) -> dict[str, int]:
    """How many jobs are in each state.

    Of the whole store for who may read the metrics, which tell the same; for others of the jobs
    that they may see, among the newest :data:`COUNTED`.
    """
    if access.allows("metrics"):
        known = runtime.store.counts()
        return {state: known.get(state, 0) for state in JobState}
    counts = {str(state): 0 for state in JobState}
    for job in islice(_jobs(runtime, Filter()), COUNTED):
        if access.allows("view", job):
            counts[job.state] += 1
    return counts


def visible_ids(runtime: Runtime, access: Access, wanted: Filter, most: int) -> list[str]:
    """Ids of the jobs that pass the filter and that the client may see, at most ``most``."""
    visible = (job.id for job in _jobs(runtime, wanted) if is_visible(access, job, wanted))
    return list(islice(visible, most))
