"""gunicorn's settings, as far as its command line and environment tell them."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path

from .crew import Member
from .processes import value_of

#: What gunicorn does when nobody says otherwise, in seconds.
TIMEOUT = GRACEFUL_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Gunicorn:
    """Settings of one gunicorn, in seconds; ``None`` where a file of its own may say anything."""

    gevent: bool
    timeout: float | None
    graceful_timeout: float | None


def gunicorn_of(member: Member) -> Gunicorn:
    """The settings of the gunicorn whose worker a process is."""
    process = member.process
    assert process is not None
    args = [*shlex.split(process.environment.get("GUNICORN_CMD_ARGS", "")), *member.args]
    # Without words of its own the process has a title instead of its command line.
    complete = bool(member.args) and not _has_file(args, process.folder)
    timeout = _seconds(value_of(args, "--timeout", "-t"), TIMEOUT if complete else None)
    graceful = value_of(args, "--graceful-timeout")
    return Gunicorn(
        gevent=(value_of(args, "--worker-class", "-k") or "").startswith("gevent"),
        timeout=math.inf if timeout == 0 else timeout,
        graceful_timeout=_seconds(graceful, GRACEFUL_TIMEOUT if complete else None),
    )


def _has_file(args: list[str], folder: str | None) -> bool:
    given = value_of(args, "--config", "-c") is not None
    return given or folder is None or (Path(folder) / "gunicorn.conf.py").exists()


def _seconds(given: str | None, otherwise: float | None) -> float | None:
    try:
        return otherwise if given is None else float(given)
    except ValueError:
        return otherwise
