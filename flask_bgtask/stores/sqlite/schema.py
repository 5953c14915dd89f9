"""Tables, indexes and triggers of the store's file, and how an older file becomes a newer one.

What is here was chosen for the price of an insert (see *Speed* in the design notes): beside the
key there is one index on the id, and partial ones, which cost nothing for rows that they leave
out. Their conditions compare with literals, because SQLite uses a partial index only where it
can see that the query implies it, and without ``IN``, which costs a table for each insert.
"""

from __future__ import annotations

from ...job import COLUMNS

#: Says in the file's header whose it is: "BgTa".
APPLICATION_ID = 0x42675461

#: Version of the schema below.
VERSION = 1

#: A row whose job is over. The four states of ``FINISHED``, for SQL.
FINISHED = "(state <> 'queued' AND state <> 'scheduled' AND state <> 'running')"

#: A finished row whose thread has not come back: it keeps its keys.
LATE = "holds = 1 AND state <> 'queued' AND state <> 'scheduled' AND state <> 'running'"

#: A row that only the process that submitted it may run, and that waits.
VOLATILE = "durable = 0 AND (state = 'queued' OR state = 'scheduled')"

#: A row that holds a key; it may not be deleted, even if finished.
KEYED = '(holds = 1 AND ("unique" IS NOT NULL OR serial IS NOT NULL))'

#: Every column but ``seq``, quoted.
NAMES = tuple(f'"{name}"' for name in COLUMNS if name != "seq")

# Short columns first: a row's long texts lie on pages that are read only when asked for.
_JOB = """
CREATE TABLE job (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    app TEXT NOT NULL,
    state TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    durable INTEGER NOT NULL,
    holds INTEGER NOT NULL DEFAULT 1,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    drained INTEGER NOT NULL DEFAULT 0,
    on_crash TEXT NOT NULL,
    created_at REAL NOT NULL,
    run_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    expires_at REAL,
    result_ttl REAL,
    owner TEXT,
    label TEXT,
    "unique" TEXT,
    serial TEXT,
    home TEXT,
    process TEXT,
    worker TEXT,
    token TEXT,
    signature TEXT,
    progress TEXT,
    options TEXT,
    carried TEXT,
    arguments TEXT,
    error TEXT,
    result TEXT,
    memo TEXT,
    logs TEXT
) STRICT
"""

_INDEXES = (
    "CREATE UNIQUE INDEX job_id ON job (id)",
    """CREATE INDEX job_live ON job (app, state, priority DESC, seq, durable, home)
       WHERE state = 'queued' OR state = 'running'""",
    'CREATE UNIQUE INDEX job_unique ON job (app, "unique") '
    'WHERE holds = 1 AND "unique" IS NOT NULL',
    "CREATE INDEX job_serial ON job (app, serial, seq) WHERE holds = 1 AND serial IS NOT NULL",
    "CREATE INDEX job_scheduled ON job (app, run_at, durable, home) WHERE state = 'scheduled'",
    "CREATE INDEX job_expires ON job (app, expires_at) WHERE expires_at IS NOT NULL",
    f"CREATE INDEX job_late ON job (process) WHERE {LATE}",
    f"CREATE INDEX job_volatile ON job (home) WHERE {VOLATILE}",
    """CREATE INDEX job_failed ON job (app, state, seq)
       WHERE state = 'failed' OR state = 'cancelled' OR state = 'lost'""",
)

# How many finished rows there are, because counting 100,000 takes milliseconds. The triggers
# fire only when a job ends, comes back or goes, never on the insert of one that waits or runs.
_TALLY = """
CREATE TABLE tally (
    app TEXT NOT NULL,
    state TEXT NOT NULL,
    task TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (app, state, task)
) STRICT, WITHOUT ROWID
"""

_COUNT = """INSERT INTO tally VALUES (NEW.app, NEW.state, NEW.task, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;"""
_UNCOUNT = """UPDATE tally SET jobs = jobs - 1
    WHERE app = OLD.app AND state = OLD.state AND task = OLD.task;"""


def _finished(row: str) -> str:
    return FINISHED.replace("state", f"{row}.state")


_TALLY_TRIGGERS = (
    f"""CREATE TRIGGER job_ended AFTER UPDATE OF state ON job
        WHEN NEW.state <> OLD.state AND {_finished("NEW")} BEGIN {_COUNT} END""",
    f"""CREATE TRIGGER job_came_back AFTER UPDATE OF state ON job
        WHEN NEW.state <> OLD.state AND {_finished("OLD")} BEGIN {_UNCOUNT} END""",
    f"""CREATE TRIGGER job_deleted AFTER DELETE ON job
        WHEN {_finished("OLD")} BEGIN {_UNCOUNT} END""",
)

# Rows that are finished when they are written come through this view, so that a plain insert
# needs no trigger that asks whether it has to count.
_ENDED = (
    f"CREATE VIEW ended AS SELECT {', '.join(NAMES)} FROM job",
    f"""CREATE TRIGGER ended_insert INSTEAD OF INSERT ON ended BEGIN
        INSERT INTO job ({", ".join(NAMES)}) VALUES ({", ".join(f"NEW.{n}" for n in NAMES)});
        {_COUNT} END""",
)

_SCHEDULE = """
CREATE TABLE schedule (
    app TEXT NOT NULL,
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    spec TEXT NOT NULL,
    last_tick REAL,
    next_tick REAL,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID
"""

#: What the abort of a late tick says.
TICKED = "this tick was dealt with"

#: Columns of the view ``tick`` that come before those of the job.
TICK_NAMES = ("tick_app", "tick_id", "tick_task", "spec", "last_tick", "next_tick", "last_seen")

# A tick's job and the note of it are written by one statement, an insert into this view: a
# process that is stopped between two would keep the write lock from all others.
_TICK = (
    f"""CREATE VIEW tick AS SELECT {", ".join(f"NULL AS {n}" for n in TICK_NAMES)},
        {", ".join(NAMES)} FROM job""",
    f"""CREATE TRIGGER tick_insert INSTEAD OF INSERT ON tick BEGIN
        SELECT RAISE(ABORT, '{TICKED}') WHERE NEW.last_seen IS NOT
            (SELECT last_tick FROM schedule WHERE app = NEW.tick_app AND id = NEW.tick_id);
        INSERT INTO schedule VALUES
            (NEW.tick_app, NEW.tick_id, NEW.tick_task, NEW.spec, NEW.last_tick, NEW.next_tick)
            ON CONFLICT DO UPDATE SET task = excluded.task, spec = excluded.spec,
                last_tick = excluded.last_tick, next_tick = excluded.next_tick;
        INSERT INTO job ({", ".join(NAMES)}) SELECT {", ".join(f"NEW.{n}" for n in NAMES)}
            WHERE NEW.id IS NOT NULL; END""",
)

_PAUSED = """
CREATE TABLE paused (
    app TEXT NOT NULL,
    queue TEXT NOT NULL,
    PRIMARY KEY (app, queue)
) STRICT, WITHOUT ROWID
"""

#: ``MIGRATIONS[n]`` makes version ``n + 1`` out of version ``n``.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (_JOB, *_INDEXES, _TALLY, *_TALLY_TRIGGERS, *_ENDED, _SCHEDULE, *_TICK, _PAUSED),
)
