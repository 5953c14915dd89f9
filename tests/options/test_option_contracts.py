"""The contract of the options over every store."""

from __future__ import annotations

from typing import Any, ClassVar

from option_contract import OptionContract


class TestMemory(OptionContract):
    config: ClassVar[dict[str, Any]] = {"BGTASK_STORE": "memory"}


class TestSQLite(OptionContract):
    config: ClassVar[dict[str, Any]] = {"BGTASK_STORE": "sqlite"}
