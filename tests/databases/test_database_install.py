"""When SQLAlchemy is watched: once it is there, whichever came first, and never twice."""

from __future__ import annotations

import subprocess
import sys
import timeit

from flask_bgtask import databases


def run(script: str) -> str:
    """What a script prints in an interpreter of its own."""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


COUNT = """
from flask_bgtask import databases
import sys

def watch(engine):
    engine.pings = 0
    def ping(connection):
        engine.pings += 1
        return True
    engine.dialect.name, engine.dialect.do_ping = "other", ping
    return engine

def use(engine):
    with databases.usable_connections():
        engine.connect().close()
"""


def test_sqlalchemy_is_never_imported() -> None:
    """An application without a database pays for none."""
    script = COUNT + "databases.install(); use\nprint('sqlalchemy' in sys.modules)"
    assert run(script) == "False"


def test_it_may_be_imported_after_the_first_task() -> None:
    """The check is repeated for each task until there is something to watch."""
    script = COUNT + (
        "with databases.usable_connections(): pass\n"
        "import sqlalchemy as sa\n"
        "engine = watch(sa.create_engine('sqlite://'))\n"
        "use(engine); use(engine)\n"
        "print(engine.pings)"
    )
    assert run(script) == "2"


def test_engines_that_exist_already_are_reached() -> None:
    """A pool that handed out connections before the first task is watched from then on."""
    script = COUNT + (
        "import sqlalchemy as sa\n"
        "from sqlalchemy import pool\n"
        "kinds = [pool.QueuePool, pool.StaticPool, pool.SingletonThreadPool, pool.NullPool]\n"
        "engines = [watch(sa.create_engine('sqlite://', poolclass=kind)) for kind in kinds]\n"
        "for engine in engines: engine.connect().close()\n"
        "for engine in engines: use(engine)\n"
        "print([engine.pings for engine in engines])"
    )
    assert run(script) == "[1, 1, 1, 1]"


def test_threads_that_begin_together_make_one_listener() -> None:
    """However many first tasks there are, a connection is asked once."""
    script = COUNT + (
        "import sqlalchemy as sa, threading\n"
        "sys.setswitchinterval(1e-6)\n"
        "barrier = threading.Barrier(8)\n"
        "def first():\n"
        "    barrier.wait()\n"
        "    databases.install()\n"
        "threads = [threading.Thread(target=first) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "engine = watch(sa.create_engine('sqlite://'))\n"
        "use(engine)\n"
        "print(engine.pings)"
    )
    assert run(script) == "1"


def test_the_first_in_line_is_the_check() -> None:
    """A listener of the application finds a connection that was checked already."""
    script = COUNT + (
        "import sqlalchemy as sa\n"
        "from sqlalchemy.pool import Pool\n"
        "seen = []\n"
        "sa.event.listen(Pool, 'checkout', lambda *_: seen.append(engine.pings))\n"
        "engine = watch(sa.create_engine('sqlite://'))\n"
        "use(engine)\n"
        "print(seen)"
    )
    assert run(script) == "[1]"


def test_a_job_without_a_database_pays_next_to_nothing() -> None:
    """Entering and leaving costs a job well under the 20 µs that would show in a benchmark."""

    def job() -> None:
        with databases.usable_connections():
            pass

    job()
    assert min(timeit.repeat(job, number=1000, repeat=5)) / 1000 < 20e-6
