"""Jobs that exist only if a SQLAlchemy session commits.

The one seam between a submission and the application's own transaction: :func:`wait_for_commit`
is told what to do when it commits and when it does not. A store that keeps its rows in the
application's database could add the row in the transaction itself instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flask import Flask

from ..errors import ArgumentError

#: Where a session keeps what waits for it (``Session.info`` is there for such things).
_KEY = "flask_bgtask.after_commit"

Step = Callable[[], None]


def session_of(app: Flask, option: Any) -> Any:
    """The session that ``after_commit`` names: ``True`` is that of Flask-SQLAlchemy.

    :raises ArgumentError: there is none.
    """
    if option is True:
        extension = app.extensions.get("sqlalchemy")
        if extension is None:
            raise ArgumentError(
                "after_commit=True",
                "needs Flask-SQLAlchemy in this app; give the session itself: after_commit=session",
            )
        option = extension.session
    orm = sys.modules.get("sqlalchemy.orm")
    if orm is not None:
        session = option() if isinstance(option, orm.scoped_session) else option
        session = getattr(session, "sync_session", session)
        if isinstance(session, orm.Session):
            return session
    raise ArgumentError(f"after_commit={option!r}", "is no SQLAlchemy session")


def wait_for_commit(session: Any, accept: Step, abandon: Step) -> Step | None:
    """Call one of the two once the session's present transaction has ended.

    Within a savepoint its rollback counts too. Neither may raise: SQLAlchemy calls them.

    :return: ``None`` if a transaction has begun, whose end is certain. Else what gives up waiting
        if none has begun until then: nothing tells that such a session was closed.
    """
    steps: Steps | None = session.info.get(_KEY)
    if steps is None:
        steps = session.info[_KEY] = Steps(session)
    return steps.add(session, accept, abandon)


class Steps:
    """What waits for the transactions of one session. A session belongs to one thread."""

    def __init__(self, session: Any) -> None:
        from sqlalchemy import event

        # The transaction that each waits for; None for the next one, where none has begun.
        self._steps: list[tuple[Any, Step, Step]] = []
        self._committed: Any = None
        event.listen(session, "after_commit", self._on_commit)
        event.listen(session, "after_transaction_end", self._on_end)

    def add(self, session: Any, accept: Step, abandon: Step) -> Step | None:
        """Wait for the innermost transaction; see :func:`wait_for_commit`."""
        step = (_innermost(session), accept, abandon)
        self._steps.append(step)

        def give_up() -> None:
            if step in self._steps and _innermost(session) is None:
                self._steps.remove(step)
                abandon()

        return give_up if step[0] is None else None

    def _on_commit(self, session: Any) -> None:
        """A transaction, or a savepoint, was committed; it is still the innermost one."""
        self._committed = _innermost(session)

    def _on_end(self, _: Any, transaction: Any) -> None:
        if not self._steps:
            return
        committed = self._committed is transaction
        self._committed = None
        mine = [step for step in self._steps if step[0] in (transaction, None)]
        if transaction.parent is not None:
            mine = [step for step in mine if step[0] is transaction]
        self._steps = [step for step in self._steps if step not in mine]
        for _, accept, abandon in mine:
            if committed and transaction.parent is not None:
                self._steps.append((transaction.parent, accept, abandon))
            elif committed:
                accept()
            else:
                abandon()


def _innermost(session: Any) -> Any:
    return session.get_nested_transaction() or session.get_transaction()
