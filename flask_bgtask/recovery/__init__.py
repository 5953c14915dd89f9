"""Keeping in step with the other processes of an app: start, watch, recover, end."""

from __future__ import annotations

from . import lifecycle
from .orphans import Recovery
from .watcher import Watcher

__all__ = ["Recovery", "Watcher", "lifecycle"]
