"""``flask bgtask …``: run a worker process, look at jobs, steer them, find what is wrong."""

from __future__ import annotations

from .commands import add_commands

__all__ = ["add_commands"]
