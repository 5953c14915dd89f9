"""``bg.reference``: objects that are found again instead of copied."""

from __future__ import annotations

import abc
import threading
from functools import partial
from typing import Any, Protocol

import pytest
from argument_models import Machine, Specialist, Worker, keep

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import Codec


@pytest.fixture
def codec() -> Any:
    """A codec that knows workers by their names."""
    known = Codec()
    known.reference(Worker, dump=lambda worker: worker.name, load=Worker.known.__getitem__)
    yield known
    Worker.known.clear()


def test_objects_are_found_again(codec: Codec) -> None:
    """At any depth, in jobs that stay and in jobs that leave."""
    worker = Worker("w")
    given = {"a": [worker, {worker}]}
    prepared = codec.prepare(keep, (given,), {})
    text = codec.encode_arguments((given,), {})
    other = Worker("w")
    assert prepared.attempt()[1][0] == {"a": [other, {other}]}
    assert codec.decode_arguments(text)[0][0] == {"a": [other, {other}]}


def test_bound_methods_and_callable_objects(codec: Codec) -> None:
    """Their object travels by reference, with the method's name; partials are flattened."""
    worker = Worker("w")
    calls: list[tuple[Any, str, tuple[Any, ...], str]] = [
        (worker.run, "argument_models:Worker.run", (2,), "ww"),
        (partial(worker.run, times=3), "argument_models:Worker.run", (), "www"),
        (worker, "argument_models:Worker.__call__", ("Hi",), "Hi w"),
        (partial(worker, "Hi"), "argument_models:Worker.__call__", (), "Hi w"),
    ]
    for given, name, args, result in calls:
        call = codec.encode_call(given, args, {})
        assert call.name == name
        for fn, got, kwargs in (
            codec.decode_call(*call),
            codec.prepare(given, args, {}).attempt(),
            codec.prepare(given, args, {}, keep=True).attempt(),
        ):
            assert fn(*got, **kwargs) == result


def test_methods_of_subclasses(codec: Codec) -> None:
    """A subclass travels by its base's reference, and its own method is called."""
    call = codec.encode_call(Specialist("s").run, (), {})
    assert call.name == "argument_models:Specialist.run"
    fn, _, _ = codec.decode_call(*call)
    assert fn() == "S"


def test_the_most_specific_registration_wins(codec: Codec) -> None:
    """Of a class and its base, the nearest; whatever was registered first."""
    codec.reference(Specialist, dump=lambda one: 1, load=lambda data: Specialist("special"))
    assert codec.decode(codec.encode(Specialist("s"))).name == "special"
    assert codec.decode(codec.encode(Worker("w"))).name == "w"


def test_virtual_subclasses(codec: Codec) -> None:
    """An abstract class stands for those that were registered with it."""

    class Port(abc.ABC):  # noqa: B024
        pass

    class Serial:
        pass

    Port.register(Serial)
    codec.reference(Port, dump=lambda port: 1, load=lambda data: "found")
    assert codec.decode(codec.encode(Serial())) == "found"


def test_protocols_do_no_harm(codec: Codec) -> None:
    """A class that cannot be asked about subclasses has none."""

    class Port(Protocol):
        name: str

    codec.reference(Port, dump=lambda port: 1, load=lambda data: "found")
    assert codec.prepare(keep, (Quiet("q"),), {})


def test_a_registration_counts_from_then_on(codec: Codec) -> None:
    """Also for classes that were seen before it."""
    machine = Quiet("m")
    assert codec.prepare(keep, (machine,), {}).attempt()[1][0] is machine
    with pytest.raises(ArgumentError):
        codec.encode(machine)
    codec.reference(Quiet, dump=lambda quiet: quiet.name, load=Quiet)
    assert codec.prepare(keep, (machine,), {}).attempt()[1][0] is not machine
    assert codec.decode(codec.encode(machine)).name == "m"


class Quiet:
    def __init__(self, name: str) -> None:
        self.name = name


def test_registering_again_replaces(codec: Codec) -> None:
    """A class that is defined again (a factory, a notebook) takes the place of the old one."""

    def define(answer: int) -> type:
        class Local:
            pass

        codec.reference(Local, dump=lambda one: 0, load=lambda data: answer)
        return Local

    first = define(1)
    text = codec.encode(first())
    assert codec.decode(text) == 1
    define(2)
    assert codec.decode(text) == 2


@pytest.mark.parametrize("given", [str, dict, list, object, "Worker", 3])
def test_what_cannot_be_registered(codec: Codec, given: Any) -> None:
    """Values travel as they are, and only a class can be registered."""
    with pytest.raises(TypeError, match="a class"):
        codec.reference(given, dump=str, load=str)


def test_a_dump_that_fails(codec: Codec) -> None:
    """The error names the argument and what ``dump`` raised."""
    codec.reference(Quiet, dump=lambda quiet: quiet.missing, load=Quiet)
    for call in (codec.encode_arguments, partial(codec.prepare, keep)):
        with pytest.raises(ArgumentError) as caught:
            call(([Quiet("q")],), {})
        assert caught.value.path == "args[0][0]"
        assert "dump failed: AttributeError" in caught.value.why
        assert isinstance(caught.value.__cause__, AttributeError)


def test_a_dump_that_gives_no_data(codec: Codec) -> None:
    """What it gives has to be encodable."""
    codec.reference(Quiet, dump=lambda quiet: threading.Lock(), load=Quiet)
    with pytest.raises(ArgumentError) as caught:
        codec.encode_arguments(([Quiet("q")],), {})
    assert caught.value.path == "args[0][0].dump()"
    assert "(lock) cannot leave this process" in caught.value.why


def test_a_dump_may_give_any_data(codec: Codec) -> None:
    """Whatever a job can carry comes to ``load`` as it was."""
    codec.reference(Quiet, dump=lambda quiet: (1, {"a": {b"x"}}), load=lambda data: data)
    assert codec.decode(codec.encode(Quiet("q"))) == (1, {"a": {b"x"}})


@pytest.mark.parametrize("error", [LookupError("gone"), ValueError("bad"), ArgumentError("a", "b")])
def test_the_error_of_a_load_is_the_job_s(codec: Codec, error: Exception) -> None:
    """It reaches the job as it was raised."""

    def load(data: Any) -> Quiet:
        raise error

    codec.reference(Quiet, dump=lambda quiet: 1, load=load)
    text = codec.encode_arguments(([Quiet("q")],), {})
    with pytest.raises(type(error)) as caught:
        codec.decode_arguments(text)
    assert caught.value is error
    prepared = codec.prepare(keep, (Quiet("q"),), {})
    with pytest.raises(type(error)) as caught:
        prepared.attempt()
    assert caught.value is error


def test_an_unknown_reference(codec: Codec) -> None:
    """A process without the registration says which one is missing."""
    text = codec.encode(Worker("w"))
    with pytest.raises(
        ArgumentError, match=r"argument_models:Worker .* has no bg.reference for it"
    ):
        Codec().decode(text)


def test_loading_takes_place_at_each_attempt(codec: Codec) -> None:
    """And once for each object, however often it is among the arguments."""
    loads: list[str] = []

    def load(name: str) -> Quiet:
        loads.append(name)
        return Quiet(name)

    codec.reference(Quiet, dump=lambda quiet: quiet.name, load=load)
    quiet = Quiet("q")
    prepared = codec.prepare(keep, (quiet, [quiet]), {}, keep=True)
    for attempt in (1, 2):
        args = prepared.attempt()[1]
        assert args[0] is args[1][0]
        assert loads == ["q"] * attempt


def test_after_commit_dumps_late(codec: Codec) -> None:
    """A reference of one's own may be of a row, whose id the commit gives."""
    codec.reference(Quiet, dump=lambda quiet: quiet.name, load=Quiet)
    quiet = Quiet("")
    prepared = codec.prepare(keep, (quiet,), {}, after_commit=True)
    draft = codec.draft_arguments((quiet,), {})
    quiet.name = "given by the commit"
    prepared.settle()
    assert prepared.attempt()[1][0].name == "given by the commit"
    assert codec.decode_arguments(draft.settle().text)[0][0].name == "given by the commit"


def test_methods_need_the_reference(codec: Codec, tmp_path: Any) -> None:
    """Without one the attribute that holds the object here is named; with one it works."""
    machine = Machine(str(tmp_path / "log"))
    with pytest.raises(ArgumentError) as caught:
        codec.encode_call(machine.run, (), {})
    assert str(caught.value) == (
        "fn.__self__.log (TextIOWrapper) cannot leave this process: pass its path, or what it "
        "contains, or say how Machine travels with bg.reference(Machine, dump=…, load=…)"
    )
    machine.log.close()
    codec.reference(Machine, dump=lambda one: one.path, load=Machine)
    fn, _, _ = codec.decode_call(*codec.encode_call(machine.run, (), {}))
    assert fn.__self__.path == machine.path
    fn.__self__.log.close()
