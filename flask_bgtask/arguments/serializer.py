"""Values as text and back: Flask's tagged JSON with tags of our own, and no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from json import JSONDecoder, JSONEncoder, encoder
from typing import Any, cast
from weakref import WeakKeyDictionary

from flask import Flask
from flask.json.tag import JSONTag, TaggedJSONSerializer

from ..errors import ArgumentError
from .classes import Classes
from .kinds import derives, is_lazy, is_named_tuple, is_proxy, unwrap
from .leaving import refuse_to_leave
from .named import (
    NAMED,
    App,
    DataclassInstance,
    EnumMember,
    NamedTuple,
    RegisteredReference,
    Row,
)
from .references import Reference, References, source_for
from .refusals import refusal
from .rows import RowSource, is_row_type
from .scalars import PLAIN, SCALARS, text
from .state import is_dataclass_type
from .tags import CONTAINERS, Above
from .times import TIMES

Write = Callable[[Any, Any], Any]
"Gives the JSON of a value, inside of the containers above it."


class Serializer(TaggedJSONSerializer):
    """Writes values so that exactly the same come back."""

    default_tags: list[type[JSONTag]] = [*CONTAINERS, *SCALARS, *TIMES, *NAMED]

    def __init__(self, references: References) -> None:
        super().__init__()
        self.references = references
        self.classes = Classes()
        self._exact: dict[type, Write] = {**PLAIN, Reference: self._reference}
        for tag in self.order:
            for kind in tag.types:  # type: ignore[attr-defined]
                self._exact[kind] = cast(Write, tag.tag)
        # No way to write may hold its type: a class made in a function has to be free to go.
        self._others: WeakKeyDictionary[type, Write] = WeakKeyDictionary()
        self._join = _joiner()
        self._decoder = JSONDecoder(object_hook=self.untag)
        self._shower = JSONDecoder(object_hook=self._show)

    def forget(self) -> None:
        """Find out anew how to write other types: a reference was registered."""
        self._others = WeakKeyDictionary()

    def tag(self, value: Any, above: Above | None = None) -> Any:
        """The value as JSON has it.

        :raises Refused: something in it cannot leave the process.
        """
        kind = type(value)
        write = self._exact.get(kind) or self._others.get(kind)
        if write is None:
            write = self._others[kind] = self._find(kind)
        return write(value, [] if above is None else above)

    def write(self, key: str, value: Any, above: Above) -> Any:
        """The value with the tag of this key."""
        return self.tags[key].tag(value, above)  # type: ignore[call-arg]

    def untag(self, value: dict[str, Any]) -> Any:
        """The value that a JSON object stands for; what it holds has been read already."""
        if len(value) != 1:
            return value
        [(key, data)] = value.items()
        if not key.startswith(" "):
            return value
        if key not in self.tags:
            raise ValueError(f"this version does not know the tag {key!r}")
        tag = self.tags[key]
        # What is inside was read already. An object where we write none would have its methods
        # called: text that somebody else wrote must not choose which of them run.
        if not tag.holds(data):  # type: ignore[attr-defined]
            raise ValueError(f"the tag {key!r} holds what it never does")
        return tag.to_python(data)

    def dumps(self, value: Any) -> str:
        return self._join(self.tag(value))

    def joined(self, tagged: Any) -> str:
        """Text of what :meth:`tag` gave."""
        return self._join(tagged)

    def loads(self, value: str) -> Any:
        return self._decoder.decode(value)

    def shown(self, value: str) -> Any:
        """Plain JSON data for people; no class is looked for and nothing is loaded."""
        return self._shower.decode(value)

    def _show(self, value: dict[str, Any]) -> Any:
        if len(value) != 1:
            return value
        [(key, data)] = value.items()
        if not key.startswith(" "):
            return value
        tag = self.tags.get(key)
        try:
            return f"<unknown:{key}>" if tag is None else tag.to_plain(data)  # type: ignore[attr-defined]
        except Exception:
            return f"<unreadable:{key}>"

    def _find(self, kind: type) -> Write:
        """How to write objects of a type that is not known exactly."""
        if is_proxy(kind):
            return lambda value, above: self.tag(unwrap(value), above)
        if self.references.of(kind) is not None or is_row_type(kind):
            return self._refer
        if refusal(kind) is not None or derives(kind, type):
            return _refuse
        if is_lazy(kind):
            # The submitter's language is known here, and only here.
            return lambda value, above: text(str(value))
        # SQLAlchemy's collections belong to a row; freezegun's classes stand for dates in tests.
        if kind.__module__ in ("sqlalchemy.orm.collections", "freezegun.api"):
            for real in (list, set, dict, datetime, date):
                if derives(kind, real):
                    return self._exact[real]
        for key, fits in self._by_rule:
            if fits(kind):
                return cast(Write, self.tags[key].tag)
        return _refuse

    _by_rule: tuple[tuple[str, Callable[[type], bool]], ...] = (
        (EnumMember.key, lambda kind: derives(kind, Enum)),
        (App.key, lambda kind: derives(kind, Flask)),
        (DataclassInstance.key, is_dataclass_type),
        (NamedTuple.key, is_named_tuple),
    )

    def _refer(self, value: Any, above: Above) -> Any:
        kind = type(value)
        source = source_for(self.references, kind, is_row_type(kind))
        if source is None:
            raise refuse_to_leave(value)
        return self._reference(Reference(source, value), above)

    def _reference(self, reference: Reference, above: Above) -> Any:
        key = Row.key if type(reference.source) is RowSource else RegisteredReference.key
        return self.write(key, reference, above)


def _joiner() -> Callable[[Any], str]:
    """What writes plain data as JSON."""
    public = JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        return public.encode
    # The object that `encode` makes anew for each call, which takes it as long as all the rest.
    write = make(
        *(None, public.default, encoder.encode_basestring_ascii, None),
        *(public.key_separator, public.item_separator, False, False, False),
    )
    return lambda tagged: "".join(write(tagged, 0))


def _refuse(value: Any, above: Above) -> Any:
    raise refuse_to_leave(value)


def unreadable(path: str, error: Exception) -> ArgumentError:
    """The error for stored text that cannot be read."""
    return ArgumentError(path, f"in the store cannot be read: {type(error).__name__}: {error}")
