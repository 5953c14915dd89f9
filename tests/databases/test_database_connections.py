"""A task gets a usable connection, whatever the server did to the idle ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import sqlalchemy as sa
from database_servers import Server
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool, StaticPool

from flask_bgtask import databases

InThread = Callable[..., Any]


def as_task(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a function as the runner calls a task's."""
    with databases.usable_connections():
        return fn(*args)


def select_one(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT 1")).scalar_one())


@contextmanager
def counted_pings(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Note each ping that the engine's dialect sends."""
    pings: list[Any] = []
    ping = engine.dialect.do_ping

    def counting(connection: Any) -> bool:
        pings.append(connection)
        return ping(connection)

    with monkeypatch.context() as patch:
        patch.setattr(engine.dialect, "do_ping", counting)
        yield pings


def test_connections_that_the_server_dropped_are_replaced(
    server: Server, in_thread: InThread
) -> None:
    """A pool full of dead connections serves a task at once, more often than SQLAlchemy retries."""
    engine = server.engine(pool_size=5)
    server.kill(server.fill_pool(engine, 5))

    def task() -> list[int]:
        connections = [engine.connect() for _ in range(5)]
        answers = [
            connection.execute(sa.text("SELECT 1")).scalar_one() for connection in connections
        ]
        for connection in connections:
            connection.close()
        return answers

    assert in_thread(as_task, task) == [1] * 5


def test_a_raw_connection_is_usable_too(server: Server, in_thread: InThread) -> None:
    """What a task takes with ``raw_connection()`` is checked like any other."""
    engine = server.engine()
    server.kill(server.fill_pool(engine, 1))

    def task() -> Any:
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            return next(iter(cursor.fetchall()))[0]
        finally:
            connection.close()

    assert in_thread(as_task, task) == 1


def test_an_idle_timeout_of_the_server_is_survived(mysql: Server, in_thread: InThread) -> None:
    """ "MySQL server has gone away": the server's own ``wait_timeout`` ends an idle connection."""
    engine = mysql.engine(connect_args={"init_command": "SET SESSION wait_timeout = 1"})
    mysql.wait_until_gone(mysql.fill_pool(engine, 2))

    assert in_thread(as_task, select_one, engine) == 1


def test_other_threads_are_left_alone(
    server: Server, in_thread: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web request's connection is not asked for a sign of life: not one round trip more."""
    engine = server.engine()
    dead = server.fill_pool(engine, 1)
    as_task(int)
    with counted_pings(engine, monkeypatch) as pings:
        assert in_thread(select_one, engine) == 1
        assert pings == []
        assert in_thread(as_task, select_one, engine) == 1
        assert len(pings) == 1
    server.kill(dead)
    with pytest.raises(sa.exc.OperationalError) as caught:
        in_thread(select_one, engine)
    assert caught.value.connection_invalidated


def test_a_pool_that_pings_by_itself_is_not_asked_twice(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``pool_pre_ping`` SQLAlchemy's own check is the only one."""
    engine = server.engine(pool_pre_ping=True)
    server.fill_pool(engine, 1)
    with counted_pings(engine, monkeypatch) as pings:
        assert as_task(select_one, engine) == 1
        assert len(pings) == 1


def test_every_engine_is_looked_after(
    mysql: Server, postgresql: Server, in_thread: InThread
) -> None:
    """A task that uses several databases gets usable connections from all."""
    engines = [mysql.engine(), postgresql.engine(), postgresql.engine(pool_size=1)]
    servers = [mysql, postgresql, postgresql]
    for engine, server in zip(engines, servers, strict=True):
        server.kill(server.fill_pool(engine, 1))

    assert in_thread(as_task, lambda: [select_one(engine) for engine in engines]) == [1, 1, 1]


def test_an_engine_that_was_disposed_of_is_looked_after(server: Server) -> None:
    """``Engine.dispose()`` makes a new pool; it is watched like the old one."""
    engine = server.engine()
    assert as_task(select_one, engine) == 1
    engine.dispose()
    server.kill(server.fill_pool(engine, 1))

    assert as_task(select_one, engine) == 1


def test_a_connection_lost_within_the_task_is_replaced_after_rollback(server: Server) -> None:
    """The statement that met the loss was sent once; after ``rollback()`` the task can go on."""
    engine = server.engine()
    sent: list[str] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    def task() -> int:
        with Session(engine) as session:
            server.kill([server.id_of(session)])
            with pytest.raises(sa.exc.OperationalError) as caught:
                session.execute(sa.text("SELECT 42"))
            assert caught.value.connection_invalidated
            session.rollback()
            return int(session.execute(sa.text("SELECT 43")).scalar_one())

    assert as_task(task) == 43
    assert sent.count("SELECT 42") == 1
    assert as_task(select_one, engine) == 1


def test_a_server_that_is_down_is_reported_as_such() -> None:
    """No new connection can be had: the task sees the driver's error, not one about pools."""
    engine = sa.create_engine(
        "mysql+pymysql://root@127.0.0.1:1/test", connect_args={"connect_timeout": 2}
    )
    with pytest.raises(sa.exc.OperationalError, match="Can't connect"):
        as_task(select_one, engine)


def test_a_server_that_went_away_for_good_is_reported_as_such(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooled connection is dead and no other can be made: again the driver's own error."""
    engine = server.engine()
    server.kill(server.fill_pool(engine, 1))

    @sa.event.listens_for(engine, "do_connect")
    def refuse(dialect: Any, *_: Any) -> None:
        raise dialect.loaded_dbapi.OperationalError("nobody there")

    with pytest.raises(sa.exc.OperationalError, match="nobody there"):
        as_task(select_one, engine)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("pool", [NullPool, QueuePool, SingletonThreadPool, StaticPool])
def test_a_server_is_reached_through_every_kind_of_pool(
    server: Server, pool: type[sa.Pool], in_thread: InThread
) -> None:
    """Whatever pool the user chose, the task's connection works."""
    engine = server.engine(poolclass=pool)

    def task() -> int:
        with engine.connect() as connection:
            number = server.id_of(connection)
        server.kill([number]) if pool is not NullPool else server.wait_until_gone([number])
        return select_one(engine)

    assert in_thread(as_task, task) == 1


@pytest.mark.parametrize("pool", [QueuePool, SingletonThreadPool, StaticPool])
def test_a_database_in_memory_is_kept(pool: type[sa.Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking another connection would lose an SQLite database in memory: none is even asked."""
    engine = sa.create_engine("sqlite://", poolclass=pool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (number INTEGER)"))

    def task() -> list[int]:
        with engine.connect() as connection:
            return list(connection.execute(sa.text("SELECT count(*) FROM kept")).scalars())

    with counted_pings(engine, monkeypatch) as pings:
        assert as_task(task) == [0]
    assert pings == []
    engine.dispose()


def test_an_error_that_is_no_disconnect_keeps_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping may fail for other reasons; the task's own statement decides then."""
    engine = server.engine()
    [number] = server.fill_pool(engine, 1)

    def refuse(_: Any) -> bool:
        raise engine.dialect.loaded_dbapi.ProgrammingError("a ping is not allowed here")

    monkeypatch.setattr(engine.dialect, "do_ping", refuse)
    with databases.usable_connections(), engine.connect() as connection:
        assert server.id_of(connection) == number


def test_a_pool_without_an_engine_is_left_alone() -> None:
    """A pool made by hand knows no dialect; nothing is asked, nothing breaks."""
    pool = QueuePool(cast(Any, object))
    with databases.usable_connections():
        connection = pool.connect()
        assert connection.dbapi_connection is not None
    connection.detach()


def test_an_async_engine_is_looked_after(postgresql: Server, in_thread: InThread) -> None:
    """A coroutine that runs as a task gets usable connections from an async engine."""

    async def task() -> int:
        engine = create_async_engine(postgresql.url)
        try:
            async with engine.connect() as connection:
                number = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
            await asyncio.to_thread(postgresql.kill, [number])
            return await select_async(engine)
        finally:
            await engine.dispose()

    assert in_thread(as_task, lambda: asyncio.run(task())) == 1


async def select_async(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(sa.text("SELECT 1"))).scalar_one())


def test_a_thread_of_the_task_is_looked_after(server: Server) -> None:
    """A thread that a coroutine starts with ``to_thread`` works for the task, and is treated so."""
    engine = server.engine()
    server.kill(server.fill_pool(engine, 1))

    async def task() -> int:
        return await asyncio.to_thread(select_one, engine)

    assert as_task(lambda: asyncio.run(task())) == 1
