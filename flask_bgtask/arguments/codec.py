"""What a ``BackgroundTasks`` knows of how functions, arguments and results travel."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from ..errors import ArgumentError
from .functions import Named, find_function, find_method, find_module, name_of
from .kinds import ATOMS, is_plain_function
from .named import LoadFailed
from .prepared import Prepared, private_copy
from .references import Reference, References
from .refusal import Refused
from .rows import is_row_type
from .rules import Preparation, Rules
from .scalars import PLAIN
from .serializer import Serializer, unreadable

T = TypeVar("T")

#: Bytes that the arguments of a stored job, or its result, take at most.
MAX_BYTES = 1024 * 1024

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class TooLarge(ArgumentError):
    """What is to be stored takes more bytes than it may."""


class EncodedCall(NamedTuple):
    """A bare function and its arguments as the store keeps them."""

    name: str
    "``module:qualname``."
    text: str
    "JSON with tags."


class Draft:
    """A call that is encoded but for the identities that a commit will give; see ``settle``."""

    __slots__ = ("_finish", "_references", "name")

    def __init__(self, name: str, references: list[Reference], finish: Callable[[], str]) -> None:
        self.name = name
        self._references = references
        self._finish = finish

    def settle(self) -> EncodedCall:
        """The encoded call; to be called once, after the commit.

        :raises ArgumentError: the commit did not store a row, or the text is too long.
        """
        for reference in self._references:
            reference.settle()
        return EncodedCall(self.name, self._finish())


class Codec:
    """Prepares calls for this process, and encodes them for others.

    There is one for each ``BackgroundTasks``; registrations sit on it. All methods may be called
    from any thread. References are dumped and loaded in the app context that is current.
    """

    def __init__(self) -> None:
        self._references = References()
        self._rules = Rules(self._references)
        self._serializer = Serializer(self._references)

    @property
    def trusted(self) -> set[str]:
        """Top-level packages that may be imported because stored text names a class in them."""
        return self._serializer.classes.trusted

    def reference(
        self, cls: type[T], *, dump: Callable[[T], Any], load: Callable[[Any], T]
    ) -> None:
        """Let objects of a class, and of its subclasses, travel by reference.

        :raises TypeError: not a class of the application's own.
        """
        self._references.register(cls, dump, load)
        self._rules.forget()
        self._serializer.forget()

    # Jobs that stay in this process.

    def prepare(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        keep: bool = False,
        after_commit: bool = False,
    ) -> Prepared:
        """Make a call ready to run on another thread.

        :param keep: each attempt gets the arguments as they are now.
        :param after_commit: rows may be new or changed; ``settle`` follows their commit.
        :raises ArgumentError: something cannot travel, in any job.
        """
        # Nearly every submit ends here: no call more than needed.
        if (
            (type(fn) is FunctionType or is_plain_function(fn))
            and ATOMS.issuperset(map(type, args))
            and (not kwargs or ATOMS.issuperset(map(type, kwargs.values())))
        ):
            return Prepared(fn, args, kwargs)
        walk = Preparation(self._rules, after_commit=after_commit)
        fn, args, kwargs = _walked(walk, fn, args, kwargs)
        if keep:
            fn, args, kwargs = private_copy(fn, args, kwargs)
        return Prepared(fn, args, kwargs, walk.references, keep)

    # Jobs that leave it.

    def encode_call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> EncodedCall:
        """A function by its name, and its arguments as text.

        :param max_bytes: how long the text may be.
        :raises ArgumentError: another process could not call it.
        """
        named = self._named(fn)
        tree = self._tree(args, kwargs, named)
        return EncodedCall(named.name, self._joined(tree, max_bytes))

    def encode_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, max_bytes: int = MAX_BYTES
    ) -> str:
        """The arguments of a task as text: JSON of ``{"args": […], "kwargs": {…}}`` with tags.

        :raises ArgumentError: something in them cannot leave the process.
        """
        return self._joined(self._tree(args, kwargs), max_bytes)

    def draft_call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> Draft:
        """As :meth:`encode_call`, with rows that are still to be committed."""
        walk = Preparation(self._rules, after_commit=True)
        fn, args, kwargs = _walked(walk, fn, args, kwargs)
        named = self._named(fn)
        tree = self._tree(args, kwargs, named)
        return Draft(named.name, walk.references, lambda: self._joined(tree, max_bytes))

    def draft_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, max_bytes: int = MAX_BYTES
    ) -> Draft:
        """As :meth:`encode_arguments`, with rows that are still to be committed."""
        walk = Preparation(self._rules, after_commit=True)
        _, args, kwargs = _walked(walk, _nothing, args, kwargs)
        tree = self._tree(args, kwargs)
        return Draft("", walk.references, lambda: self._joined(tree, max_bytes))

    def decode_call(self, name: str, text: str) -> tuple[Callable[..., Any], *Arguments]:
        """The function and arguments of an encoded call, whose signature was verified.

        :raises UnknownFunction: this process does not have the function.
        :raises ArgumentError: the text cannot be read.
        """
        find_module(name)
        call = self._decoded(text, "arguments")
        args, kwargs = _arguments(call)
        if "self" in call:
            return find_method(name, call["self"]), args, kwargs
        return find_function(name), args, kwargs

    def decode_arguments(self, text: str) -> Arguments:
        """The arguments of a task.

        :raises ArgumentError: the text cannot be read.
        """
        return _arguments(self._decoded(text, "arguments"))

    def encode(self, value: Any, path: str = "result", *, max_bytes: int = MAX_BYTES) -> str:
        """A value as text: a result, or the data of a carrier.

        :param path: what to call it in an error.
        :raises ArgumentError: something in it cannot leave the process.
        """
        return self._joined(self._part(value, path), max_bytes, path)

    def decode(self, text: str) -> Any:
        """The value of a text.

        :raises ArgumentError: the text cannot be read.
        """
        return self._decoded(text, "value")

    def plain(self, text: str) -> Any:
        """Plain JSON data for people, of any text that this class or ``describe`` gave.

        Loads no reference and imports nothing; a text that cannot be read becomes one that says so.
        """
        try:
            return self._serializer.shown(text)
        except Exception:
            return "<unreadable>"

    def _named(self, fn: Callable[..., Any]) -> Named:
        try:
            return name_of(fn, self._has_reference)
        except Refused as refused:
            raise refused.error("fn") from refused.__cause__

    def _has_reference(self, kind: type) -> bool:
        return self._references.of(kind) is not None or is_row_type(kind)

    def _tree(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], named: Named | None = None
    ) -> dict[str, Any]:
        tagged = [self._part(value, f"args[{index}]") for index, value in enumerate(args)]
        if named is None:
            return {"args": tagged, "kwargs": self._part(kwargs, "kwargs") if kwargs else {}}
        first = [self._part(value, f"fn.args[{i}]") for i, value in enumerate(named.args)]
        if named.kwargs:
            self._part(named.kwargs, "fn.keywords")  # refused under their own path
        both = self._part({**named.kwargs, **kwargs}, "kwargs")
        tree = {"args": first + tagged, "kwargs": both}
        if named.owner is not None:
            tree["self"] = self._part(named.owner, "fn.__self__")
        return tree

    def _part(self, value: Any, path: str) -> Any:
        write = PLAIN.get(type(value))
        if write is not None:  # nothing in it could be refused
            return write(value, None)
        try:
            return self._serializer.tag(value)
        except Refused as refused:
            raise refused.error(path) from refused.__cause__
        except RecursionError:
            raise ArgumentError(
                path, "is nested too deeply for what is left of the stack"
            ) from None

    def _joined(self, tree: Any, max_bytes: int, path: str = "arguments") -> str:
        text = self._serializer.joined(tree)
        if len(text) > max_bytes:  # it is all ASCII
            raise TooLarge(
                path,
                f"would take {len(text):,} bytes in the store, and {max_bytes:,} are the limit: "
                "keep large data in a file or a table, and pass its path or id",
            )
        return text

    def _decoded(self, text: str, path: str) -> Any:
        try:
            return self._serializer.loads(text)
        except LoadFailed as failed:
            raise failed.error from failed.error.__cause__
        except ArgumentError:
            raise
        except Exception as error:
            raise unreadable(path, error) from error


def _walked(
    walk: Preparation, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], *Arguments]:
    fn = walk.part("fn", walk.called, fn)
    if not callable(fn):
        raise ArgumentError("fn", f"({type(fn).__name__}) cannot be called")
    args = tuple(
        [walk.part(f"args[{index}]", walk.visit, value) for index, value in enumerate(args)]
    )
    kwargs = {
        name: walk.part(f"kwargs[{name!r}]", walk.visit, value) for name, value in kwargs.items()
    }
    return fn, args, kwargs


def _arguments(call: Any) -> Arguments:
    if type(call) is dict:
        args, kwargs = call.get("args"), call.get("kwargs")
        if type(args) is list and type(kwargs) is dict and all(type(key) is str for key in kwargs):
            return tuple(args), kwargs
    raise ArgumentError("arguments", "in the store cannot be read: they are none of a call")


def _nothing() -> None: ...
