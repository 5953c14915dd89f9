"""The code in README.md and in the documentation runs and does what the text says."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import code_of, run_page

ROOT = Path(__file__).parents[2]
PAGES = [
    page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.rst"))] if code_of(page).strip()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All code of a page runs from top to bottom, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_the_tests_that_the_guide_shows_pass(tmp_path: Path) -> None:
    """The page on testing is a test file, which pytest runs with the fixtures of the package."""
    (tmp_path / "test_shop.py").write_text(code_of(ROOT / "docs" / "testing.rst"))
    installed = importlib.metadata.entry_points(group="pytest11")
    plugin = "flask_bgtask.testing.plugin"
    given = [] if plugin in {each.value for each in installed} else ["-p", plugin]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *given, "-q", "-W", "error", "test_shop.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "6 passed" in ran.stdout, ran.stdout + ran.stderr


def test_code_is_found_where_it_stands(tmp_path: Path) -> None:
    """Visible and hidden blocks are taken, at the line where they stand; other blocks are not."""
    page = tmp_path / "page.rst"
    page.write_text(
        "Title\n\n.. code-block:: python\n\n    x = 1\n\n    y = 2\n\nText\n\n"
        ".. hidden:\n    assert x\n\n.. code-block:: sh\n\n    make\n"
    )
    lines = code_of(page).split("\n")
    assert {n: line for n, line in enumerate(lines, 1) if line} == {
        5: "x = 1", 7: "y = 2", 12: "assert x",
    }  # fmt: skip


def test_wrong_code_fails(tmp_path: Path) -> None:
    """A page whose hidden check does not hold fails, with its own line in the traceback."""
    page = tmp_path / "wrong.md"
    page.write_text("# Title\n\n```python\nx = 1\n```\n\n<!-- hidden:\nassert x == 2\n-->\n")
    with pytest.raises(AssertionError) as failed:
        run_page(page)
    assert failed.traceback[-1].lineno == 7
