"""The tags of values whose class is named in the stored text."""

from __future__ import annotations

import dataclasses
from enum import Enum, Flag
from functools import cached_property
from types import NoneType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from flask import Flask, current_app, has_app_context

from ..errors import ArgumentError
from .classes import class_name
from .kinds import derives, is_named_tuple
from .references import Reference
from .refusal import Refused
from .rows import RowSource, is_row_type, mapped_class
from .state import build, is_dataclass_type, read
from .tags import Above, Nested, attribute_step


class EnumMember(Nested):
    """Members of an ``Enum``, by name; combinations of flags by value."""

    key = " e"
    begins = ((str,), (str, NoneType), (int, str))

    def written(self, value: Any, above: Above) -> Any:
        kind = type(value)
        name = self.serializer.classes.name(kind)
        member, number = value._name_, value._value_
        if member not in kind.__members__:
            return [name, None, number]
        return [name, member, number] if type(number) in (int, str) else [name, member]

    def to_python(self, data: Any) -> Any:
        name, member, *value = data
        kind = self.serializer.classes.find(name, "an Enum", _is_enum)
        if member is None:
            if not derives(kind, Flag):
                raise ArgumentError(name, "is named in the stored job as a Flag and is none")
            return kind(value[0])
        if member not in kind.__members__:
            raise ArgumentError(f"{name}.{member}", "is named in the stored job and is not there")
        return kind.__members__[member]

    def to_plain(self, data: Any) -> Any:
        _, member, *value = data
        return value[0] if value else member


class DataclassInstance(Nested):
    """Dataclass instances, by their attributes; ``__init__`` is not called."""

    key = " dc"
    begins = ((str,), (dict,))

    def written(self, value: Any, above: Above) -> Any:
        kind = type(value)
        name = self.serializer.classes.name(kind)
        self.enter(value, above)
        state = _travelling(kind, read(value))
        return [name, dict(zip(state, self.values(state, above, attribute_step)))]

    def to_python(self, data: Any) -> Any:
        name, written = data
        kind = self.serializer.classes.find(name, "a dataclass", is_dataclass_type)
        state = _travelling(kind, written)
        for field in dataclasses.fields(kind):
            if field.name not in state:
                _add_default(name, field, state)
        return build(kind, state)

    def to_plain(self, data: Any) -> Any:
        return data[1]


class NamedTuple(Nested):
    """Tuples with named fields."""

    key = " nt"
    begins = ((str,), (list,))

    def written(self, value: Any, above: Above) -> Any:
        name = self.serializer.classes.name(type(value))
        self.enter(value, above)
        state = dict(zip(type(value)._fields, tuple.__iter__(value)))
        return [name, self.values(state, above, attribute_step)]

    def to_python(self, data: Any) -> Any:
        name, values = data
        kind = self.serializer.classes.find(name, "a named tuple", is_named_tuple)
        if len(kind._fields) != len(values):
            raise ArgumentError(name, "has other fields than in the stored job")
        return tuple.__new__(kind, values)

    def to_plain(self, data: Any) -> Any:
        return data[1]


class LoadFailed(Exception):
    """Carries what a reference's ``load`` raised through the reading of stored text."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class RegisteredReference(Nested):
    """Objects of a class that was given to ``bg.reference``."""

    key = " r"
    begins: ClassVar[tuple[tuple[type[Any], ...], ...]] = ((str,),)

    def written(self, value: Reference, above: Above) -> Any:
        node: list[Any] = [self.name(value), None]
        if value.pending:
            value.when_settled.append(lambda: node.__setitem__(1, self.data(value, [])))
        else:
            node[1] = self.data(value, above)
        return node

    def name(self, reference: Reference) -> str:
        """The name that the reading side goes by."""
        return reference.source.name

    def data(self, reference: Reference, above: Above) -> Any:
        """The data of the reference as JSON."""
        self.enter(reference, above)
        [data] = self.values({"dump()": reference.data}, above, attribute_step)
        return data

    def to_python(self, data: Any) -> Any:
        name, dumped = data
        load = self.serializer.references.named(name).load
        try:
            return load(dumped)
        except Exception as error:
            raise LoadFailed(error) from error

    def to_plain(self, data: Any) -> Any:
        name, dumped = data
        return f"<{name.rpartition(':')[2].rpartition('.')[2]} {_shown(dumped)}>"


class Row(RegisteredReference):
    """Database rows of Flask-SQLAlchemy's models."""

    key = " row"
    begins = ((str,), (list,))

    def name(self, reference: Reference) -> str:
        kind: type = reference.source.cls  # type: ignore[attr-defined]
        # A model that is made in a factory is found among the mapped classes.
        if mapped_class(class_name(kind)) is kind:
            return class_name(kind)
        return self.serializer.classes.name(kind)

    def to_python(self, data: Any) -> Any:
        name, identity = data
        kind = mapped_class(name)
        if kind is None:
            kind = self.serializer.classes.find(name, "a database model", is_row_type)
        try:
            source = RowSource(kind)
        except Refused as refused:
            raise refused.error(name) from None
        try:
            return source.load(identity)
        except Exception as error:
            raise LoadFailed(error) from error


class App(Nested):
    """The app that the job belongs to."""

    key = " app"

    def written(self, value: Any, above: Above) -> Any:
        if not has_app_context() or value is not _current_app():
            raise Refused(
                f"({type(value).__name__}) is another app than the one this job belongs to: submit "
                "in that app's context"
            )
        return None

    def holds(self, data: Any) -> bool:
        return data is None

    def to_python(self, data: Any) -> Any:
        return _current_app()

    def to_plain(self, data: Any) -> Any:
        return "<Flask>"


def _current_app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _is_enum(kind: type) -> bool:
    return derives(kind, Enum)


def _travelling(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes that are values of an object, rather than computed from its others."""
    computed = _computed.get(kind)
    if computed is None:
        computed = _computed[kind] = frozenset(
            name
            for base in kind.__mro__
            for name, found in vars(base).items()
            if type(found) is cached_property
        )
    return {
        name: item
        for name, item in state.items()
        if name not in computed and name.isidentifier() and not name.startswith("__")
    }


# Names of a class's cached properties. Weak, as a class made in a function has to be free to go;
# single operations, of which two threads may do the same.
_computed: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()


def _add_default(name: str, field: dataclasses.Field[Any], state: dict[str, Any]) -> None:
    """Give a field its default that the text does not know: the class got it after the submit."""
    if field.default is not dataclasses.MISSING:
        state[field.name] = field.default
    elif field.default_factory is not dataclasses.MISSING:
        state[field.name] = field.default_factory()
    elif field.init:
        raise ArgumentError(f"{name}.{field.name}", "is not in the stored job")


def _shown(dumped: Any) -> str:
    if isinstance(dumped, list):
        return ", ".join(map(str, dumped))
    return str(dumped)


NAMED: tuple[type[Nested], ...] = (
    *(EnumMember, DataclassInstance, NamedTuple),
    *(RegisteredReference, Row, App),
)
