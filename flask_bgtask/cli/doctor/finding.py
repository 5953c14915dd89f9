"""What the doctor says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

#: It does not work. The command ends with status 1.
ERROR = "error"
#: It works, but not as somebody expects.
WARNING = "warning"
#: Good to know.
INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the configuration, the store or a process."""

    level: str
    code: str
    "Names the kind of finding, for programs; does not change."
    what: str
    "What is."
    write: str = ""
    "What to write, or to do, about it."

    def data(self) -> dict[str, str]:
        """As plain data."""
        return asdict(self)

    def lines(self) -> Iterator[tuple[str, str]]:
        """For people."""
        yield "   ", self.what
        if self.write:
            yield "-->", self.write


def error(code: str, what: str, write: str = "") -> Finding:
    """Something does not work."""
    return Finding(ERROR, code, what, write)


def warning(code: str, what: str, write: str = "") -> Finding:
    """Something does not work as somebody expects."""
    return Finding(WARNING, code, what, write)


def info(code: str, what: str, write: str = "") -> Finding:
    """Something is good to know."""
    return Finding(INFO, code, what, write)
