"""What travels by reference: registered classes and database rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ArgumentError
from .classes import class_name
from .kinds import ATOMS, derives
from .refusal import Refused
from .rows import RowSource
from .walk import SHAPES


class Source(Protocol):
    """Says how objects of one class travel."""

    @property
    def name(self) -> str:
        """``module:qualname`` of the class."""

    def check(self, value: Any, *, after_commit: bool) -> None:
        """Raise ``Refused`` if the object cannot be found again as it is here."""

    def dump(self, value: Any) -> Any:
        """Plain data by which it is found again."""

    def load(self, data: Any) -> Any:
        """Find it, in the app context of the task."""


class Registration:
    """A class that was given to ``bg.reference``."""

    __slots__ = ("_dump", "cls", "load")

    def __init__(self, cls: type, dump: Callable[[Any], Any], load: Callable[[Any], Any]) -> None:
        self.cls = cls
        self._dump = dump
        self.load = load

    @property
    def name(self) -> str:
        """``module:qualname`` of the class."""
        return class_name(self.cls)

    def check(self, value: Any, *, after_commit: bool) -> None:
        """Nothing to say here: ``dump`` decides."""

    def dump(self, value: Any) -> Any:
        """What the registered ``dump`` gives."""
        try:
            return self._dump(value)
        except Exception as error:
            raise Refused(
                f"({type(value).__name__}) has a reference, whose dump failed: "
                f"{type(error).__name__}: {error}"
            ) from error


class Reference:
    """Stands for an object on its way: the data by which it is found again.

    It can be called only so that ``functools.partial`` takes it in place of a callable.
    """

    __slots__ = ("_pending", "data", "kind", "path", "source", "when_settled")

    def __init__(self, source: Source, value: Any, *, after_commit: bool = False) -> None:
        source.check(value, after_commit=after_commit)
        self.source = source
        self.kind: type = type(value)
        "The object's own class."
        self.path = ""
        "Where it is among the arguments."
        self.when_settled: list[Callable[[], None]] = []
        "Called once the data is known."
        self._pending = value if after_commit else None
        self.data = None if after_commit else source.dump(value)

    @property
    def pending(self) -> bool:
        """Whether a commit has to give the object its identity first."""
        return self._pending is not None

    def settle(self) -> None:
        """Take down the identity that a commit gave the object, and let go of it.

        :raises ArgumentError: the commit did not store it, or its identity cannot be written.
        """
        value, self._pending = self._pending, None
        if value is None:
            return
        try:
            self.data = self.source.dump(value)
            for call in self.when_settled:
                call()
        except Refused as refused:
            raise refused.error(self.path) from refused.__cause__
        finally:
            self.when_settled.clear()

    def load(self) -> Any:
        """The object, found again in the app context that is current."""
        return self.source.load(self.data)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a reference was called before its object was loaded")

    def __deepcopy__(self, memo: object) -> Reference:
        return self

    def __repr__(self) -> str:
        return f"<Reference {self.source.name}>"


class References:
    """The classes that were registered with ``bg.reference``."""

    def __init__(self) -> None:
        self._by_class: dict[type, Registration] = {}
        self._by_name: dict[str, Registration] = {}

    def register(self, cls: type, dump: Callable[[Any], Any], load: Callable[[Any], Any]) -> None:
        """Let objects of a class, and of its subclasses, travel by reference.

        A class of the same name takes the place of an earlier one (factories, notebooks).

        :raises TypeError: not a class, or one that travels by its value.
        """
        if not isinstance(cls, type):
            raise TypeError(f"a reference needs a class, not {cls!r}")
        if cls in ATOMS or cls in SHAPES or cls is object:
            raise TypeError(f"{cls.__name__} travels by its value; register a class of your own")
        registration = Registration(cls, dump, load)
        replaced = self._by_name.get(registration.name)
        if replaced is not None:
            self._by_class.pop(replaced.cls, None)
        self._by_class[cls] = self._by_name[registration.name] = registration

    def of(self, kind: type) -> Registration | None:
        """The registration for objects of a type: that of its nearest registered class."""
        for base in kind.__mro__:
            if base in self._by_class:
                return self._by_class[base]
        virtual = [cls for cls in self._by_class if _is_virtual(kind, cls)]
        for cls in virtual:
            if not any(other is not cls and derives(other, cls) for other in virtual):
                return self._by_class[cls]
        return None

    def named(self, name: str) -> Registration:
        """The registration of the class of this name.

        :raises ArgumentError: this process has none.
        """
        if name not in self._by_name:
            raise ArgumentError(
                name,
                "is named in the stored job as travelling by reference, and this process has no "
                "bg.reference for it: register it where the application is made",
            )
        return self._by_name[name]


def _is_virtual(kind: type, cls: type) -> bool:
    """Whether a type counts as a subclass without being one (``ABC.register``, protocols)."""
    try:
        return issubclass(kind, cls)
    except TypeError:
        return False


def source_for(references: References, kind: type, is_row: bool) -> Source | None:
    """How objects of a type travel by reference, if they do."""
    registered = references.of(kind)
    if registered is not None:
        return registered
    return RowSource(kind) if is_row else None
