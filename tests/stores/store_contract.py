"""What every store does, whatever it keeps its rows in.

A test class for a store subclasses :class:`StoreContract` and supplies the fixture ``store``: a
fresh one for the app ``tests``, closed at the end. One that is shared between processes
subclasses :class:`SharedStoreContract` and supplies ``second`` too: a store of another process
(or what counts as one) over the same rows.
"""

from __future__ import annotations

from store_contract_claims import ClaimRules
from store_contract_keys import KeyRules
from store_contract_lists import ListRules
from store_contract_rows import RowRules
from store_contract_shared import SharedRules


class StoreContract(RowRules, ClaimRules, KeyRules, ListRules):
    """The rules of one process."""


class SharedStoreContract(StoreContract, SharedRules):
    """Those, and the ones that need a second process."""
