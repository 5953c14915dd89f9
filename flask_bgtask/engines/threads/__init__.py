"""The default engine: threads of this process, fed by priority from memory and the store."""

from __future__ import annotations

from .engine import ThreadsEngine

__all__ = ["ThreadsEngine"]
