"""The tags of containers, and what all tags have in common.

A tag is a JSON object with one key that begins with a space, as in Flask's session cookies. Nothing
in stored text is code: a tag holds values, and at most the name of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from flask.json.tag import JSONTag

from .refusal import Refused, key_step
from .scalars import PLAIN, is_clean

if TYPE_CHECKING:
    from .serializer import Serializer

Above = list[int]
"The ``id`` of each container that is being written, the outermost first."

#: Containers within containers that can be written; reading them back needs a stack too.
DEEPEST = 100


class Nested(JSONTag):
    """A tag of values that hold others."""

    types: ClassVar[tuple[type[Any], ...]] = ()
    begins: ClassVar[tuple[tuple[type[Any], ...], ...]] = ()
    "The types of the first items of what is written."
    serializer: Serializer

    def tag(self, value: Any, above: Above | None = None) -> Any:
        return {self.key: self.written(value, [] if above is None else above)}

    def written(self, value: Any, above: Above) -> Any:
        """The value as JSON has it."""
        raise NotImplementedError

    def holds(self, data: Any) -> bool:
        """Whether this could have been written."""
        return type(data) is list and all(
            type(item) in kinds for item, kinds in zip(data, self.begins)
        )

    def to_plain(self, data: Any) -> Any:
        """What is shown of it."""
        return data

    def enter(self, container: object, above: Above) -> None:
        """Go down into a container; each level adds one step to the path of a refusal."""
        above.append(id(container))
        if len(above) > DEEPEST:
            raise _too_deep(above)

    def items(self, items: Iterable[Any], above: Above, step: str = "[{}]") -> list[Any]:
        """The items of a container, each as JSON."""
        tag = self.serializer.tag
        results: list[Any] = []
        try:
            for item in items:
                plain = PLAIN.get(type(item))
                results.append(tag(item, above) if plain is None else plain(item, above))
        except Refused as refused:
            refused.inside(step.format(len(results)))
            raise
        above.pop()
        return results

    def values(
        self, mapping: dict[Any, Any], above: Above, step: Callable[[Any], str] = key_step
    ) -> list[Any]:
        """The values of a dictionary, or of attributes by their names, each as JSON."""
        tag = self.serializer.tag
        results: list[Any] = []
        for key, value in mapping.items():
            plain = PLAIN.get(type(value))
            if plain is not None:
                results.append(plain(value, above))
                continue
            try:
                results.append(tag(value, above))
            except Refused as refused:
                refused.inside(step(key))
                raise
        above.pop()
        return results


def attribute_step(name: str) -> str:
    """The step to an attribute."""
    return f".{name}"


class PlainList(Nested):
    """Lists are JSON's own."""

    types = (list,)

    def tag(self, value: Any, above: Above | None = None) -> Any:
        return self.written(value, [] if above is None else above)

    def written(self, value: Any, above: Above) -> Any:
        self.enter(value, above)
        return self.items(value, above)


class PlainDict(Nested):
    """Dictionaries are JSON's own if their keys are plain texts and are not taken for a tag."""

    types = (dict,)

    def tag(self, value: Any, above: Above | None = None) -> Any:
        return self.written(value, [] if above is None else above)

    def written(self, value: Any, above: Above) -> Any:
        if not (_TEXT.issuperset(map(type, value)) and is_clean("".join(value))):
            return self.serializer.write(_Pairs.key, value, above)
        self.enter(value, above)
        results = dict(zip(value, self.values(value, above)))
        if len(results) == 1:
            [(key, item)] = results.items()
            if key.startswith(" "):
                return {_Lookalike.key: [key, item]}
        return results


class _Lookalike(Nested):
    """A dictionary that would be taken for a tag; ``PlainDict`` writes it."""

    key = " di"

    def to_python(self, data: Any) -> Any:
        key, value = data
        return {key: value}

    def to_plain(self, data: Any) -> Any:
        return self.to_python(data)


class _Pairs(Nested):
    """A dictionary with keys that are not all plain texts."""

    key = " kv"

    def written(self, value: Any, above: Above) -> Any:
        self.enter(value, above)
        keys = self.items(value, [*above], ".keys()[{}]")
        return [list(pair) for pair in zip(keys, self.values(value, above))]

    def holds(self, data: Any) -> bool:
        return super().holds(data) and all(type(pair) is list for pair in data)

    def to_python(self, data: Any) -> Any:
        return dict(data)

    def to_plain(self, data: Any) -> Any:
        shown = {key if type(key) is str else str(key): value for key, value in data}
        return shown if len(shown) == len(data) else data


class Tuple(Nested):
    """Tuples, exactly."""

    key = " t"
    types = (tuple,)

    def written(self, value: Any, above: Above) -> Any:
        self.enter(value, above)
        return self.items(value, above)

    def to_python(self, data: Any) -> Any:
        return tuple(data)


class Set(Nested):
    """Sets, in any order."""

    key = " s"
    types: ClassVar[tuple[type[Any], ...]] = (set,)

    def written(self, value: Any, above: Above) -> Any:
        self.enter(value, above)
        return self.items(value, above, "{{…}}")

    def to_python(self, data: Any) -> Any:
        return set(data)


class FrozenSet(Set):
    """Frozen sets."""

    key = " fs"
    types = (frozenset,)

    def to_python(self, data: Any) -> Any:
        return frozenset(data)


def _too_deep(above: Above) -> Refused:
    """The refusal of endless or very deep nesting; of a cycle it names where it closes."""
    seen: set[int] = set()
    for level, container in enumerate(above):
        if container in seen:
            return Refused(
                "contains itself, which stored text cannot: pass the parts separately", steps=level
            )
        seen.add(container)
    return Refused(
        f"is nested more than {DEEPEST} levels deep: pass it flat, or store it and pass its name"
    )


_TEXT = frozenset({str})

CONTAINERS: tuple[type[Nested], ...] = (
    *(PlainDict, _Lookalike, _Pairs, PlainList),
    *(Tuple, Set, FrozenSet),
)
