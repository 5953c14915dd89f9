"""SQLAlchemy rows: by class and identity, from the task's own session, never half committed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from argument_models import Address, Old, Place, Post, User, db, keep
from flask import Flask
from flask_login import LoginManager, current_user, login_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_bgtask import ArgumentError
from flask_bgtask.arguments import Codec

COMMIT = "commit first, or submit with using(after_commit=True)"


def stored(row: Any) -> Any:
    db.session.add(row)
    db.session.commit()
    return row


def in_task(shop: Flask, call: Callable[[], Any]) -> Any:
    """Call it as a task would: in an app context of its own, with a session of its own."""
    with shop.app_context():
        return call()


def refused(codec: Codec, *args: Any, **options: Any) -> ArgumentError:
    """The error of a call; the same whether the job stays here or leaves."""
    with pytest.raises(ArgumentError) as kept:
        codec.prepare(keep, args, {})
    with pytest.raises(ArgumentError) as sent:
        codec.encode_arguments(args, {})
    assert str(kept.value) == str(sent.value)
    return kept.value


@pytest.mark.parametrize("leaves", [False, True])
def test_a_row_is_loaded_again(codec: Codec, shop: Flask, leaves: bool) -> None:
    """The task gets the row of its own session, as the database has it then."""
    ann = stored(User(name="Ann"))
    if leaves:
        text = codec.encode_arguments((ann,), {"also": [ann]})
        attempt = partial(codec.decode_arguments, text)
    else:
        prepared = codec.prepare(keep, (ann,), {"also": [ann]})
        attempt = lambda: prepared.attempt()[1:]  # noqa: E731
    ann.name = "Anna"
    db.session.commit()

    def task() -> None:
        args, kwargs = attempt()
        assert args[0] is not ann
        assert args[0] in db.session
        assert args[0] is kwargs["also"][0]
        assert args[0].name == "Anna"

    in_task(shop, task)


def test_rows_are_found_at_any_depth(codec: Codec, shop: Flask) -> None:
    """Also in sets, as keys, in dataclasses, partials, and in SQLAlchemy's own collections."""
    ann = stored(User(name="Ann", posts=[Post(), Post()]))
    given = [{ann}, {ann: 1}, Address(ann), ann.posts, (ann,)]
    prepared = codec.prepare(partial(keep, {"fn": ann}), (given,), {})

    def task() -> None:
        fn, (got,), _ = prepared.attempt()
        again = fn.args[0]["fn"]
        assert again is db.session.get(User, ann_id)
        assert got[0] == {again}
        assert got[1] == {again: 1}
        assert got[2] == Address(again)
        assert type(got[3]) is list
        assert got[3] == again.posts
        assert got[4] == (again,)

    ann_id = ann.id
    in_task(shop, task)
    assert given[0] == {ann}
    assert codec.decode(codec.encode(given))[0] == {ann}


def test_identities_of_all_kinds(codec: Codec, shop: Flask) -> None:
    """Composite keys, and models with a bind key of their own."""
    place, old = stored(Place(row=3, seat="c")), stored(Old(id=8))
    prepared = codec.prepare(keep, (place, old), {})
    text = codec.encode_arguments((place, old), {})

    def task() -> None:
        for args in (prepared.attempt()[1], codec.decode_arguments(text)[0]):
            assert (args[0].row, args[0].seat) == (3, "c")
            assert args[1] is db.session.get(Old, 8)

    in_task(shop, task)


def test_the_logged_in_user_travels_as_a_row(codec: Codec, shop: Flask) -> None:
    """``current_user`` stands for a row, and that travels by reference."""
    LoginManager(shop)
    user = stored(User(name="Ann"))
    user.is_active = True
    user.get_id = lambda: str(user.id)
    with shop.test_request_context():
        login_user(db.session.merge(user))
        prepared = codec.prepare(keep, (current_user,), {})
        text = codec.encode_arguments((current_user,), {})
    assert in_task(shop, lambda: prepared.attempt()[1][0].name) == "Ann"
    assert in_task(shop, lambda: codec.decode_arguments(text)[0][0].name) == "Ann"


def test_a_bound_method_of_a_row(codec: Codec, shop: Flask) -> None:
    """It travels as a reference to the row and the method's name."""
    ann = stored(User(name="Ann"))
    prepared = codec.prepare(ann.greeting, ("Hello",), {})
    call = codec.encode_call(partial(ann.greeting, "Hello"), (), {})
    assert call.name == "argument_models:User.greeting"

    def task() -> None:
        for fn, args, kwargs in (prepared.attempt(), codec.decode_call(*call)):
            assert fn.__self__ in db.session
            assert fn(*args, **kwargs) == "Hello Ann"

    in_task(shop, task)


def test_new_rows_are_refused(codec: Codec, shop: Flask) -> None:
    """Neither in a session nor added to one: the task would find nothing."""
    transient, pending = User(name="Ann"), User(name="Bob")
    db.session.add(pending)
    for row in (transient, pending):
        error = refused(codec, {"who": [row]})
        assert str(error) == f"args[0]['who'][0] (User) is new and not in the database: {COMMIT}"


def test_changed_rows_are_refused(codec: Codec, shop: Flask) -> None:
    """The task would see the row as it was; setting the same value again is no change."""
    ann = stored(User(name="Ann"))
    ann.name = ann.name
    assert codec.prepare(keep, (ann,), {})
    ann.name = "Anna"
    error = refused(codec, ann)
    assert str(error) == f"args[0] (User) has changes that are not committed: {COMMIT}"
    db.session.rollback()
    ann.posts.append(Post())
    assert "not committed" in refused(codec, ann).why
    db.session.commit()
    db.session.refresh(ann)
    db.session.expunge(ann)
    assert codec.prepare(keep, (ann,), {}), "a detached row has its identity"
    ann.name = "detached"
    assert "not committed" in refused(codec, ann).why


def test_flushed_rows_are_refused_until_the_commit(codec: Codec, shop: Flask) -> None:
    """A flush writes inside the transaction, and no other connection sees it."""
    ann = stored(User(name="Ann"))
    new = User(name="Bob")
    ann.name = "Anna"
    with db.session.begin_nested():
        db.session.add(new)
    db.session.flush()
    assert "not committed" in refused(codec, ann).why
    assert "not committed" in refused(codec, new).why
    with db.session.begin_nested():
        assert "not committed" in refused(codec, ann).why
    db.session.commit()
    assert codec.prepare(keep, (ann, new), {})
    assert codec.encode_arguments((ann, new), {})


def test_deleted_rows_are_refused(codec: Codec, shop: Flask) -> None:
    """Marked, flushed or committed: also when the job waits for a commit."""
    ann = stored(User(name="Ann"))
    db.session.delete(ann)
    for act in (lambda: None, db.session.flush, db.session.commit):
        act()
        assert "is deleted" in refused(codec, ann).why
        with pytest.raises(ArgumentError, match="is deleted"):
            codec.prepare(keep, (ann,), {}, after_commit=True)


def test_checking_a_row_asks_the_database_nothing(codec: Codec, shop: Flask) -> None:
    """After a commit a row's values are expired; its identity is known all the same."""
    ann = stored(User(name="Ann"))
    statements: list[str] = []
    event.listen(
        db.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )
    codec.prepare(keep, (ann,), {})
    codec.encode_arguments((ann,), {})
    assert statements == []


@pytest.mark.parametrize("leaves", [False, True])
def test_a_row_that_is_gone_is_a_lookup_error(codec: Codec, shop: Flask, leaves: bool) -> None:
    """The job fails with its class and identity."""
    ann, place = stored(User(id=5, name="Ann")), stored(Place(row=3, seat="c"))
    for row, shown in ((ann, "User 5"), (place, r"Place \(3, 'c'\)")):
        prepared, text = codec.prepare(keep, (row,), {}), codec.encode_arguments((row,), {})
        db.session.delete(row)
        db.session.commit()
        with pytest.raises(LookupError, match=f"the row {shown} is not in the database"):
            in_task(
                shop,
                lambda: codec.decode_arguments(text) if leaves else prepared.attempt(),  # noqa: B023
            )


def test_after_commit_takes_new_and_changed_rows(codec: Codec, shop: Flask) -> None:
    """Their identities are taken down once the commit gave them."""
    ann = stored(User(name="Ann"))
    ann.name = "Anna"
    new = User(name="Bob")
    db.session.add(new)
    prepared = codec.prepare(keep, (ann, [new]), {"k": new}, keep=True, after_commit=True)
    draft = codec.draft_arguments((ann, [new]), {"k": new})
    method = codec.draft_call(new.greeting, ("Hi",), {})
    db.session.commit()
    prepared.settle()
    text, call = draft.settle().text, method.settle()

    def task() -> None:
        for args, kwargs in (prepared.attempt()[1:], codec.decode_arguments(text)):
            assert args[0].name == "Anna"
            assert args[1] == [kwargs["k"]]
            assert kwargs["k"].name == "Bob"
        fn, args, _ = codec.decode_call(*call)
        assert fn(*args) == "Hi Bob"

    in_task(shop, task)


def test_a_draft_has_the_arguments_of_the_submit(codec: Codec, shop: Flask) -> None:
    """What the caller changes between submit and commit does not reach the job."""
    new, words = User(name="Bob"), ["one"]
    db.session.add(new)
    draft = codec.draft_arguments((new, words), {})
    words.append("two")
    db.session.commit()
    assert codec.decode_arguments(draft.settle().text)[0][1] == ["one"]


def test_settling_in_the_session_s_own_event(codec: Codec, shop: Flask) -> None:
    """``after_commit`` of a session allows no statement; none is needed."""
    new = User(name="Bob")
    db.session.add(new)
    draft = codec.draft_arguments((new,), {})
    texts: list[str] = []
    event.listen(db.session(), "after_commit", lambda _: texts.append(draft.settle().text))
    db.session.commit()
    assert codec.decode_arguments(texts[0])[0] == (new,)


def test_a_row_that_the_commit_did_not_store(codec: Codec, shop: Flask) -> None:
    """It was never added: settling says so, with the path."""
    forgotten = User(name="Bob")
    prepared = codec.prepare(keep, (1, {"a": forgotten}), {}, after_commit=True)
    draft = codec.draft_arguments((), {"who": forgotten})
    db.session.commit()
    with pytest.raises(ArgumentError, match=r"args\[1\] \(User\) was not stored by the commit"):
        prepared.settle()
    with pytest.raises(ArgumentError, match=r"kwargs\['who'\] \(User\) was not stored"):
        draft.settle()


def test_a_draft_refuses_at_submit(codec: Codec, shop: Flask) -> None:
    """What is wrong besides the rows is said before the commit."""
    new = User(name="Bob")
    with pytest.raises(ArgumentError) as caught:
        codec.draft_arguments((new, [object()]), {})
    assert caught.value.path == "args[1][0]"
    with pytest.raises(ArgumentError, match="a lambda has no name"):
        codec.draft_call(lambda user: None, (new,), {})


def test_no_row_is_kept_alive(codec: Codec, shop: Flask) -> None:
    """A job holds identities, and no row of the request's session."""
    ann = stored(User(name="Ann"))
    watched = weakref.ref(ann)
    prepared = codec.prepare(keep, (ann,), {})
    waiting = codec.prepare(keep, (ann,), {}, after_commit=True)
    waiting.settle()
    db.session.remove()
    del ann
    gc.collect()
    assert watched() is None
    assert prepared.attempt()[1][0].name == waiting.attempt()[1][0].name == "Ann"


def test_result_rows_are_refused_if_they_hold_objects(codec: Codec, shop: Flask) -> None:
    """A result row of plain columns passes within the process, one of rows does not."""
    stored(User(name="Ann"))
    plain = db.session.execute(select(User.id, User.name)).one()
    assert codec.prepare(keep, (plain,), {}).attempt()[1][0] is plain
    rows = db.session.execute(select(User)).one()
    assert "pass these themselves" in refused_here(codec, rows).why
    with pytest.raises(
        ArgumentError, match=r"args\[0\] \(Row\) cannot leave this process: pass tu"
    ):
        codec.encode_arguments((plain,), {})


def refused_here(codec: Codec, *args: Any) -> ArgumentError:
    with pytest.raises(ArgumentError) as caught:
        codec.prepare(keep, args, {})
    return caught.value


def test_without_flask_sqlalchemy_rows_are_refused(codec: Codec) -> None:
    """There is no session that the task could take them from; a reference of one's own works."""

    class Plain(DeclarativeBase):
        pass

    class Item(Plain):
        __tablename__ = "item"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = create_engine("sqlite://")
    Plain.metadata.create_all(engine)
    with Flask(__name__).app_context(), Session(engine) as session:
        item = Item(id=3)
        session.add(item)
        session.commit()
        error = refused(codec, item)
        assert error.path == "args[0]"
        assert "bg.reference(Item, dump=…, load=…)" in error.why
        codec.reference(
            Item, dump=lambda item: item.id, load=lambda key: session.get_one(Item, key)
        )
        assert codec.prepare(keep, (item,), {}).attempt()[1][0] is item
        assert codec.decode(codec.encode(item)) is item
    engine.dispose()


def test_models_of_a_factory_are_found(codec: Codec, tmp_path: Any) -> None:
    """A model that is defined inside a function is known to its own registry."""

    class Base(DeclarativeBase):
        pass

    own = SQLAlchemy(model_class=Base)

    class Local(own.Model):
        id: Mapped[int] = mapped_column(primary_key=True)

    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///own.sqlite3"
    own.init_app(app)
    with app.app_context():
        own.create_all()
        row = Local(id=4)
        own.session.add(row)
        own.session.commit()
        text = codec.encode(row)
        assert codec.decode(text) is row
        assert codec.plain(text) == "<Local 4>"
        own.session.remove()
        own.engine.dispose()
