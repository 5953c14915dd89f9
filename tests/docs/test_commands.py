"""The commands that README.md gives exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def listed_targets() -> set[str]:
    """What ``make`` without arguments lists."""
    # Under `make test` the flags of that make are in the environment.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    shown = subprocess.run(
        ["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return set(re.findall(r"(?m)^  make (\w+)", shown.stdout))


def test_the_first_commands_are_the_demo_and_the_tests() -> None:
    """A newcomer's first two commands are ``make demo`` and ``make test``."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"))
    assert "".join(blocks).split("\n")[:2] == ["make demo", "make test"]


def test_make_alone_lists_the_targets() -> None:
    """Every target that README.md or the CI script names is listed, and so are the usual ones."""
    text = (ROOT / "README.md").read_text("utf-8") + (ROOT / ".ci" / "run").read_text("utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b", text))
    usual = {"demo", "test", "lint", "types", "docs", "bench", "stress", "wheel", "clean"}
    assert named | usual <= listed_targets()
