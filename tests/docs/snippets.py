"""Takes the Python code out of a page and runs it as one module.

In reStructuredText these are the ``code-block:: python`` directives, in Markdown the fenced
blocks marked ``python``. What a comment marked ``hidden:`` holds runs too, but no reader sees it:
the set-up and the checks of a page.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from flask_bgtask import BackgroundTasks

_RST = re.compile(r"(?m)^\.\. (?:code-block:: python|hidden:)\n((?:[ \t].*\n|\n)+)")
_MARKDOWN = re.compile(r"(?ms)^(?:```python|<!-- hidden:)\n(.*?)^(?:```|-->)$")


def code_of(page: Path) -> str:
    """The code of a page, each line at the number it has there, so that tracebacks lead to it."""
    text = page.read_text(encoding="utf-8").rstrip("\n") + "\n"
    lines = [""] * (text.count("\n") + 1)
    for block in (_MARKDOWN if page.suffix == ".md" else _RST).finditer(text):
        first = text.count("\n", 0, block.start(1))
        code = textwrap.dedent(block[1]).rstrip().split("\n")
        lines[first : first + len(code)] = code
    return "\n".join(lines)


def run_page(page: Path) -> ModuleType:
    """Run the code of a page as a module that can be imported by name, and shut its jobs down.

    ``printed()`` gives the page what it printed so far.
    """
    module = ModuleType("docs_" + page.stem.lower())
    module.__file__ = str(page)
    output = io.StringIO()
    vars(module)["printed"] = output.getvalue
    sys.modules[module.__name__] = module
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(code_of(page), page, "exec"), vars(module))
    finally:
        for value in list(vars(module).values()):
            if isinstance(value, BackgroundTasks):
                value.shutdown()
        del sys.modules[module.__name__]
    return module
