"""Executing jobs: the one path, whichever engine brought them."""

from __future__ import annotations

from .runner import Runner

__all__ = ["Runner"]
