"""One walk over a value and all that its containers hold.

A :class:`Walk` gives back the value it was given, or, where something inside has to be replaced, a
copy of just those containers that hold it. The caller's own objects are never changed.
"""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from functools import partial
from types import MethodType
from typing import Any

from .kinds import ATOMS, derives, is_named_tuple
from .refusal import Refused, key_step
from .state import build, is_dataclass_type, read

_LOOP = (
    "contains itself, and something in it has to be replaced (a proxy or a database row): pass the "
    "parts separately"
)


class Walk:
    """Visits values; subclasses say what becomes of those that are no containers."""

    def __init__(self) -> None:
        # All by id(): what is walked over stays alive meanwhile.
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()
        self._looped: set[int] = set()

    def leaf(self, value: Any) -> Any:
        """What to use instead of a value that is neither an atom nor a built-in container.

        :raises Refused: it cannot travel.
        """
        raise NotImplementedError

    def owner(self, value: Any) -> Any:
        """The same for the object of a bound method, which is never copied."""
        raise NotImplementedError

    def visit(self, value: Any) -> Any:
        """The value, or what to use instead."""
        kind = type(value)
        if kind in ATOMS:
            return value
        shape = SHAPES.get(kind)
        return self.leaf(value) if shape is None else self.inside(value, shape)

    def inside(self, value: Any, shape: Shape) -> Any:
        """The container, or a copy of it where something in it was replaced."""
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            self._looped.add(key)
            return value
        self._open.add(key)
        result = shape(self, value)
        self._open.remove(key)
        if result is not value and key in self._looped:
            raise Refused(_LOOP)
        self._done[key] = result
        return result

    def called(self, function: Any, step: str = "") -> Any:
        """What to call instead of something callable."""
        bound = type(function) in (partial, MethodType)
        try:
            return self.visit(function) if bound else self.owner(function)
        except Refused as refused:
            refused.inside(step)
            raise

    def step(self, value: Any, step: str) -> Any:
        """Visit a part of an object, with its step in the path of a refusal."""
        try:
            return self.visit(value)
        except Refused as refused:
            refused.inside(step)
            raise

    def items(self, items: Iterable[Any], step: str = "[{}]") -> list[Any] | None:
        """The items of a container after a visit; ``None`` if all stayed as they were."""
        if ATOMS.issuperset(map(type, items)):
            return None
        results: list[Any] = []
        changed = False
        try:
            for item in items:
                result = self.visit(item)
                changed = changed or result is not item
                results.append(result)
        except Refused as refused:
            refused.inside(step.format(len(results)))
            raise
        return results if changed else None

    def pairs(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]] | None:
        """The same for the keys and values of a dictionary."""
        keys = self.items([key for key, _ in pairs], ".keys()[{}]")
        values = [self.step(value, key_step(key)) for key, value in pairs]
        if keys is None and all(new is old for new, (_, old) in zip(values, pairs)):
            return None
        return list(zip([key for key, _ in pairs] if keys is None else keys, values))


Shape = Callable[[Walk, Any], Any]
"Visits what one kind of container holds."


def shape_of(kind: type) -> Shape | None:
    """The shape of a type that is not built in: a subclass of a container, or a dataclass."""
    if is_named_tuple(kind):
        return _named_tuple
    for base in _COLLECTIONS:
        if derives(kind, base):
            return SHAPES[base]
    return _dataclass if is_dataclass_type(kind) else None


def _collection(base: type, step: str = "[{}]") -> Shape:
    def visit(walk: Walk, value: Any) -> Any:
        # A subclass is read by the base's own means: its __iter__ may do anything.
        items: Any = value
        if type(value) is not base:
            items = list(base.__iter__(value))  # type: ignore[attr-defined]
        results = walk.items(items, step)
        return value if results is None else _alike(value, base, results)

    return visit


def _dict(walk: Walk, value: Any) -> Any:
    if ATOMS.issuperset(map(type, dict.values(value))) and ATOMS.issuperset(
        map(type, dict.keys(value))
    ):
        return value
    results = walk.pairs(list(dict.items(value)))
    return value if results is None else _alike(value, dict, results)


def _partial(walk: Walk, value: Any) -> Any:
    function = walk.called(value.func, ".func")
    args = walk.step(value.args, ".args")
    keywords = walk.step(value.keywords, ".keywords")
    if function is value.func and args is value.args and keywords is value.keywords:
        return value
    return partial(function, *args, **keywords)


def _method(walk: Walk, value: Any) -> Any:
    try:
        owner = walk.owner(value.__self__)
    except Refused as refused:
        refused.inside(".__self__")
        raise
    return value if owner is value.__self__ else MethodType(value.__func__, owner)


def _named_tuple(walk: Walk, value: Any) -> Any:
    items = list(tuple.__iter__(value))
    results = [walk.step(item, f".{name}") for name, item in zip(type(value)._fields, items)]
    if all(result is item for result, item in zip(results, items)):
        return value
    return tuple.__new__(type(value), results)


def _dataclass(walk: Walk, value: Any) -> Any:
    state = read(value)
    results = {name: walk.step(item, f".{name}") for name, item in state.items()}
    if all(results[name] is item for name, item in state.items()):
        return value
    return build(type(value), results)


def _alike(value: Any, base: Any, items: list[Any]) -> Any:
    """A container like this one, with other contents."""
    kind = type(value)
    if kind is deque:
        return deque(items, value.maxlen)
    # SQLAlchemy's own collections report to the row they belong to.
    if kind is base or kind.__module__.startswith("sqlalchemy."):
        return base(items)
    if kind in (defaultdict, OrderedDict, Counter):
        like = copy.copy(value)
        like.clear()
        for key, item in items:
            like[key] = item
        return like
    raise Refused(
        f"({kind.__name__}) holds something that has to be replaced (a proxy or a database row), "
        f"and only a plain {base.__name__} can be copied for that: pass {base.__name__}(…)"
    )


_COLLECTIONS: tuple[type, ...] = (list, tuple, dict, set, frozenset, deque)

#: The containers that are built in, by their exact type.
SHAPES: dict[type, Shape] = {
    list: _collection(list),
    tuple: _collection(tuple),
    deque: _collection(deque),
    set: _collection(set, "{{…}}"),
    frozenset: _collection(frozenset, "{{…}}"),
    dict: _dict,
    partial: _partial,
    MethodType: _method,
}
