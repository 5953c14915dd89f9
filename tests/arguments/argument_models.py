"""Classes and functions that stored text can name: all at the top level of a module."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from functools import cached_property, wraps
from typing import Any, Generic, NamedTuple, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

T = TypeVar("T")


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list[Post]] = relationship(back_populates="author")

    def greeting(self, word: str) -> str:
        return f"{word} {self.name}"


class Post(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    author: Mapped[User] = relationship(back_populates="posts")


class Place(db.Model):
    row: Mapped[int] = mapped_column(primary_key=True)
    seat: Mapped[str] = mapped_column(primary_key=True)


class Old(db.Model):
    __bind_key__ = "archive"
    id: Mapped[int] = mapped_column(primary_key=True)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"
    CRIMSON = "red"  # noqa: PIE796


class Odd(Enum):
    PAIR = (1, 2)


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Kind(StrEnum):
    PLAIN = "plain"


class Right(Flag):
    READ = auto()
    WRITE = auto()
    RUN = auto()


class Mode(IntFlag):
    A = 1
    B = 4


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Address:
    street: Any
    zip: Any = None


@dataclass
class Order:
    number: int
    address: Address
    lines: list[Any] = field(default_factory=list)
    total: Any = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total = len(self.lines)

    @cached_property
    def expensive(self) -> object:
        return threading.Lock()


@dataclass(frozen=True, slots=True)
class Coin:
    value: Any
    currency: str = "EUR"


@dataclass(slots=True)
class Late:
    given: int
    later: Any = field(init=False)


@dataclass
class Box(Generic[T]):
    content: T


class Crate(Address):
    """Inherits from a dataclass and is not decorated."""


@dataclass
class Counted(list[Any]):
    name: str = ""


class Worker:
    known: dict[str, Worker] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.known[name] = self

    def run(self, times: int = 1) -> str:
        return self.name * times

    def __call__(self, word: str) -> str:
        return f"{word} {self.name}"

    @classmethod
    def make(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @staticmethod
    def version() -> int:
        return 7


class Specialist(Worker):
    def run(self, times: int = 1) -> str:
        return self.name.upper() * times


class Machine:
    def __init__(self, path: str) -> None:
        self.path = path
        self.log = open(path, "w")  # noqa: SIM115

    def run(self) -> None: ...


class Quiet:
    def run(self) -> None: ...


def double(value: Any) -> Any:
    return value * 2


def _loud(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any) -> str:
        return str(function(*args)).upper()

    return call


@_loud
def shout(word: str) -> str:
    return word


def keep(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return args, kwargs
