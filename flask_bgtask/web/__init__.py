"""The status of jobs over HTTP, for programs and for people."""

from __future__ import annotations

from .accepted import accepted
from .access import Authorizer
from .blueprint import create_blueprint
from .representation import details

__all__ = ["Authorizer", "accepted", "create_blueprint", "details"]
