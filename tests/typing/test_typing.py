"""A wrong argument is a type error at the line that submits."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

HERE = Path(__file__).parent


def test_the_api_is_typed() -> None:
    """Users' code passes under ``--strict``, and each wrong line is refused."""
    source = (HERE / "api.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(source, 1) if line.endswith("# wrong")}
    output, _, _ = api.run(
        ["--strict", "--config-file", str(HERE.parents[1] / "setup.cfg"), str(HERE / "api.py")]
    )
    found = {int(line) for line in re.findall(r"api\.py:(\d+): error", output)}
    assert found == wrong, output
