"""Configuration: every wrong value is told at ``init_app``, and what each key does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from core_helpers import PATIENCE, Gate
from flask import Flask

from flask_bgtask import BackgroundTasks, BgTaskError, ConfigError, QueueFull
from flask_bgtask.config import Settings

Apps = Callable[..., Flask]

WRONG: dict[str, list[Any]] = {
    "STORE": [
        *("redis", "redis://localhost", "", None, 3, "SQLITE", True, "postgresql://"),
        *("sqlite://", "sqlite:///", "sqlite://jobs.db", "sqlite:///:memory:", "sqlite+x:///a"),
    ],
    "ENGINE": ["thread", "", None, 3, "Threads"],
    "WORKERS": [0, -1, "4", 2.0, None, True],
    "QUEUES": [None, ["mail"], "mail=2", {"mail": "2"}, {"mail": -1}, {3: 2}, {"": 1}, {"a b": 1}],
    "RUN_WORKERS": ["no", "True", 0, 1, None],
    "MAX_QUEUED": [0, -1, "10", None, 1.5, True],
    "DRAIN_TIMEOUT": [-1, "10", None, float("nan"), True, timedelta(seconds=-1)],
    "RESULT_TTL": [-1, "7 days", None, float("inf"), True],
    "URL_PREFIX": ["", "/", "bgtasks", "/bgtasks/", "/a b", 3, "//a", "/<x>", False],
    "SQLITE_SYNCHRONOUS": ["full", 2, None, "", True],
    "STREAMS": [-1, "2", None, 1.0, True],
    "MASK": ["password", None, 5, [""], ["-_"], [3], ["a", None]],
    "MAIL_TIMEOUT": [0, -1, "30", None, True],
    "MAIL_RETRIES": [-1, "8", None, 1.5],
    "MAIL_VERIFY": ["no", 0, None, "/etc/ssl/ca.pem"],
    "IMMEDIATE": ["yes", 1, None],
}

#: Words of which the message has at least one: they say what is allowed.
ALLOWED = {
    "STORE": "'sqlite', 'memory' or a URL",
    "ENGINE": "'threads', 'huey', 'celery'",
    "WORKERS": "1 or more",
    "QUEUES": "{queue name: threads",
    "RUN_WORKERS": "True or False",
    "MAX_QUEUED": "1 or more",
    "DRAIN_TIMEOUT": "0 or more",
    "RESULT_TTL": "0 or more",
    "URL_PREFIX": "'/bgtasks'",
    "SQLITE_SYNCHRONOUS": "'NORMAL', 'FULL'",
    "STREAMS": "0 or more",
    "MASK": "a list of argument names",
    "MAIL_TIMEOUT": "more than 0",
    "MAIL_RETRIES": "0 or more",
    "MAIL_VERIFY": "True or False",
    "IMMEDIATE": "True or False",
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_told(bg: BackgroundTasks, name: str, value: Any) -> None:
    """``ConfigError`` names the key, shows the value and says what is allowed."""
    app = Flask("wrong")
    key = f"BGTASK_{name}"
    app.config[key] = value
    with pytest.raises(ConfigError) as caught:
        bg.init_app(app)
    error = caught.value
    assert isinstance(error, BgTaskError)
    assert (error.key, error.value) == (key, value)
    assert str(error).startswith(f"{key} = {value!r}: ")
    assert ALLOWED[name] in error.allowed
    assert error.allowed.endswith("expected")
    # Nothing is left half done: with the value put right it works.
    del app.config[key]
    bg.init_app(app)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BGTASK_ENGINE", "huey"),
        ("BGTASK_ENGINE", "celery"),
        ("BGTASK_STORE", "postgresql://localhost/jobs"),
        ("BGTASK_STORE", "mysql+pymysql://localhost/jobs"),
    ],
)
def test_what_this_version_does_not_have(bg: BackgroundTasks, key: str, value: str) -> None:
    """It is told at ``init_app`` too, not at each submit of a server that runs."""
    app = Flask("early")
    app.config[key] = value
    with pytest.raises(ConfigError, match="this version has") as caught:
        bg.init_app(app)
    assert (caught.value.key, caught.value.value) == (key, value)
    assert not app.extensions


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:geheim@h/d", "postgresql://u:•••@h/d"),
        ("postgresql://u:%67eheim%40@h/d", "postgresql://u:•••@h/d"),
        ("postgresql://u@corp:ge@geheim/x@h:5432/d", "postgresql://u@corp:•••@h:5432/d"),
        ("postgresql://:geheim@h/d", "postgresql://:•••@h/d"),
        ("mysql+pymysql://h/d?user=u&Password=geheim&x=1", "?user=u&Password=•••&x=1"),
        ("mysql+pymysql://h/d?p%61sswd=geheim", "?p%61sswd=•••"),
        ("host=h password=geheim", "host=h password=•••"),
        ({"url": "redis://u:geheim@h"}, "redis://u:•••@h"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
    ],
)
def test_a_password_is_not_told(bg: BackgroundTasks, url: Any, shown: str) -> None:
    """An error is printed and logged: it has dots for the password of a URL."""
    app = Flask("app")
    app.config["BGTASK_STORE"] = url
    with pytest.raises(ConfigError) as caught:
        bg.init_app(app)
    for text in (str(caught.value), repr(caught.value), caught.value.format_message()):
        assert "geheim" not in text
        assert "%67" not in text
        assert shown in text
    assert caught.value.value == url


def test_every_key_is_tested() -> None:
    """A setting that is added gets its wrong values here."""
    keys = {name.upper() for name in Settings.__dataclass_fields__}
    assert keys == set(WRONG) == set(ALLOWED)


def test_the_defaults_of_the_contract(bg: BackgroundTasks) -> None:
    """They are put into ``app.config``, where other code can read them."""
    app = Flask("defaults")
    bg.init_app(app)
    found = {key: value for key, value in app.config.items() if key.startswith("BGTASK_")}
    assert "BGTASK_STORE" not in found  # which is chosen at first use
    assert "password" in found.pop("BGTASK_MASK")
    assert {key: dict(v) if key == "BGTASK_QUEUES" else v for key, v in found.items()} == {
        "BGTASK_ENGINE": "threads",
        "BGTASK_WORKERS": 4,
        "BGTASK_QUEUES": {},
        "BGTASK_RUN_WORKERS": True,
        "BGTASK_MAX_QUEUED": 10_000,
        "BGTASK_DRAIN_TIMEOUT": 10,
        "BGTASK_RESULT_TTL": 7 * 86400,
        "BGTASK_URL_PREFIX": "/bgtasks",
        "BGTASK_SQLITE_SYNCHRONOUS": "NORMAL",
        "BGTASK_STREAMS": 2,
        "BGTASK_MAIL_TIMEOUT": 30,
        "BGTASK_MAIL_RETRIES": 8,
        "BGTASK_MAIL_VERIFY": True,
        "BGTASK_IMMEDIATE": False,
    }


def test_durations_may_be_timedeltas(bg: BackgroundTasks) -> None:
    """As everywhere."""
    app = Flask("durations")
    app.config.update(
        BGTASK_DRAIN_TIMEOUT=timedelta(0),
        BGTASK_RESULT_TTL=timedelta(days=1),
        BGTASK_MAIL_TIMEOUT=timedelta(seconds=5),
    )
    bg.init_app(app)
    settings = app.extensions["bgtask"].settings
    assert (settings.drain_timeout, settings.result_ttl, settings.mail_timeout) == (0, 86400, 5)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("BGTASK_WORKER", "did you mean BGTASK_WORKERS?"),
        ("BGTASK_MAXQUEUED", "did you mean BGTASK_MAX_QUEUED?"),
        ("BGTASK_XYZZY", ""),
    ],
)
def test_an_unknown_key_is_warned_of(bg: BackgroundTasks, caplog: Any, key: str, hint: str) -> None:
    """A slip in a key would silently mean the default."""
    app = Flask("unknown")
    app.config.update({key: 3, "OTHER_KEY": 1})
    with caplog.at_level(logging.WARNING):
        bg.init_app(app)
    [record] = caplog.records
    assert record.name == app.logger.name
    assert key in record.getMessage()
    assert record.getMessage().endswith(hint or key)


# init_app.


def test_a_second_init_app_is_an_error(app: Flask, bg: BackgroundTasks) -> None:
    """On the same app, whether by the same object or by another; the first one goes on."""
    for extension in (bg, BackgroundTasks()):
        with pytest.raises(RuntimeError, match="initialised on 'tests' already"):
            extension.init_app(app)
    with app.app_context():
        assert bg.submit(int, "3").result(PATIENCE) == 3


def test_an_app_that_was_not_initialised(app: Flask, bg: BackgroundTasks) -> None:
    """The message says what to call, and where."""
    with Flask("forgotten").app_context():
        for use in (lambda: bg.submit(int), lambda: bg.get("0" * 32), lambda: bg.jobs()):
            with pytest.raises(RuntimeError, match=r"'forgotten': call bg\.init_app\(app\)"):
                use()


def test_start_of_an_app_that_was_not_initialised(bg: BackgroundTasks) -> None:
    """The same message, as there may be no context yet."""
    with pytest.raises(RuntimeError, match=r"'forgotten': call bg\.init_app\(app\)"):
        bg.start(Flask("forgotten"))


def test_an_app_of_another_object(app: Flask, bg: BackgroundTasks) -> None:
    """Each knows its own tasks and carriers alone: it is told at once, and nothing is queued."""
    other = BackgroundTasks()
    task = other.task(int, name="int")
    uses = [task.submit, lambda: other.submit(int), other.jobs, lambda: other.start(app)]
    with app.app_context():
        for use in uses:
            with pytest.raises(RuntimeError, match=r"'tests'.* another BackgroundTasks object"):
                use()
        assert bg.jobs().items == []


def test_with_the_app_at_once() -> None:
    """``BackgroundTasks(app)`` is the short form."""
    app = Flask("short")
    app.testing = True
    bg = BackgroundTasks(app)
    with app.app_context():
        assert bg.submit(int, "3").result(PATIENCE) == 3
    bg.shutdown()


def test_init_app_starts_and_opens_nothing(bg: BackgroundTasks, tmp_path: Path) -> None:
    """No thread (a fixture looks), no file, no folder, before the first submit."""
    app = Flask("quiet", instance_path=str(tmp_path / "instance"), root_path=str(tmp_path))
    bg.init_app(app)
    with app.app_context():
        pass
    assert list(tmp_path.iterdir()) == []
    runtime = app.extensions["bgtask"]
    assert not runtime.has_store
    assert not runtime.has_engine


# Which store.


def test_the_store_is_chosen_at_first_use(bg: BackgroundTasks, tmp_path: Path) -> None:
    """``TESTING`` may be set after ``init_app``, as a test's fixture does."""
    app = Flask("late", instance_path=str(tmp_path / "instance"))
    bg.init_app(app)
    app.config["TESTING"] = True
    with app.app_context():
        bg.submit(int).result(PATIENCE)
    assert list(tmp_path.iterdir()) == []
    assert not app.extensions["bgtask"].store.shared


def test_the_default_store_is_a_file(bg: BackgroundTasks, tmp_path: Path) -> None:
    """In the instance folder, which is made."""
    app = Flask("file", instance_path=str(tmp_path / "instance"))
    bg.init_app(app)
    with app.app_context():
        assert bg.submit(int, "3").result(PATIENCE) == 3
    assert (tmp_path / "instance" / "bgtask.sqlite3").is_file()


def test_a_store_that_is_set_counts_in_tests_too(bg: BackgroundTasks, tmp_path: Path) -> None:
    """The default depends on ``TESTING``, a setting does not; it may be set late, too."""
    app = Flask("set", instance_path=str(tmp_path / "instance"))
    bg.init_app(app)
    app.config.update(TESTING=True, BGTASK_STORE="sqlite:///jobs.db")
    with app.app_context():
        bg.submit(int).result(PATIENCE)
    assert (tmp_path / "instance" / "jobs.db").is_file()


@pytest.mark.parametrize("value", ["redis", "postgresql://localhost/jobs"])
def test_a_store_that_is_wrong_at_first_use(app: Flask, bg: BackgroundTasks, value: str) -> None:
    """It was set after ``init_app``: the same error, then; nothing is accepted."""
    app.config["BGTASK_STORE"] = value
    with app.app_context(), pytest.raises(ConfigError, match=f"BGTASK_STORE = '{value}'"):
        bg.submit(int)


# Limits.


def test_queue_full(make_app: Apps, bg: BackgroundTasks) -> None:
    """More jobs than ``BGTASK_MAX_QUEUED`` do not wait; the error says how many that is."""
    app, gate = make_app(BGTASK_WORKERS=1, BGTASK_MAX_QUEUED=2), Gate()
    with app.app_context():
        running = bg.submit(gate)
        assert gate.began()
        waiting = [bg.submit(int, str(n)) for n in range(2)]
        for _ in range(2):
            with pytest.raises(QueueFull, match="BGTASK_MAX_QUEUED") as caught:
                bg.submit(int)
            assert caught.value.limit == 2
        assert len(bg.jobs()) == 3
        later = bg.using(delay=60).submit(int)  # scheduled jobs do not count
        assert later.cancel()
        assert waiting.pop().cancel()
        waiting.append(bg.submit(int, "1"))  # a place that became free
        gate.open()
        assert [handle.result(PATIENCE) for handle in waiting] == [0, 1]
        assert bg.submit(int, "3").result(PATIENCE) == 3
        assert running.done()


def test_durable_jobs_have_their_own_limit(make_app: Apps, bg: BackgroundTasks) -> None:
    """They wait in the store, the others in the process: one does not fill the other."""
    app, gate = make_app(BGTASK_WORKERS=1, BGTASK_MAX_QUEUED=1), Gate()
    task = bg.task(int, name="number")
    with app.app_context():
        bg.submit(gate)
        assert gate.began()
        handles = [bg.submit(int), task.submit()]
        for submit in (task.submit, partial_submit(bg)):
            with pytest.raises(QueueFull):
                submit()
        gate.open()
        assert [handle.result(PATIENCE) for handle in handles] == [0, 0]


def partial_submit(bg: BackgroundTasks) -> Callable[[], Any]:
    return lambda: bg.submit(int)


def test_queue_full_can_be_a_503(make_app: Apps, bg: BackgroundTasks) -> None:
    """A view answers as it likes."""
    app, gate = make_app(BGTASK_WORKERS=1, BGTASK_MAX_QUEUED=1), Gate()

    @app.post("/")
    def view() -> str:
        return bg.submit(int).id

    @app.errorhandler(QueueFull)
    def full(error: QueueFull) -> tuple[str, int]:
        return "come back later", 503

    with app.app_context():
        bg.submit(gate)
        assert gate.began()
    client = app.test_client()
    assert [client.post("/").status_code for _ in range(3)] == [200, 503, 503]
    gate.open()


def test_a_process_that_runs_no_jobs(make_app: Apps, bg: BackgroundTasks) -> None:
    """It takes durable jobs for others; one that could only run here is refused, with advice."""
    app = make_app(BGTASK_RUN_WORKERS=False, BGTASK_STORE="sqlite")
    task = bg.task(int, name="number")
    with app.app_context():
        with pytest.raises(ConfigError, match="BGTASK_RUN_WORKERS = False") as caught:
            bg.submit(int)
        assert "@bg.task" in caught.value.allowed
        assert "using(durable=True)" in caught.value.allowed
        assert bg.jobs().items == []
        handle = task.submit()
        assert handle.job.state == "queued"
        assert handle.cancel()
