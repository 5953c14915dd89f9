"""What the system tells of other processes, where it has ``/proc`` (Linux)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")

#: Options of the Python interpreter that take the next word.
_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")


@dataclass(frozen=True, slots=True)
class Process:
    """A live process of this machine."""

    pid: int
    argv: Sequence[str] = ()
    folder: str | None = None
    "The folder that it works in, if that can be known."
    environment: Mapping[str, str] = field(default_factory=dict)


def process_of(pid: int) -> Process | None:
    """The process of that number; ``None`` where nothing can be known of it."""
    try:
        argv = _words(PROC / str(pid) / "cmdline")
    except OSError:
        return None
    return Process(pid, argv, _folder(pid), _environment(pid)) if argv else None


def program_of(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The program's name and its own arguments, behind an interpreter if there is one.

    Processes that set a title of their own have one word instead (``gunicorn: worker [app]``).
    """
    words = list(argv)
    if Path(words[0]).name.startswith(("python", "pypy")):
        words = _behind_interpreter(words[1:])
    if not words:
        return "python", []
    name = Path(words[0].split(":")[0].split(" ")[0]).name
    return name.removesuffix(".exe"), words[1:]


def _behind_interpreter(words: list[str]) -> list[str]:
    while words and words[0].startswith("-") and words[0] != "-":
        option = words.pop(0)
        if option == "-m" and words:
            return [words[0].split(".")[0], *words[1:]]
        if option == "-c":
            return []
        if option in _WITH_VALUE and words:
            words.pop(0)
    return words


def value_of(args: Sequence[str], *names: str) -> str | None:
    """The value of a command line option, given as ``--name value`` or ``--name=value``.

    :param names: the ways to write it; for one with a single dash also ``-nvalue``.
    """
    found = None
    for word, following in zip(args, [*args[1:], ""]):
        for name in names:
            if word == name:
                found = following
            elif word.startswith(name + "="):
                found = word[len(name) + 1 :]
            elif not name.startswith("--") and word.startswith(name) and not word.startswith("--"):
                found = word[len(name) :]
    return found


def _words(path: Path) -> list[str]:
    text = path.read_bytes().decode(errors="surrogateescape")
    return [word for word in text.split("\0") if word]


def _folder(pid: int) -> str | None:
    try:
        return os.readlink(PROC / str(pid) / "cwd")
    except OSError:
        return None


def _environment(pid: int) -> dict[str, str]:
    try:
        words = _words(PROC / str(pid) / "environ")
    except OSError:
        return {}
    return {name: value for name, _, value in (word.partition("=") for word in words)}
