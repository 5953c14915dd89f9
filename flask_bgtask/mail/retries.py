"""When a deferred mail is tried again."""

from __future__ import annotations

import random

#: Seconds to wait after the first, second, … failed attempt; the last one goes on.
#:
#: RFC 5321, 4.5.4.1 asks for half an hour between tries and for patience of days. That is for
#: servers which deliver to strangers; a web application hands its mail to a server of its own,
#: where a restart or a short overload is the usual reason and a person waits for the mail. So
#: the first tries come quickly, the later ones as the RFC has it: about 15 hours in all.
WAITS = (2.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 14_400.0, 28_800.0)

#: Part by which a wait is made shorter or longer at random, so that mails that were deferred
#: together do not all come back together.
JITTER = 0.2


def backoff(attempt: int) -> float:
    """Seconds to wait after this attempt has failed (1 is the first)."""
    wait = WAITS[min(max(attempt, 1), len(WAITS)) - 1]
    return wait * random.uniform(1 - JITTER, 1 + JITTER)
