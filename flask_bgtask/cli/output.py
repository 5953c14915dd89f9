"""How the commands print: tables and text that are safe on a terminal, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

#: Column and field for what is not there.
NOTHING = "-"


def print_json(data: Any) -> None:
    """Print plain data for programs."""
    click.echo(json.dumps(data, indent=2))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their headings, each column as wide as it has to be."""
    lines = [list(head), *([text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths))
        click.echo("  ".join(cells).rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one ``name  value`` a line; further lines of a value are indented below it."""
    fields = list(fields)
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        first, *more = text(value, lines=True).split("\n")
        click.echo(f"{name.ljust(width)}  {first}".rstrip())
        for line in more:
            click.echo(f"{' ' * width}  {line}".rstrip())


def text(value: object, *, lines: bool = False) -> str:
    """A value without what a terminal would obey: a label may hold anything.

    :param lines: keep line breaks.
    """
    if value is None or value == "":
        return NOTHING
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    kept = "\n" if lines else ""
    shown = str(value).replace("\t", "    ")
    return "".join(
        c if c.isprintable() or c in kept else "\N{REPLACEMENT CHARACTER}" for c in shown
    )


def moment(seconds: float | None) -> datetime | None:
    """A time of the store."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def stamp(when: datetime | None) -> str | None:
    """A time in JSON."""
    return None if when is None else when.isoformat()


def counted(count: int, noun: str = "job") -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ago(seconds: float) -> str:
    """A duration in the unit that fits."""
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
