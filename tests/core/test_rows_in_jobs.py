"""Database rows as arguments: the task gets the same rows from a session of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask
from flask_login import LoginManager, UserMixin, current_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from flask_bgtask import ArgumentError, BackgroundTasks, current_job

Apps = Callable[..., Flask]


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Author(UserMixin, db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author")

    def rename(self, name: str) -> str:
        """A method that a job may call: it belongs to the row of the task's session."""
        before, self.name = self.name, name
        db.session.commit()
        return before


class Book(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest.fixture
def library(make_app: Apps, bg: BackgroundTasks, tmp_path: Any) -> Iterator[Flask]:
    """An app with a database file, one author and two books; inside of its context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'library.sqlite3'}")
    db.init_app(app)
    with app.app_context():
        db.create_all()
        ann = Author(name="Ann")
        db.session.add_all([ann, Book(title="One", author=ann), Book(title="Two", author=ann)])
        db.session.commit()
        yield app
        # Its connections are closed when all that runs has ended.
        bg.shutdown()
        db.session.remove()
        db.engine.dispose()


def the_author() -> Author:
    return db.session.execute(db.select(Author)).scalar_one()


def examined(author: Author) -> dict[str, Any]:
    """What a task finds about the row it was given."""
    return {
        "own session": inspect(author).session is db.session(),
        "object": id(author),
        "name": author.name,
        "books": sorted(book.title for book in author.books),
    }


@pytest.mark.parametrize("durable", [False, True])
def test_a_row_is_loaded_in_the_task_s_session(
    library: Flask, bg: BackgroundTasks, durable: bool
) -> None:
    """Another object with the same identity, whose relations can be loaded."""
    author = the_author()
    handle = bg.using(durable=durable).submit(examined, author)
    found = handle.result(PATIENCE)
    assert found.pop("object") != id(author)
    assert found == {"own session": True, "name": "Ann", "books": ["One", "Two"]}


@pytest.mark.parametrize("durable", [False, True])
def test_the_task_sees_what_is_committed_by_then(
    make_app: Apps, library: Flask, bg: BackgroundTasks, durable: bool
) -> None:
    """A reference is no copy: what was changed after the submit counts."""
    author, gate = the_author(), Gate()
    for _ in range(library.config["BGTASK_WORKERS"]):
        bg.submit(gate)
    handle = bg.using(durable=durable).submit(examined, author)
    author.name = "Bea"
    db.session.commit()
    gate.open()
    assert handle.result(PATIENCE)["name"] == "Bea"


def test_what_the_task_changes_is_its_own(library: Flask, bg: BackgroundTasks) -> None:
    """It has to commit; what it does not commit is gone, and the submitter's session stays."""
    author = the_author()

    def change(given: Author) -> None:
        given.name = "never committed"

    bg.submit(change, author).result(PATIENCE)
    db.session.refresh(author)
    assert author.name == "Ann"
    assert bg.submit(author.rename, "Bea").result(PATIENCE) == "Ann"
    db.session.refresh(author)
    assert author.name == "Bea"


def test_the_session_is_given_back(library: Flask, bg: BackgroundTasks) -> None:
    """Also after a failure: no connection stays in use, and the next job starts clean."""

    def spoil(given: Author) -> None:
        given.name = None  # type: ignore[assignment]
        db.session.flush()

    author = the_author()
    for _ in range(8):
        assert bg.submit(spoil, author).exception(PATIENCE) is not None
    db.session.rollback()
    assert bg.submit(examined, the_author()).result(PATIENCE)["name"] == "Ann"
    db.session.rollback()
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_row_as_result_is_of_the_reader_s_session(library: Flask, bg: BackgroundTasks) -> None:
    """As an argument is of the task's: its relations can be loaded, and the session stays."""
    handle = bg.submit(the_author)
    handle.result(PATIENCE)
    new = Author(name="Bea")
    db.session.add(new)
    found = bg.get(handle.id).result
    assert inspect(found).session is db.session()
    assert sorted(book.title for book in found.books) == ["One", "Two"]
    assert new in db.session


@pytest.mark.parametrize("durable", [False, True])
def test_rows_at_any_depth(library: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """In containers, in relations, and one row in two places stays one object."""
    task = bg.task(
        lambda table, *, rows: [
            table["a"][0].name,
            [row.title for row in rows],
            table["a"][0] is table["b"],
        ],
        name="titles",
        durable=durable,
    )
    author = the_author()
    handle = task.submit({"a": [author], "b": author}, rows=author.books)
    assert handle.result(PATIENCE) == ["Ann", ["One", "Two"], True]
    assert author.books[0] in db.session  # the caller's own rows stay where they are


@pytest.mark.parametrize("durable", [False, True])
def test_new_and_changed_rows_are_refused(
    library: Flask, bg: BackgroundTasks, durable: bool
) -> None:
    """The task could not find them as they are here; nothing is queued."""
    submit = bg.using(durable=durable).submit
    new, author = Author(name="Neu"), the_author()
    for why in ("is new", "is new"):
        with pytest.raises(ArgumentError, match=rf"args\[0\]\['row'\] \(Author\) {why}.*commit"):
            submit(examined, {"row": new})
        db.session.add(new)
    db.session.flush()
    with pytest.raises(ArgumentError, match=r"not committed: commit first"):
        submit(examined, new)
    db.session.rollback()
    author.name = "Bea"
    with pytest.raises(ArgumentError, match="using\\(after_commit=True\\)"):
        submit(examined, author)
    with pytest.raises(ArgumentError, match=r"fn\.__self__"):
        submit(author.rename, "Cis")
    db.session.rollback()
    db.session.delete(author.books[0])
    with pytest.raises(ArgumentError, match="is deleted"):
        submit(examined, author.books[0])
    db.session.rollback()
    assert bg.jobs().items == []


@pytest.mark.parametrize("durable", [False, True])
def test_a_row_that_is_gone(library: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """The job fails with a ``LookupError`` that names the row."""
    book, gate = the_author().books[0], Gate()
    for _ in range(library.config["BGTASK_WORKERS"]):
        bg.submit(gate)
    handle = bg.using(durable=durable).submit(examined, book)
    number = book.id
    db.session.delete(book)
    db.session.commit()
    gate.open()
    with pytest.raises(LookupError, match=f"Book {number}"):
        handle.result(PATIENCE)
    assert handle.job.state == "failed"


def test_each_attempt_has_the_row_anew(library: Flask, bg: BackgroundTasks) -> None:
    """What an attempt left in its session does not reach the next."""

    def flaky(author: Author) -> str:
        before, author.name = author.name, "spoiled"
        if current_job.attempt < 3:
            raise ValueError
        return before

    handle = bg.using(retries=2, backoff=0).submit(flaky, the_author())
    assert handle.result(PATIENCE) == "Ann"


def test_the_session_itself_is_refused(library: Flask, bg: BackgroundTasks) -> None:
    """The proxy, the session behind it, a query and a result."""
    for given in (db.session, db.session(), Author.query, db.session.scalars(db.select(Author))):
        with pytest.raises(ArgumentError, match=r"args\[0\]"):
            bg.submit(examined, given)
    with pytest.raises(ArgumentError, match=r"fn\.__self__"):
        bg.submit(db.session.commit)
    assert bg.jobs().items == []


def test_a_logged_in_user_that_is_a_row(library: Flask, bg: BackgroundTasks) -> None:
    """``current_user`` is unwrapped to its row, and that travels by reference."""
    manager = LoginManager(library)

    @manager.request_loader
    def load(_: Any) -> Author:
        return the_author()

    with library.test_request_context():
        handle = bg.submit(examined, current_user)
        assert handle.result(PATIENCE)["own session"] is True
        assert handle.job.owner == "1"
