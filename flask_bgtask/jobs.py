"""The jobs of one app, as its users see them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from flask import Flask, has_request_context, request

from .arguments import Codec
from .context import inside
from .errors import JobNotFound
from .job import Job, JobState, Page, Record, snapshot
from .store import Filter, Store

# What ``next`` of a page is: a row's number, of which a database holds eighteen digits for sure.
_NEXT = re.compile(r"[0-9]{1,18}")


def _place(after: str) -> int:
    """The place in the list that a page's ``next`` stands for."""
    if not isinstance(after, str):
        raise TypeError(f"after={after!r}: a text is expected, the next of a page")
    if not _NEXT.fullmatch(after):
        raise ValueError(f"after={after!r}: the next of a page is expected")
    return int(after)


class Jobs:
    """Finds jobs in the store, whichever process they belong to, and shows them.

    :param store: gives the store.
    :param url_prefix: path of the status pages; ``None`` if there are none.
    """

    def __init__(
        self, app: Flask, codec: Codec, store: Callable[[], Store], url_prefix: str | None
    ) -> None:
        self._app = app
        self._codec = codec
        self._store = store
        self._url_prefix = url_prefix

    def record(self, job_id: str) -> Record:
        """The row.

        :raises JobNotFound: there is none.
        """
        record = self._store().get(job_id)
        if record is None:
            raise JobNotFound(job_id)
        return record

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        :raises JobNotFound: there is none.
        """
        return self.show(self.record(job_id))

    def is_running(self, job_id: str) -> bool:
        """Whether the job runs now, in any process."""
        record = self._store().get(job_id)
        return record is not None and record.state is JobState.RUNNING

    def page(self, wanted: Filter, *, limit: int, after: str | None = None) -> Page[Job]:
        """A page of jobs, newest first.

        :param after: ``next`` of the page before.
        :raises TypeError: ``after`` is no text.
        :raises ValueError: it is no ``next`` of a page.
        """
        below = None if after is None else _place(after)
        rows = self._store().listing(wanted, limit=limit + 1, after=below, now=time.time())
        following = str(rows[limit - 1].seq) if len(rows) > limit else None
        return Page([self.show(row) for row in rows[:limit]], following)

    def show(self, record: Record) -> Job:
        """The public view of a row."""
        return snapshot(record, time.time(), self.decode)

    def decode(self, text: str) -> Any:
        """A stored result; references are loaded in an app context."""
        with inside(self._app):
            return self._codec.decode(text)

    def status_url(self, job_id: str) -> str | None:
        """Path of the job's status page; ``None`` without the blueprint.

        A proxy may hand on a script root that somebody else made up: with two slashes in front,
        or what browsers take for them, it would lead to another site.
        """
        if self._url_prefix is None:
            return None
        root = request.script_root if has_request_context() else ""
        path = f"{quote(root)}{self._url_prefix}/{job_id}"
        return "/" + path.lstrip("/")
