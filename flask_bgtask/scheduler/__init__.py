"""Tasks on a schedule: each tick once, across all processes of an app."""

from __future__ import annotations

from .rules import Rule, read_rule
from .schedules import Schedule, plan
from .ticking import Ticker

__all__ = ["Rule", "Schedule", "Ticker", "plan", "read_rule"]
