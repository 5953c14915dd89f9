"""Closes the connections of every SQLite store before a fork, as SQLite demands."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """A store, as far as a fork is concerned."""

    def before_fork(self) -> bool:
        """Close everything and hold the gate."""

    def after_fork_in_parent(self, writing: bool) -> None:
        """Let go of it."""

    def after_fork(self) -> None:
        """In the child: begin anew."""


_stores: WeakSet[Forkable] = WeakSet()


class _Held(threading.local):
    """The stores whose gates the forking thread holds; the child's only thread is a copy of it."""

    stores: tuple[tuple[Forkable, bool], ...] = ()


_held = _Held()

# Connections that a child inherited open (a server that forks without Python's hooks). They are
# never closed, not even by the garbage collector: closing would touch the parent's files.
_abandoned: list[object] = []


def watch(store: Forkable) -> None:
    """Take care of a store at each fork."""
    _stores.add(store)


def abandon(connections: object) -> None:
    """Keep what a child inherited and must not touch."""
    _abandoned.append(connections)


def _before() -> None:
    _held.stores = tuple((store, store.before_fork()) for store in list(_stores))


def _in_parent() -> None:
    held, _held.stores = _held.stores, ()
    for store, writing in held:
        store.after_fork_in_parent(writing)


def _in_child() -> None:
    held, _held.stores = _held.stores, ()
    for store, _ in held:
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
