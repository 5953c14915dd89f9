"""uWSGI's options, as far as its command line, environment and ini file tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .crew import Member

#: Seconds that uWSGI gives a worker to end when nobody says otherwise.
MERCY = 60.0

_SHORT = {"-T": "enable-threads", "-M": "master"}
_OFF = ("false", "off", "no", "0")

#: Options that lead to more options, which are not followed.
_MORE = ("yaml", "yml", "json", "xml", "sqlite3", "config", "import", "include", "inherit")

#: Options that are asked for below.
_THREADS = frozenset(("enable-threads", "threads", "gevent"))
_ASKED = _THREADS | {"master", "die-on-term", "worker-reload-mercy"}

#: An ini file that names another one is read no deeper than this.
_DEPTH = 4

Option = tuple[str, str]


class _Unknown(Exception):
    """There are options that cannot be known."""


@dataclass(frozen=True, slots=True)
class Uwsgi:
    """Options of one uWSGI."""

    threads: bool
    "Whether threads that the application starts run."
    master: bool
    die_on_term: bool
    mercy: float
    "Seconds that a worker has to end."


def uwsgi_of(member: Member) -> Uwsgi | None:
    """The options of the uWSGI whose worker a process is; ``None`` if they cannot be known."""
    process = member.process
    if process is None or not member.args or process.folder is None:
        return None
    try:
        given = dict(
            [
                *_from_environment(process.environment),
                *_from_words(member.args, Path(process.folder)),
            ]
        )
    except (_Unknown, OSError):
        return None
    on = {name for name, value in given.items() if value.lower() not in _OFF}
    return Uwsgi(
        threads=bool(on & _THREADS),
        master="master" in on,
        die_on_term="die-on-term" in on,
        mercy=_seconds(given.get("worker-reload-mercy")),
    )


def _from_environment(environment: Mapping[str, str]) -> Iterator[Option]:
    for name, value in environment.items():
        if name.startswith("UWSGI_"):
            yield name[6:].lower().replace("_", "-"), value


def _from_words(words: Sequence[str], folder: Path, depth: int = 0) -> Iterator[Option]:
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if word in _SHORT:
            yield _SHORT[word], "true"
        elif name.startswith("--"):
            if not equals:
                value = "true" if following.startswith("-") else following
            yield from _option(name[2:], value, folder, depth)
        elif word.endswith(".ini"):
            yield from _from_file(folder / word, folder, depth)
        elif word.endswith((".yaml", ".yml", ".json", ".xml")):
            raise _Unknown


def _from_file(path: Path, folder: Path, depth: int) -> Iterator[Option]:
    """The ``[uwsgi]`` section of an ini file."""
    if depth >= _DEPTH:
        raise _Unknown
    inside = False
    for line in path.read_text(errors="replace").splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line == "[uwsgi]"
        elif inside and line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield from _option(name.strip(), value.strip() or "true", folder, depth + 1)


def _option(name: str, value: str, folder: Path, depth: int) -> Iterator[Option]:
    if name == "ini":
        yield from _from_file(folder / value, folder, depth)
    elif name in _MORE or (name in _ASKED and ("%" in value or "$(" in value)):
        raise _Unknown
    else:
        yield name, value


def _seconds(given: str | None) -> float:
    try:
        return MERCY if given is None else float(given)
    except ValueError:
        return MERCY
