"""An app's figures in Prometheus' text format, version 0.0.4 (its "Exposition formats" page).

Written by hand: a scrape reads the store, which knows all processes; counters in the memory of
one of them would say less.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from .job import JobState
from .runtime import Runtime

Sample = tuple[dict[str, str], float]


def metrics_text(runtime: Runtime) -> str:
    """What waits, runs and has ended in the app's store, as gauges.

    :raises StoreError: the store cannot be read.
    """
    lines: list[str] = []
    for name, meaning, samples in _figures(runtime):
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(labels)} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _figures(runtime: Runtime) -> Iterator[tuple[str, str, list[Sample]]]:
    store = runtime.store
    counts, oldest = store.counts(), store.oldest_queued()
    age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
    jobs: list[Sample] = [({"state": state}, counts.get(state, 0)) for state in JobState]
    paused: list[Sample] = [({"queue": queue}, 1) for queue in sorted(store.paused())]
    unknown = len(runtime.unknown_tasks())
    yield "bgtask_jobs", "Jobs in the store by state; ended ones as long as they are kept.", jobs
    yield "bgtask_oldest_queued_seconds", "How long the oldest queued job waits.", [({}, age)]
    yield "bgtask_processes", "Live processes that use the store.", [({}, len(store.processes()))]
    yield "bgtask_queue_paused", "Queues whose jobs nobody takes.", paused
    yield "bgtask_unknown_tasks", "Tasks that wait and are not known here.", [({}, unknown)]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
