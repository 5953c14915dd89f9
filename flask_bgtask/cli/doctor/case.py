"""What all examinations look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...job import Record
from ...store import Filter, Store
from ..site import Site
from .crew import Kind, Member

#: Rows that are looked at for one question; a doctor need not know of all.
MOST_ROWS = 2_000

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Case:
    """One app, its store if that can be read, and the live processes that use it."""

    site: Site
    store: Store | None
    "``None`` if there is none yet, or it cannot be used."
    crew: list[Member]
    now: float

    @property
    def names(self) -> set[str]:
        """``host:pid`` of the live processes."""
        return {member.name for member in self.crew}

    def workers(self) -> list[Member]:
        """The live processes that run jobs, or may do for all that is known.

        Other processes are taken to have the configuration of this one.
        """
        return [member for member in self.crew if self._works(member)]

    def _works(self, member: Member) -> bool:
        if member.kind in (Kind.WORKER, Kind.ELSEWHERE):
            return True
        return member.kind is not Kind.COMMAND and self.site.runtime.settings.run_workers

    def rows(self, wanted: Filter) -> Iterator[Record]:
        """Rows of the store, newest first, within :data:`MOST_ROWS`."""
        after, seen = None, 0
        while self.store is not None and seen < MOST_ROWS:
            page = self.store.listing(wanted, limit=_PAGE, after=after, now=self.now, brief=True)
            yield from page
            seen += len(page)
            if len(page) < _PAGE:
                return
            after = page[-1].seq
