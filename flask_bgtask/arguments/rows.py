"""SQLAlchemy rows, which travel by class and identity.

A row belongs to the session, and so to the thread, that loaded it. The task gets the same row from
its own session. SQLAlchemy is only used here once the application has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from flask import current_app, has_app_context

from .classes import class_name
from .refusal import Refused

_COMMIT = "commit first, or submit with using(after_commit=True)"


def is_row_type(kind: type) -> bool:
    """Whether objects of the type are mapped rows."""
    if "sqlalchemy.orm" not in sys.modules or issubclass(kind, type):
        return False
    return sys.modules["sqlalchemy"].inspect(kind, raiseerr=False) is not None


class RowSource:
    """Where the rows of a class are found again: the session of Flask-SQLAlchemy."""

    __slots__ = ("cls",)

    def __init__(self, cls: type) -> None:
        if not _in_use():
            raise Refused(
                f"({cls.__name__}) is a database row, and Flask-SQLAlchemy, by whose session it "
                "could be found again, is not in use in this app: say how with "
                f"bg.reference({cls.__name__}, dump=…, load=…), or pass its id"
            )
        self.cls = cls

    @property
    def name(self) -> str:
        """``module:qualname`` of the class."""
        return class_name(self.cls)

    def check(self, row: Any, *, after_commit: bool) -> None:
        """Refuse what the task could not find in the database as it is here.

        :param after_commit: the task will be submitted only once the session committed.
        """
        kind = self.cls.__name__
        state = sys.modules["sqlalchemy"].inspect(row)
        if _is_deleted(row, state):
            raise Refused(f"({kind}) is deleted: pass the values that the task needs")
        if after_commit:
            return
        if state.key is None:
            raise Refused(f"({kind}) is new and not in the database: {_COMMIT}")
        if _has_changes(state) or any(state in flushed for flushed in _flushed(state.session)):
            raise Refused(f"({kind}) has changes that are not committed: {_COMMIT}")

    def dump(self, row: Any) -> list[Any]:
        """The row's identity, which it has once it was stored."""
        state = sys.modules["sqlalchemy"].inspect(row)
        if state.key is None or state.was_deleted or state.deleted:
            raise Refused(
                f"({self.cls.__name__}) was not stored by the commit: was it added to the session?"
            )
        return list(state.identity)

    def load(self, identity: Any) -> Any:
        """The row, from the session of the app context that is current.

        :raises LookupError: it is not there any more.
        """
        session = current_app.extensions["sqlalchemy"].session
        row = session.get(self.cls, tuple(identity))
        if row is None:
            shown = identity[0] if len(identity) == 1 else tuple(identity)
            raise LookupError(f"the row {self.cls.__name__} {shown!r} is not in the database")
        return row


def mapped_class(name: str) -> type | None:
    """A class of this name among those that Flask-SQLAlchemy's models know, wherever defined."""
    if not _in_use():
        return None
    registry = getattr(current_app.extensions["sqlalchemy"].Model, "registry", None)
    for mapper in () if registry is None else registry.mappers:
        if class_name(mapper.class_) == name:
            found: type = mapper.class_
            return found
    return None


def _in_use() -> bool:
    return has_app_context() and "sqlalchemy" in current_app.extensions


def _is_deleted(row: Any, state: Any) -> bool:
    if state.deleted or state.was_deleted:
        return True
    return state.session is not None and row in state.session.deleted


def _has_changes(state: Any) -> bool:
    # ``modified`` is also set when a value was only set again; the histories load nothing.
    return state.modified and any(attribute.history.has_changes() for attribute in state.attrs)


def _flushed(session: Any) -> Iterator[Any]:
    """The rows that open transactions of a session have written; no other connection sees them.

    SQLAlchemy keeps them for a rollback and has no public name for them.
    """
    if session is None:
        return
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        yield getattr(transaction, "_new", ())
        yield getattr(transaction, "_dirty", ())
        transaction = transaction.parent
