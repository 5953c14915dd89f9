"""The call of a job that stays in this process."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any

from flask import current_app, has_app_context

from .kinds import is_lazy
from .references import Reference
from .show import described
from .walk import Walk, shape_of

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Prepared:
    """What to call, until its job ends; made by :meth:`.Codec.prepare`."""

    __slots__ = ("_kept", "_references", "args", "fn", "kwargs")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        references: list[Reference] | None = None,
        kept: bool = False,
    ) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self._references = references
        self._kept = kept

    def attempt(self) -> Call:
        """What to call this time: copies of the arguments where they are kept, references loaded.

        To be called in the app context of the task.

        :raises LookupError: a database row is not there any more.
        """
        if not self._kept and not self._references:
            return self.fn, self.args, self.kwargs
        call = (self.fn, self.args, self.kwargs)
        if self._kept:
            call = private_copy(*call)
        return _loaded(*call) if self._references else call

    def settle(self) -> None:
        """Take down the identities of rows that were new at submit; after the commit.

        :raises ArgumentError: the commit did not store one of them.
        """
        for reference in self._references or ():
            reference.settle()

    def describe(self) -> str:
        """JSON of ``{"args": […], "kwargs": {…}}`` for showing; runs nobody's code."""
        return described(self.args, self.kwargs)


def private_copy(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The same call with arguments of its own; what refuses to be copied is shared."""
    memo = _shared()
    leaves = _Leaves(memo)
    leaves.called(fn)
    leaves.visit(args)
    leaves.visit(kwargs)
    # All that is left for it are the containers.
    call: Call = copy.deepcopy((fn, args, kwargs), memo)
    return call


def _shared() -> dict[int, Any]:
    """A memo by which the app and its extensions stay themselves, however deep they are held."""
    if not has_app_context():
        return {}
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    return {id(shared): shared for shared in (app, *app.extensions.values())}


class _Leaves(Walk):
    """Puts copies of all that is no container into a memo of ``copy.deepcopy``."""

    def __init__(self, memo: dict[int, Any]) -> None:
        super().__init__()
        self._memo = memo

    def visit(self, value: Any) -> Any:
        if type(value) is MethodType:
            return self.owner(value)  # copying it would copy its object
        return super().visit(value)

    def leaf(self, value: Any) -> Any:
        if id(value) not in self._memo:
            self._memo[id(value)] = self._copy(value)
        return value

    def owner(self, value: Any) -> Any:
        self._memo[id(value)] = value
        return value

    def _copy(self, value: Any) -> Any:
        if is_lazy(type(value)):
            return value  # it would evaluate itself
        known = len(self._memo)
        try:
            return copy.deepcopy(value, self._memo)
        except Exception:
            # Parts of it may have been left half copied; the newest entries are theirs.
            while len(self._memo) > known:
                self._memo.popitem()
            return value


class _Loading(Walk):
    """Puts the objects in the place of their references."""

    def __init__(self) -> None:
        super().__init__()
        self._loaded: dict[int, Any] = {}

    def leaf(self, value: Any) -> Any:
        kind = type(value)
        if kind is Reference:
            return self._load(value)
        shape = None if issubclass(kind, type) else shape_of(kind)
        return value if shape is None else self.inside(value, shape)

    def owner(self, value: Any) -> Any:
        return self._load(value) if type(value) is Reference else value

    def _load(self, reference: Reference) -> Any:
        key = id(reference)
        if key not in self._loaded:
            self._loaded[key] = reference.load()
        return self._loaded[key]


def _loaded(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    loading = _Loading()
    return loading.called(fn), loading.visit(args), loading.visit(kwargs)
