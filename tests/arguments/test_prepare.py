"""Calls that stay in the process: proxies, containers, and what is left alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from argument_models import Address, Coin, Point, Worker, double, keep
from flask import Flask, current_app, request
from flask_babel.speaklater import LazyString
from flask_login import LoginManager, UserMixin, current_user, login_user
from werkzeug.local import Local, LocalProxy

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import Codec

Box = SimpleNamespace

_current: ContextVar[Any] = ContextVar("_current")
proxy = LocalProxy(_current)


@pytest.fixture
def target() -> Any:
    """An object that ``proxy`` stands for."""
    found = Box(name="target")
    token = _current.set(found)
    yield found
    _current.reset(token)


def passed(codec: Codec, *args: Any, **kwargs: Any) -> Any:
    """What a task gets for one argument, or all of them."""
    _, got, named = codec.prepare(keep, args, kwargs).attempt()
    return got[0] if len(got) == 1 and not named else (got, named)


def is_real(value: Any, target: Any) -> bool:
    return value is target and type(value) is not LocalProxy


def test_plain_arguments_are_given_as_they_are(codec: Codec) -> None:
    """A plain function with plain values is neither looked into nor copied."""
    args, kwargs = (1, "two", None, 3.0, b"4"), {"five": 5}
    prepared = codec.prepare(double, args, kwargs)
    assert prepared.attempt() == (double, args, kwargs)
    assert prepared.attempt()[1] is args


def test_the_app_proxy_becomes_the_app(codec: Codec) -> None:
    """``current_app`` is replaced by the app object, as a task needs it."""
    app = Flask(__name__)
    with app.app_context():
        assert is_real(passed(codec, current_app), app)
        assert is_real(passed(codec, 1, app=current_app)[1]["app"], app)


def test_the_user_proxy_becomes_the_user(codec: Codec) -> None:
    """``current_user`` of Flask-Login is replaced by the user object."""
    app = Flask(__name__, static_folder=None)
    app.secret_key = "tests only"
    LoginManager(app)

    class Member(UserMixin):
        id = 1

    member = Member()
    with app.test_request_context():
        login_user(member)
        assert is_real(passed(codec, current_user), member)


def test_a_proxy_of_a_proxy_is_unwrapped_to_the_end(codec: Codec, target: Any) -> None:
    """However many proxies stand in a row, the task gets the object."""
    assert is_real(passed(codec, LocalProxy(lambda: LocalProxy(lambda: proxy))), target)


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda x: [1, x], lambda c: c[1]),
        (lambda x: (x,), lambda c: c[0]),
        (lambda x: Point(1, x), lambda c: c.y),
        (lambda x: {"key": x}, lambda c: c["key"]),
        (lambda x: {x: "value"}, lambda c: next(iter(c))),
        (lambda x: {1, x}, lambda c: next(i for i in c if i != 1)),
        (lambda x: frozenset({x}), lambda c: next(iter(c))),
        (lambda x: deque([x], maxlen=3), lambda c: c[0]),
        (lambda x: OrderedDict(a=1, b=x), lambda c: c["b"]),
        (lambda x: defaultdict(list, a=x), lambda c: c["a"]),
        (lambda x: Counter({x: 2}), lambda c: next(iter(c))),
        (lambda x: Address(street=x), lambda c: c.street),
        (lambda x: Coin(x), lambda c: c.value),
        (lambda x: partial(keep, x), lambda c: c.args[0]),
        (lambda x: partial(keep, a=x), lambda c: c.keywords["a"]),
        (lambda x: [{"a": ({"b": [x]},)}], lambda c: c[0]["a"][0]["b"][0]),
    ],
)
def test_proxies_are_unwrapped_at_any_depth(codec: Codec, wrap: Any, unwrap: Any) -> None:
    """In every kind of container; the container keeps its type, and the caller's own its proxy."""
    target = frozenset({"something", "that", "hashes"})
    token = _current.set(target)
    try:
        container = wrap(proxy)
        got = passed(codec, container)
    finally:
        _current.reset(token)
    assert type(got) is type(container)
    assert is_real(unwrap(got), target)
    assert got is not container
    assert type(unwrap(container)) is LocalProxy


def test_copies_keep_what_else_a_container_has(codec: Codec, target: Any) -> None:
    """A copied deque has its length, a copied defaultdict its factory, a dataclass all it holds."""
    address = Address(proxy, "1010")
    address.note = "not a field"
    row = deque([proxy], maxlen=3)
    lists: Any = defaultdict(list, a=proxy)
    got = passed(codec, [row, lists, address])
    assert got[0].maxlen == 3
    assert got[1]["new"] == []
    assert (got[2].zip, got[2].note) == ("1010", "not a field")


def test_containers_without_proxies_are_not_copied(codec: Codec, target: Any) -> None:
    """The task gets the caller's own list, as with a ThreadPoolExecutor."""
    shared: list[Any] = [object()]
    outer = [shared, proxy]
    got = passed(codec, outer)
    assert got[0] is shared
    assert passed(codec, shared) is shared
    lock = threading.Lock()
    assert passed(codec, lock) is lock


def test_one_container_in_two_places_stays_one(codec: Codec, target: Any) -> None:
    """What was the same list for the caller is the same list for the task."""
    shared = [proxy]
    got = passed(codec, [shared, {"again": shared}])
    assert got[0] is got[1]["again"]


def test_a_container_that_holds_itself_passes(codec: Codec, target: Any) -> None:
    """A cycle is no problem for a job that stays here, unless something in it is replaced."""
    loop: list[Any] = [1]
    loop.append(loop)
    assert passed(codec, loop) is loop
    loop.append(proxy)
    with pytest.raises(ArgumentError) as caught:
        passed(codec, [0, loop])
    assert caught.value.path == "args[0][1]"
    assert "contains itself" in caught.value.why


def test_deep_nesting_is_refused_in_words(codec: Codec) -> None:
    """A list 100,000 levels deep is an ArgumentError, never a RecursionError."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    try:
        with pytest.raises(ArgumentError, match=r"args\[0\].* nested too deeply"):
            passed(codec, deep)
    finally:
        while deep:  # or the interpreter would take it down recursively
            deep = deep.pop()


def test_a_subclass_that_cannot_be_copied_is_refused(codec: Codec, target: Any) -> None:
    """A container class of somebody else's passes as it is, but not if it had to be changed."""

    class Basket(list[Any]):
        pass

    basket = Basket([object()])
    assert passed(codec, basket) is basket
    with pytest.raises(ArgumentError) as caught:
        passed(codec, Basket([proxy]))
    assert caught.value.path == "args[0]"
    assert "pass list(…)" in caught.value.why


def test_an_unbound_proxy_is_refused_with_its_path(codec: Codec) -> None:
    """A proxy that stands for nothing is refused where it is submitted."""
    for unbound in (current_app, request, proxy, Local()("user")):
        with pytest.raises(ArgumentError) as caught:
            passed(codec, 1, options={"who": [unbound]})
        assert caught.value.path == "kwargs['options']['who'][0]"
    assert "stands for nothing" in caught.value.why


class Touchy:
    """Counts every question that is put to it."""

    def __init__(self) -> None:
        object.__setattr__(self, "asked", [])

    def __getattribute__(self, name: str) -> Any:
        if name == "asked":
            return object.__getattribute__(self, name)
        object.__getattribute__(self, "asked").append(name)
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        self.asked.append("repr")
        return "touchy"

    def __eq__(self, other: object) -> bool:
        self.asked.append("eq")
        return self is other

    def __hash__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        self.asked.append("bool")
        return True

    def __len__(self) -> int:
        self.asked.append("len")
        return 1

    def __iter__(self) -> Any:
        self.asked.append("iter")
        return iter(())


def test_objects_are_not_asked(codec: Codec) -> None:
    """Preparing and describing look at the type alone: no attribute, no comparison, no repr."""
    touchy = Touchy()
    prepared = codec.prepare(keep, (touchy, [touchy], {"a": touchy}), {"b": touchy})
    prepared.describe()
    assert prepared.attempt()[1][0] is touchy
    assert touchy.asked == []


def test_a_lazy_string_is_not_evaluated(codec: Codec) -> None:
    """A lazy string belongs to the reader's language: it evaluates itself in the task."""
    evaluated: list[int] = []
    lazy = LazyString(lambda: evaluated.append(1) or "text")
    prepared = codec.prepare(keep, (lazy, [lazy]), {"c": lazy}, keep=True)
    prepared.describe()
    _, args, kwargs = prepared.attempt()
    assert evaluated == []
    assert args[0] is args[1][0] is kwargs["c"] is lazy


def test_proxies_in_the_function_are_unwrapped(codec: Codec, target: Any) -> None:
    """In partials at any depth, in what a method is bound to, and as the function itself."""
    fn, _, _ = codec.prepare(partial(partial(keep, proxy), [proxy]), (), {}).attempt()
    assert is_real(fn.args[0], target)
    assert is_real(fn.args[1][0], target)
    _current.set(double)
    assert codec.prepare(proxy, (2,), {}).attempt()[0] is double
    fn, _, _ = codec.prepare(partial(partial(proxy), 2), (), {}).attempt()
    assert fn() == 4


def test_the_object_of_a_method_is_never_copied(codec: Codec, target: Any) -> None:
    """A method changes its own object, also if that is a dataclass which holds a proxy."""
    address = Address(proxy)
    fn, _, _ = codec.prepare(address.__eq__, (), {}, keep=True).attempt()
    assert fn.__self__ is address
    worker = Worker("w")
    assert codec.prepare(worker, (), {}, keep=True).attempt()[0] is worker
    items: list[int] = []
    assert codec.prepare(items.append, (1,), {}).attempt()[0].__self__ is items


@pytest.mark.parametrize(
    "fn", [len, double, Worker, Worker.make, Worker.version, "".join, str.upper]
)
def test_every_kind_of_callable_passes(codec: Codec, fn: Any) -> None:
    """Functions, classes and methods are called as they are."""
    assert codec.prepare(fn, (), {}).attempt()[0] is fn


@pytest.mark.parametrize("fn", [None, 3, "name", [double]])
def test_what_cannot_be_called_is_refused(codec: Codec, fn: Any) -> None:
    """The mistake is named at submit, not in the task."""
    with pytest.raises(ArgumentError, match="cannot be called") as caught:
        codec.prepare(fn, (1,), {})
    assert caught.value.path == "fn"


def test_nothing_is_kept_alive(codec: Codec) -> None:
    """Once the call is dropped, so are function, arguments and their classes."""

    class Thing:
        pass

    class Holder(dict[str, Any]):
        pass

    thing, holder = Thing(), Holder()
    watched = [weakref.ref(thing), weakref.ref(holder), weakref.ref(Thing), weakref.ref(Holder)]
    for keeping in (False, True):
        prepared = codec.prepare(
            partial(keep, thing), (holder, [thing]), {"k": thing}, keep=keeping
        )
        prepared.describe()
        prepared.attempt()
        with pytest.raises(ArgumentError):
            codec.encode_arguments((thing,), {})
        with pytest.raises(ArgumentError):
            codec.encode_arguments((holder,), {})
    del thing, holder, prepared, Thing, Holder
    gc.collect()
    assert [reference() for reference in watched] == [None] * 4


def test_threads_may_prepare_at_once(codec: Codec) -> None:
    """One codec serves all threads."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(300):
                kind = type(f"Kind{number}", (), {})
                value = kind()
                assert passed(codec, [value])[0] is value
                assert codec.decode(codec.encode((number, {number}))) == (number, {number})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
