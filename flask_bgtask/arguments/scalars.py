"""The tags of single values."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar
from uuid import UUID

from flask.json.tag import JSONTag
from markupsafe import Markup

#: Integers from here on are written in base 16: Python refuses to read very long decimal numbers.
_LONG_NUMBER = 1 << 2000


def is_clean(text: str) -> bool:
    """Whether a text has no lone surrogates: JSON would join two of them to another character."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def integer(value: int, _: object = None) -> Any:
    """An integer as JSON has it."""
    return value if -_LONG_NUMBER < value < _LONG_NUMBER else {Long.key: hex(value)}


def real(value: float, _: object = None) -> Any:
    """A float as JSON has it, which has no infinity."""
    return value if math.isfinite(value) else {Infinite.key: str(value)}


def text(value: str, _: object = None) -> Any:
    """A text as JSON has it."""
    return value if is_clean(value) else {Surrogates.key: Surrogates.pack(value)}


def same(value: Any, _: object = None) -> Any:
    """JSON has it too."""
    return value


#: What JSON has already, for the most part.
PLAIN: dict[type, Callable[[Any, Any], Any]] = {
    type(None): same,
    bool: same,
    int: integer,
    float: real,
    str: text,
}


class Scalar(JSONTag):
    """A tag of values that hold no others."""

    types: ClassVar[tuple[type[Any], ...]] = ()

    def tag(self, value: Any, above: object = None) -> Any:
        return {self.key: self.to_json(value)}

    def holds(self, data: Any) -> bool:
        """Whether this could have been written."""
        if type(data) is list:
            return all(map(self.holds, data))
        return type(data) in PLAIN

    def to_plain(self, data: Any) -> Any:
        """What is shown of it."""
        return data


class Long(Scalar):
    """Very long integers, in base 16."""

    key = " i"

    def to_python(self, data: Any) -> Any:
        return int(data, 16)


class Infinite(Scalar):
    """Infinities and NaN."""

    key = " f"

    def to_python(self, data: Any) -> Any:
        return float(data)


class Surrogates(Scalar):
    """Texts with lone surrogates, such as file names of unknown encoding."""

    key = " x"

    @staticmethod
    def pack(value: str) -> str:
        """Base 64 of the text's UTF-8, surrogates and all."""
        return b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")

    def to_python(self, data: Any) -> Any:
        return b64decode(data, validate=True).decode("utf-8", "surrogatepass")

    def to_plain(self, data: Any) -> Any:
        return b64decode(data).decode("utf-8", "replace")


class MarkupText(Scalar):
    """Text that is safe in HTML."""

    key = " m"
    types = (Markup,)

    def to_json(self, value: Any) -> Any:
        return text(str.__str__(value))

    def to_python(self, data: Any) -> Any:
        return Markup(data)


class Bytes(Scalar):
    """Bytes, in base 64."""

    key = " b"
    types: ClassVar[tuple[type[Any], ...]] = (bytes,)

    def to_json(self, value: Any) -> Any:
        return b64encode(value).decode("ascii")

    def to_python(self, data: Any) -> Any:
        return b64decode(data, validate=True)


class ByteArray(Bytes):
    """Byte arrays, in base 64."""

    key = " ba"
    types = (bytearray,)

    def to_python(self, data: Any) -> Any:
        return bytearray(b64decode(data, validate=True))


class Uuid(Scalar):
    """UUIDs."""

    key = " u"
    types = (UUID,)

    def to_json(self, value: Any) -> Any:
        return str(value)

    def to_python(self, data: Any) -> Any:
        return UUID(data)


class DecimalNumber(Scalar):
    """Decimals, with all their digits and their sign and exponent."""

    key = " n"
    types = (Decimal,)

    def to_json(self, value: Any) -> Any:
        return str(value)

    def to_python(self, data: Any) -> Any:
        return Decimal(data)


class FilePath(Scalar):
    """Paths; one of a fixed flavour keeps it."""

    key = " p"
    types = (type(Path()), PurePosixPath, PureWindowsPath)
    _flavours: ClassVar[dict[str, type]] = {"posix": PurePosixPath, "windows": PureWindowsPath}

    def to_json(self, value: Any) -> Any:
        for flavour, kind in self._flavours.items():
            if type(value) is kind:
                return [flavour, text(str(value))]
        return text(str(value))

    def to_python(self, data: Any) -> Any:
        if isinstance(data, str):
            return Path(data)
        flavour, path = data
        return self._flavours[flavour](path)

    def to_plain(self, data: Any) -> Any:
        return data if isinstance(data, str) else data[1]


SCALARS: tuple[type[Scalar], ...] = (
    *(Long, Infinite, Surrogates, MarkupText, Bytes, ByteArray, Uuid),
    *(DecimalNumber, FilePath),
)
