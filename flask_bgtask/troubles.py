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

    def tell(self, error: BaseException) -> None:
        """Log an error of ours in one line, any other with its traceback."""
        text, now = f"{type(error).__name__}: {error}", time.monotonic()
        if now < self._quiet_until.get(text, now):
            return
        if len(self._quiet_until) >= MOST:
            self._quiet_until.clear()
        self._quiet_until[text] = now + AGAIN
        if isinstance(error, BgTaskError):
            self._log(logging.ERROR, "background jobs: %s", error)
        else:
            self._log(logging.ERROR, "housekeeping for background jobs failed", exc_info=error)
