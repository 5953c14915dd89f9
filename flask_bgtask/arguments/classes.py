"""Names of classes in stored text, and the way back.

A stored row is data: its reading never imports a module that the application did not name. A class
is looked for in what is loaded, and imported only from packages in :attr:`Classes.trusted`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .refusal import Refused


def class_name(kind: type) -> str:
    """``module:qualname``."""
    return f"{kind.__module__}:{kind.__qualname__}"


class Classes:
    """Names classes, and finds them again in this or another process."""

    def __init__(self) -> None:
        self.trusted = {__name__.partition(".")[0]}
        "Top-level packages that may be imported because a stored row names a class in them."

    def name(self, kind: type) -> str:
        """The name of a class that can be found again by it.

        :raises Refused: it cannot be.
        """
        name = class_name(kind)
        if _look(sys.modules.get(kind.__module__), kind.__qualname__) is not kind:
            raise Refused(
                f"({kind.__name__}) cannot leave this process: its class is not found again as "
                f"{name}: define it at the top level of a module"
            )
        return name

    def find(self, name: str, what: str, fits: Callable[[type], bool]) -> Any:
        """The class of a name in stored text.

        :param what: what it has to be, for people.
        :param fits: whether a class is that.
        :raises ArgumentError: it is not there, not that, or in a package that is not trusted.
        """
        module_name, _, qualname = name.partition(":")
        found = _look(self._module(module_name), qualname)
        if not isinstance(found, type):
            raise ArgumentError(name, f"is named in the stored job as {what} and is not there")
        if not fits(found):
            raise ArgumentError(name, f"is named in the stored job as {what} and is none")
        return found

    def _module(self, name: str) -> object:
        if name in sys.modules:
            return sys.modules[name]
        if name.partition(".")[0] not in self.trusted:
            raise ArgumentError(
                name,
                "is named in the stored job, is not loaded in this process, and belongs to no "
                "package of the application: import it where the application is made",
            )
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise ArgumentError(name, f"is named in the stored job: {error}") from error


def _look(found: object, qualname: str) -> object:
    """What a qualified name stands for in a module; ``None`` if it is not there.

    Looks into the namespaces themselves, so that a name in stored text runs nobody's code.
    """
    for part in qualname.split("."):
        try:
            found = vars(found).get(part)
        except TypeError:
            return None
    return found
