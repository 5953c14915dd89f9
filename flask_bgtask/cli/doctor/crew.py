"""The live processes that use the store, and what each of them is."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from .processes import Process, process_of, program_of, value_of


class Kind(StrEnum):
    """What a process does, as its command line tells."""

    WORKER = "flask bgtask worker"
    COMMAND = "another flask command"
    DEVELOPMENT = "the development server"
    GUNICORN = "gunicorn"
    UWSGI = "uWSGI"
    WAITRESS = "waitress"
    OTHER = "a program that is not known"
    ELSEWHERE = "on another machine, or hidden"


_BY_NAME = {
    "gunicorn": Kind.GUNICORN,
    "uwsgi": Kind.UWSGI,
    "uWSGI": Kind.UWSGI,
    "pyuwsgi": Kind.UWSGI,
    "waitress-serve": Kind.WAITRESS,
    "waitress": Kind.WAITRESS,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One live process."""

    name: str
    "``host:pid``."
    kind: Kind
    process: Process | None = None
    args: tuple[str, ...] = ()
    "The words after the program's name."

    @property
    def queues(self) -> Collection[str] | None:
        """The queues that a worker was told to take; ``None`` for all."""
        given = value_of(self.args, "--queues")
        return None if given is None else {name.strip() for name in given.split(",")}


def crew_of(names: Iterable[str]) -> list[Member]:
    """What is known of the processes that a store calls live.

    :param names: ``host:pid`` of each.
    """
    return [_member(name) for name in names]


def _member(name: str) -> Member:
    host, _, pid = name.rpartition(":")
    process = process_of(int(pid)) if host == socket.gethostname() and pid.isdigit() else None
    if process is None:
        return Member(name, Kind.ELSEWHERE)
    program, args = program_of(process.argv)
    kind = _flask_kind(args) if program == "flask" else _BY_NAME.get(program, Kind.OTHER)
    return Member(name, kind, process, tuple(args))


def _flask_kind(args: list[str]) -> Kind:
    if any(pair == ("bgtask", "worker") for pair in pairwise(args)):
        return Kind.WORKER
    return Kind.DEVELOPMENT if "run" in args else Kind.COMMAND
