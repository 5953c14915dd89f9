"""Lets pytest explain the asserts of the modules that hold the contract."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "store_contract",
    "store_contract_claims",
    "store_contract_keys",
    "store_contract_lists",
    "store_contract_rows",
    "store_contract_shared",
)
