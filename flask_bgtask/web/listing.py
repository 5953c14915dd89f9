"""Jobs that the client may see, gathered from pages of all jobs."""

from __future__ import annotations

from ..job import Job, JobState, Page
from ..runtime import Runtime
from ..store import Filter
from .access import Access

#: Jobs that are looked at for one page, and for counts that not everything may be counted in.
MOST_LOOKED_AT = 2_000

#: Of the newest jobs so many are counted for who may not know of all.
COUNTED = 500


def visible_page(
    runtime: Runtime, access: Access, wanted: Filter, *, limit: int, after: str | None
) -> Page[Job]:
    """A page of the jobs that pass the filter and that the client may see, newest first.

    Jobs that it may not see are made up for by later ones, until many were looked at: then the
    page is shorter, and has a next one nevertheless.
    """
    found: list[Job] = []
    looked_at = 0
    while True:
        # Never more than are still missing, so that the page ends where the store's does.
        page = runtime.jobs(wanted, limit=limit - len(found), after=after)
        found += [job for job in page if is_visible(access, job, wanted)]
        looked_at += len(page)
        after = page.next
        if after is None or len(found) >= limit or looked_at >= MOST_LOOKED_AT:
            return Page(found, after)


def is_visible(access: Access, job: Job, wanted: Filter) -> bool:
    """Whether the client may know of the job, and of what the filter found in it.

    Who sees the minimal status alone must not learn the label by searching for it.
    """
    if not access.allows("view", job):
        return False
    hidden = wanted.text is not None and not _in_open(wanted.text.casefold(), job)
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
    for job in runtime.jobs(Filter(), limit=COUNTED):
        if access.allows("view", job):
            counts[job.state] += 1
    return counts


def visible_ids(runtime: Runtime, access: Access, wanted: Filter, most: int) -> list[str]:
    """Ids of the jobs that pass the filter and that the client may see, at most ``most``."""
    ids: list[str] = []
    after: str | None = None
    while True:
        page = runtime.jobs(wanted, limit=500, after=after)
        ids += [job.id for job in page if is_visible(access, job, wanted)]
        after = page.next
        if after is None or len(ids) >= most:
            return ids[:most]
