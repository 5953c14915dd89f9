"""How functions, arguments and results travel to where a task runs."""

from .codec import MAX_BYTES, Codec, Draft, EncodedCall, TooLarge
from .functions import UnknownFunction
from .kinds import ATOMS
from .prepared import Prepared

__all__ = [
    "ATOMS",
    "MAX_BYTES",
    "Codec",
    "Draft",
    "EncodedCall",
    "Prepared",
    "TooLarge",
    "UnknownFunction",
]
