"""Refusals: how something deep inside the arguments becomes an error that names its path."""

from __future__ import annotations

from ..errors import ArgumentError

#: Steps that a path shows at most; of a longer one the middle is left out.
LONGEST_PATH = 16

#: Characters of a dictionary's key that a path shows.
LONGEST_KEY = 40

_PLAIN_KEYS = frozenset({str, bytes, int, float, bool, type(None)})


class Refused(Exception):
    """Something cannot travel; whoever goes down into a container adds its step on the way up."""

    def __init__(self, why: str, *, steps: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self._most = steps
        self._steps: list[str] = []

    def inside(self, step: str) -> None:
        """Note the step that leads from a container to what was refused in it."""
        self._steps.append(step)

    def error(self, start: str) -> ArgumentError:
        """The error for people, with the whole path.

        :param start: where the way down began, such as ``args[0]``.
        """
        steps = self._steps[::-1][: self._most]
        if len(steps) > LONGEST_PATH:
            half = LONGEST_PATH // 2
            steps = [*steps[:half], "…", *steps[-half:]]
        return ArgumentError(start + "".join(steps), self.why)


def key_step(key: object) -> str:
    """The step to a dictionary's value; of a key that is no plain value only the class is shown."""
    kind = type(key)
    if kind not in _PLAIN_KEYS:
        return f"[<{kind.__name__}>]"
    try:
        shown = repr(key)
    except ValueError:  # Python writes no decimal number of thousands of digits
        shown = "<int>"
    if len(shown) > LONGEST_KEY:
        shown = shown[:LONGEST_KEY] + "…"
    return f"[{shown}]"
