"""Attributes of dataclass instances, read and written without running any code of their class."""

from __future__ import annotations

from types import MemberDescriptorType
from typing import Any
from weakref import WeakSet

# An object of a class that inherits from one of these holds more than its attributes.
_BUILT_IN = (
    *(int, float, complex, str, bytes, bytearray, memoryview),
    *(tuple, list, dict, set, frozenset, BaseException, type),
)


def is_dataclass_type(kind: type) -> bool:
    """Whether objects of the type are dataclass instances that their attributes fully describe."""
    return "__dataclass_fields__" in _names(kind) and not any(
        base in kind.__mro__ for base in _BUILT_IN
    )


def read(value: object) -> dict[str, Any]:
    """The attributes that are set, fields or not, in the order of the slots and then of setting."""
    state: dict[str, Any] = {}
    for name, slot in _slots(type(value)).items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:
            continue  # never set
    state.update(_attributes(value) or {})
    return state


def build(kind: type, state: dict[str, Any]) -> Any:
    """An object of the class with these attributes; ``__init__`` is not called.

    What a class with slots alone has no place for is left out.
    """
    made: Any = object.__new__(kind)
    slots = _slots(kind)
    attributes = _attributes(made)
    for name, value in state.items():
        if name in slots:
            slots[name].__set__(made, value)
        elif attributes is not None:
            attributes[name] = value
    return made


def _attributes(value: object) -> dict[str, Any] | None:
    """The ``__dict__`` of an object; ``None`` if its class has slots alone."""
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found


# Classes that have no slots, so that nobody looks for them again. Weak, as a class made in a
# function has to be free to go. Single operations, of which two threads may do the same.
_slotless: WeakSet[type] = WeakSet()


def _slots(kind: type) -> dict[str, MemberDescriptorType]:
    found: dict[str, MemberDescriptorType] = {}
    if kind in _slotless:
        return found
    for base in reversed(kind.__mro__):
        for name, member in vars(base).items():
            if type(member) is MemberDescriptorType:
                found[name] = member
    if not found:
        _slotless.add(kind)
    return found


def _names(kind: type) -> set[str]:
    return {name for base in kind.__mro__ for name in vars(base)}
