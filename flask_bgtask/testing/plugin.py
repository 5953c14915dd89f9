"""Pytest fixtures over the project's own ``app`` fixture; installed with the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from . import Captured


@pytest.fixture
def bgtask_immediate(app: Flask) -> Iterator[None]:
    """Each job runs inside its ``submit``; see :func:`flask_bgtask.testing.immediate`."""
    from . import immediate

    with immediate(app):
        yield


@pytest.fixture
def bgtask_captured(app: Flask) -> Iterator[Captured]:
    """Jobs are recorded, not run; see :func:`flask_bgtask.testing.capture`."""
    from . import capture

    with capture(app) as captured:
        yield captured
