"""Every exception of this library.

::

    BgTaskError
    ├── ConfigError          a setting is wrong, or what it needs is not installed
    ├── ArgumentError        something cannot travel to where the task runs
    ├── StoreError           the store cannot be read or written
    ├── QueueFull            as many jobs wait as BGTASK_MAX_QUEUED allows
    ├── DuplicateJob         an unfinished job holds this ``unique`` key
    ├── JobNotFound          no such job in this app's store
    ├── JobStateError        the job's state forbids what was asked
    ├── JobFailed            a job that ran elsewhere failed
    ├── JobTimeout           an attempt took longer than its ``timeout``
    ├── JobLost              the job's process died and it may not run again
    ├── JobCancelled         a running job was asked to stop
    ├── Retry                raised by a task: try again now
    └── Abort                raised by a task: fail, whatever retries are left
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from click import ClickException

# What stands for a secret.
_DOTS = "•••"

# From the first colon behind the scheme to the last @: a password may hold an @ or a slash that
# should have been escaped, and rather too much is left out than too little.
_USER_AND_PASSWORD = re.compile(r"(://[^:]*:).+@", re.DOTALL)

_NAME_AND_VALUE = re.compile(r"([\w.%-]+)(\s*=\s*)('[^']*'|[^&\s]+)")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|auth|credential", re.IGNORECASE)


class BgTaskError(Exception):
    """Base of every exception of this library."""


class ConfigError(BgTaskError, ClickException):
    """A configuration value is wrong or names something that is not there.

    Raised by :meth:`.BackgroundTasks.init_app`, and at the first use of a store. Of Click's kind
    too, so that a ``flask`` command says it in one line where the app itself cannot be made.
    The message has dots for passwords in the value; ``value`` is as it was given.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key} = {_without_passwords(value)}: {allowed}")
        self.key = key
        self.value = value
        self.allowed = allowed


def _without_passwords(value: object) -> str:
    """The ``repr`` of a value, with dots for the passwords of URLs and connection strings."""
    text = value if isinstance(value, str) else repr(value)
    text = _USER_AND_PASSWORD.sub(rf"\1{_DOTS}@", text)
    text = _NAME_AND_VALUE.sub(_without_secret, text)
    return repr(text) if isinstance(value, str) else text


def _without_secret(pair: re.Match[str]) -> str:
    name, equals, _ = pair.groups()
    return f"{name}{equals}{_DOTS}" if _SECRET_NAME.search(unquote(name)) else pair[0]


class ArgumentError(BgTaskError, TypeError):
    """A function or an argument cannot travel to where the task runs; nothing was queued."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.path = path
        self.why = why


class StoreError(BgTaskError):
    """The store could not be read or written."""


class QueueFull(BgTaskError):
    """As many jobs wait as ``BGTASK_MAX_QUEUED`` allows; this one was not accepted."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} jobs wait already (BGTASK_MAX_QUEUED); answer 503 and let the client "
            "come back, or add workers"
        )
        self.limit = limit


class DuplicateJob(BgTaskError):
    """An unfinished job holds this ``unique`` key already."""

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(f"job {job_id} is not finished and holds the unique key {key!r}")
        self.key = key
        self.job_id = job_id


class JobNotFound(BgTaskError, LookupError):
    """The app's store has no job of this id: a wrong id, or one whose time to keep is over."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id!r} in this application's store")
        self.job_id = job_id


class JobStateError(BgTaskError):
    """The job's present state forbids what was asked."""

    def __init__(self, job_id: str, state: str, why: str) -> None:
        super().__init__(f"job {job_id} is {state}: {why}")
        self.job_id = job_id
        self.state = state
        self.why = why


class JobFailed(BgTaskError):
    """A job that ran in another process failed; carries what that process wrote down."""

    def __init__(self, type_name: str, message: str, traceback_text: str = "") -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text


class JobTimeout(BgTaskError, TimeoutError):
    """An attempt took longer than the ``timeout`` of its job."""

    def __init__(self, message: str = "the attempt took longer than its timeout") -> None:
        super().__init__(message)


class JobLost(BgTaskError):
    """The process that ran the job died, and the job may not run again."""

    def __init__(self, message: str = "the process that ran this job is gone") -> None:
        super().__init__(message)


class JobCancelled(BgTaskError):
    """Raised by ``current_job.checkpoint()`` in a job that was asked to stop."""

    def __init__(self, message: str = "the job was asked to stop") -> None:
        super().__init__(message)


class Retry(BgTaskError):
    """Raised by a task: end this attempt and try again, if a retry is left.

    :param delay: seconds (or a timedelta) until the next attempt; ``None``, or a time that is
        over, means now.
    :raises TypeError: it is no such thing.
    """

    def __init__(self, delay: float | timedelta | None = None) -> None:
        super().__init__("the task asked for a retry")
        given = 0 if delay is None else delay
        seconds: Any = given.total_seconds() if isinstance(given, timedelta) else given
        good = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not (good and abs(seconds) < 1e10):
            raise TypeError(f"delay={delay!r}: seconds, a timedelta or None is expected")
        self.delay = max(0.0, float(seconds))


class Abort(BgTaskError):
    """Raised by a task: fail at once, whatever retries are left.

    :param reason: shown as the job's error message.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
