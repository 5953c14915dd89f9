"""Says in the log what is wrong: once, however many threads meet it again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .errors import BgTaskError

#: Seconds until a trouble that lasts is told of again.
AGAIN = 60.0

#: Different troubles that are remembered at most.
MOST = 1_000


class Troubles:
    """What went wrong in one app and process while it kept house.

    A store that cannot be used is met several times a second by duties, workers and requests.

    :param log: writes to the app's log, as :meth:`.Runtime.log`.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        # When each text may be told again; single dictionary operations, which are atomic.
        self._quiet_until: dict[str, float] = {}

    def tell(self, error: BaseException, what: str | None = None) -> None:
        """Log an error of ours in one line, any other with its traceback.

        :param what: what failed, if not all of the housekeeping.
        """
        text, now = f"{what}: {type(error).__name__}: {_shown(error)}", time.monotonic()
        if now < self._quiet_until.get(text, now):
            return
        if len(self._quiet_until) >= MOST:
            self._quiet_until.clear()
        self._quiet_until[text] = now + AGAIN
        if isinstance(error, BgTaskError):
            self._log(logging.ERROR, "%s: %s", what or "background jobs", error)
        else:
            what = what or "housekeeping for background jobs"
            self._log(logging.ERROR, "%s failed", what, exc_info=error)


def _shown(error: BaseException) -> str:
    """The text of an exception, whose own code may fail."""
    try:
        return str(error)
    except Exception:
        return ""
