"""``flask bgtask doctor``: what is wrong here, and what to write."""

from __future__ import annotations

import time

from ..site import Site
from .case import Case
from .crew import crew_of
from .finding import ERROR, INFO, WARNING, Finding
from .jobs import examine_jobs
from .servers import examine_servers
from .settings import examine_settings
from .store import examine_neighbours, open_store

__all__ = ["ERROR", "INFO", "WARNING", "Finding", "examine"]

_ORDER = (ERROR, WARNING, INFO)


def examine(site: Site) -> list[Finding]:
    """All findings, the worst first. Starts no worker, runs no job, leaves no file."""
    store, findings = open_store(site.runtime)
    crew = [] if store is None else crew_of(store.processes())
    case = Case(site, store, crew, time.time())
    for look in (examine_jobs, examine_settings, examine_neighbours, examine_servers):
        findings += look(case)
    return sorted(findings, key=lambda finding: _ORDER.index(finding.level))
