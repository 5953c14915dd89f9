"""The default store: one SQLite file, shared by all processes of an app on one machine."""

from .store import SQLiteStore

__all__ = ["SQLiteStore"]
