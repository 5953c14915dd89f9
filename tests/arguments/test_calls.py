"""Bare functions that leave the process: by a name that leads back to them, or not at all."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import argument_models
import pytest
from argument_models import Coin, Machine, Quiet, Specialist, Worker, double, keep, shout
from werkzeug.local import LocalProxy

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import Codec, UnknownFunction


@functools.lru_cache
def cached(value: int) -> int:
    return value + 1


@pytest.mark.parametrize(
    ("fn", "name", "args", "result"),
    [
        (double, "argument_models:double", (4,), 8),
        (shout, "argument_models:shout", ("a",), "A"),
        (math.sqrt, "math:sqrt", (9,), 3.0),
        (len, "builtins:len", ([1],), 1),
        (os.path.join, f"{os.path.__name__}:join", ("a", "b"), "a/b"),
        (cached, "test_calls:cached", (1,), 2),
        (Coin, "argument_models:Coin", (1,), Coin(1)),
        (str, "builtins:str", (1,), "1"),
        (Worker.make, "argument_models:Worker.make", ("w",), "Worker w"),
        (Specialist.make, "argument_models:Specialist.make", ("w",), "Specialist w"),
        (Worker.version, "argument_models:Worker.version", (), 7),
        (Specialist.version, "argument_models:Worker.version", (), 7),
        (LocalProxy(lambda: double), "argument_models:double", (4,), 8),
    ],
)
def test_functions_have_names(codec: Codec, fn: Any, name: str, args: Any, result: Any) -> None:
    """Functions, classes, static and class methods of a module."""
    call = codec.encode_call(fn, args, {})
    assert call.name == name
    found, got, kwargs = codec.decode_call(*call)
    assert found(*got, **kwargs) == result


def test_partials_are_flattened(codec: Codec) -> None:
    """Their arguments come first; of keywords given twice the later counts."""
    fn = partial(partial(keep, 1, a=1, b=2), (2,), b=3)
    call = codec.encode_call(fn, (3,), {"c": 4, " t": 5})
    assert call.name == "argument_models:keep"
    found, args, kwargs = codec.decode_call(*call)
    assert found(*args, **kwargs) == fn(3, c=4, **{" t": 5})
    only = codec.encode_call(partial(keep, **{" t": 1}), (), {})
    assert codec.decode_call(*only)[2] == {" t": 1}


def _nested() -> Any:
    def inner() -> None: ...

    return inner


class _Callable:
    def __call__(self) -> None: ...


def _original() -> int:
    return 1


_hidden = _original


def _original() -> int:
    return 2


@pytest.mark.parametrize(
    ("fn", "path", "kind", "advice"),
    [
        ((lambda: 1), "fn", "test_calls:<lambda>", "at the top level of a module"),
        (_nested(), "fn", "inner", "move it to the top level of a module"),
        (_Callable(), "fn", "_Callable", "bg.reference(_Callable, dump=…, load=…)"),
        (Quiet().run, "fn.__self__", "Quiet", "bg.reference(Quiet, dump=…, load=…)"),
        (partial(Quiet().run), "fn.func.__self__", "Quiet", "bg.reference(Quiet"),
        (_hidden, "fn", "test_calls:_original", "there is something else"),
        ("x".join, "fn", "builtin_function_or_method", "submit a function of a module"),
        (partial(lambda: 1), "fn.func", "lambda", "a lambda has no name"),
        (partial(double, object()), "fn.args[0]", "object", "bg.reference"),
        (partial(double, 1, [object()]), "fn.args[1][0]", "object", "bg.reference"),
        (partial(double, value={"a": object()}), "fn.keywords['value']['a']", "object", "ref"),
    ],
)
def test_what_has_no_name_is_refused(
    codec: Codec, fn: Any, path: str, kind: str, advice: str
) -> None:
    """Another process could not find it; the text says what to do."""
    with pytest.raises(ArgumentError) as caught:
        codec.encode_call(fn, (), {})
    assert caught.value.path == path
    assert kind in caught.value.why.split(" cannot leave this process: ")[0]
    assert advice in caught.value.why


def test_the_attribute_that_holds_an_object_here(codec: Codec, tmp_path: Path) -> None:
    """Of a bound method the path goes on to the open file, lock or connection."""
    machine = Machine(str(tmp_path / "log"))
    with pytest.raises(ArgumentError) as caught:
        codec.encode_call(machine.run, (), {})
    assert caught.value.path == "fn.__self__.log"
    assert caught.value.why.startswith("(TextIOWrapper) cannot leave this process")
    machine.log.close()


def test_a_generator_in_the_object_of_a_method(codec: Codec) -> None:
    """What no job can carry is named as well."""
    quiet = Quiet()
    quiet.name, quiet.lines = "q", (line for line in "abc")
    with pytest.raises(ArgumentError) as caught:
        codec.encode_call(quiet.run, (), {})
    assert caught.value.path == "fn.__self__.lines"
    assert "pass a list" in caught.value.why
    assert "bg.reference(Quiet" in caught.value.why


def test_functions_of_main_are_refused(codec: Codec, monkeypatch: Any) -> None:
    """Another process has another ``__main__``."""
    main = sys.modules["__main__"]

    def work() -> None: ...

    work.__module__, work.__qualname__ = "__main__", "work"
    monkeypatch.setattr(main, "work", work, raising=False)
    with pytest.raises(ArgumentError) as caught:
        codec.encode_call(work, (), {})
    assert caught.value.path == "fn"
    assert "(__main__)" in caught.value.why
    assert "move it to a module" in caught.value.why


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module:run",
        "argument_models:missing",
        "argument_models:Worker.missing",
        "argument_models.deeper:run",
        "argument_models:db.session.missing",
        "argument_models",
        ":run",
        ".argument_models:run",
        "",
    ],
)
def test_unknown_functions(codec: Codec, name: str) -> None:
    """A process that does not have the function can tell: another may have it."""
    with pytest.raises(UnknownFunction, match="in this process") as caught:
        codec.decode_call(name, '{"args":[],"kwargs":{}}')
    assert caught.value.name == name
    assert isinstance(caught.value, LookupError)


def test_what_cannot_be_called_is_unknown(codec: Codec) -> None:
    """A name may lead to something that is no function any more."""
    with pytest.raises(UnknownFunction):
        codec.decode_call("argument_models:__name__", '{"args":[],"kwargs":{}}')


def test_a_module_s_own_error_is_another(codec: Codec, tmp_path: Path, monkeypatch: Any) -> None:
    """A module that is there and fails is no unknown function."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_calls.py").write_text("import no_such_dependency\n")
    (tmp_path / "failing_calls.py").write_text("1 / 0\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        codec.decode_call("broken_calls:run", '{"args":[],"kwargs":{}}')
    with pytest.raises(ZeroDivisionError):
        codec.decode_call("failing_calls:run", '{"args":[],"kwargs":{}}')


def test_methods_that_are_gone(codec: Codec) -> None:
    """The object is found, but no such method, or it is of another class."""
    codec.reference(Worker, dump=lambda worker: worker.name, load=Worker)
    _, text = codec.encode_call(Worker("w").run, (), {})
    for name in ("argument_models:Worker.gone", "argument_models:Quiet.run"):
        with pytest.raises(UnknownFunction):
            codec.decode_call(name, text)
    Worker.known.clear()


def test_a_method_that_is_not_found_again(codec: Codec) -> None:
    """One that was put on the object itself is nowhere in its class."""
    codec.reference(Worker, dump=lambda worker: worker.name, load=Worker)
    worker = Worker("w")
    worker.own = double.__get__(worker)
    with pytest.raises(ArgumentError, match="is not found again as"):
        codec.encode_call(worker.own, (), {})
    Worker.known.clear()


def test_another_process_finds_it_all(codec: Codec) -> None:
    """Names and text are all that is needed."""
    coin = Coin({"a": (1, None)})
    call = codec.encode_call(partial(keep, coin), (), {"k": {1, 2}})
    script = (
        "import sys\n"
        "from flask_bgtask.arguments import Codec\n"
        "fn, args, kwargs = Codec().decode_call(sys.argv[1], sys.argv[2])\n"
        "print(fn(*args, **kwargs))\n"
    )
    here = Path(argument_models.__file__)
    run = subprocess.run(
        [sys.executable, "-c", script, *call],
        env={**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here.parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.stdout.strip() == str(keep(coin, k={1, 2})), run.stderr
