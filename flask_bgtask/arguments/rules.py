"""What becomes of objects of each type in a job that stays in this process."""

from __future__ import annotations

from collections.abc import Callable
from types import BuiltinFunctionType, MethodWrapperType
from typing import Any
from weakref import WeakKeyDictionary

from .kinds import ATOMS, derives, is_proxy, loaded, unwrap
from .references import Reference, References, Source, source_for
from .refusal import Refused
from .refusals import refusal
from .rows import is_row_type
from .walk import Shape, Walk, shape_of

Rule = Callable[["Preparation", Any], Any]
"Gives what to use instead of an object."


class Rules:
    """The rule for each type, found once."""

    def __init__(self, references: References) -> None:
        self._references = references
        # No rule may hold its type: a class made in a function has to be free to go.
        self._known: WeakKeyDictionary[type, Rule] = WeakKeyDictionary()

    def forget(self) -> None:
        """Find the rules again: a reference was registered."""
        self._known = WeakKeyDictionary()

    def of(self, kind: type) -> Rule:
        """The rule for objects of a type that is neither an atom nor a built-in container."""
        rule = self._known.get(kind)
        if rule is None:
            rule = self._known[kind] = self._find(kind)
        return rule

    def source(self, kind: type) -> Source | None:
        """How objects of a type travel by reference, if they do."""
        return source_for(self._references, kind, is_row_type(kind))

    def _find(self, kind: type) -> Rule:
        if is_proxy(kind):
            return _proxy
        if self._references.of(kind) is not None or is_row_type(kind):
            return _refer
        why = refusal(kind)
        if why is not None:
            return _refuse(why)
        if kind in (BuiltinFunctionType, MethodWrapperType):
            return _bound
        if derives(kind, loaded("sqlalchemy.engine", "Row")):
            return _result_row
        shape = None if derives(kind, type) else shape_of(kind)
        return _leave if shape is None else _Inside(shape)


class Preparation(Walk):
    """Replaces proxies by what they stand for, and rows by references."""

    def __init__(self, rules: Rules, *, after_commit: bool) -> None:
        super().__init__()
        self.references: list[Reference] = []
        "Those that were made."
        self.alive: list[Any] = []
        "Objects that only a proxy holds: the walk goes by id()."
        self._rules = rules
        self._after_commit = after_commit
        self._referred: dict[int, Reference] = {}

    def part(self, start: str, visit: Callable[[Any], Any], value: Any) -> Any:
        """Visit one argument.

        :raises ArgumentError: something in it cannot travel.
        """
        if type(value) in ATOMS:
            return value
        first = len(self.references)
        try:
            result = visit(value)
        except Refused as refused:
            raise refused.error(start) from refused.__cause__
        except RecursionError:
            raise Refused("is nested too deeply").error(start) from None
        for reference in self.references[first:]:
            reference.path = start
        return result

    def leaf(self, value: Any) -> Any:
        return self._rules.of(type(value))(self, value)

    def owner(self, value: Any) -> Any:
        if type(value) is type:
            return value
        rule = self._rules.of(type(value))
        return value if isinstance(rule, _Inside) else rule(self, value)

    def refer(self, value: Any) -> Reference:
        """The reference to an object, one for each object."""
        known = self._referred.get(id(value))
        if known is None:
            source = self._rules.source(type(value))
            assert source is not None
            known = Reference(source, value, after_commit=self._after_commit)
            self._referred[id(value)] = known
            self.references.append(known)
        return known


class _Inside:
    """The rule for containers of other types than the built-in ones."""

    __slots__ = ("_shape",)

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def __call__(self, walk: Preparation, value: Any) -> Any:
        return walk.inside(value, self._shape)


def _leave(_: Preparation, value: Any) -> Any:
    return value


def _proxy(walk: Preparation, value: Any) -> Any:
    target = unwrap(value)
    walk.alive.append(target)
    return walk.visit(target)


def _refer(walk: Preparation, value: Any) -> Any:
    return walk.refer(value)


def _refuse(why: str) -> Rule:
    def refuse(walk: Preparation, value: Any) -> Any:
        raise Refused(why)

    return refuse


def _bound(walk: Preparation, value: Any) -> Any:
    """A method of a built-in class: nothing to replace, but its object may be a connection."""
    try:
        walk.owner(value.__self__)
    except Refused as refused:
        refused.inside(".__self__")
        raise
    return value


def _result_row(walk: Preparation, value: Any) -> Any:
    if walk.items(tuple(value)) is None:
        return value
    raise Refused(
        f"({type(value).__name__}) holds database rows: pass these themselves, such as tuple(row)"
    )
