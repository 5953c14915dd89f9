"""Carriers of our own: the URL root, the logged-in user, locale and time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz
from core_helpers import PATIENCE, add_login
from flask import Flask, has_request_context, request, url_for
from flask_babel import Babel, format_datetime, get_locale, get_timezone, lazy_gettext
from flask_login import current_user
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_bgtask import BackgroundTasks

Apps = Callable[..., Flask]


def link() -> str:
    """An absolute link, and one that says where a link without options leads."""
    return url_for("user", name="ann b", _external=True) + " " + url_for("user", name="c")


def external() -> str:
    return url_for("user", name="ann b", q=1, _external=True, _anchor="top")


def add_views(app: Flask, bg: BackgroundTasks, *, durable: bool) -> None:
    """``/users/<name>`` answers with its own link, and with the one that a job built."""

    @app.get("/users/<name>", endpoint="user")
    def user(name: str) -> list[str]:
        handle = bg.using(durable=durable).submit(external)
        return [external(), handle.result(PATIENCE)]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    ("config", "base"),
    [
        ({}, "http://example.org/"),
        ({}, "https://example.org/"),
        ({}, "http://example.org:8080/"),
        ({}, "https://example.org/below/the root/"),
        ({}, "http://[2001:db8::1]:5000/"),
        ({}, "http://münchen.example/straße/"),
        ({"SERVER_NAME": "example.org"}, "https://example.org/"),
        ({"SERVER_NAME": "example.org:8443"}, "https://example.org:8443/root/"),
        ({"APPLICATION_ROOT": "/else"}, "http://example.org/"),
        ({"PREFERRED_URL_SCHEME": "https"}, "http://example.org/"),
    ],
)
def test_links_are_as_in_the_request(
    make_app: Apps, bg: BackgroundTasks, config: dict[str, Any], base: str, durable: bool
) -> None:
    """Scheme, host, port and script root, whether or not a server name is configured."""
    app = make_app(**config)
    add_views(app, bg, durable=durable)
    answer = app.test_client().get("/users/ann", base_url=base)
    in_request, in_task = answer.json
    assert in_task == in_request
    assert in_task.endswith("/users/ann%20b?q=1#top")
    assert in_task.startswith(base.partition(":")[0] + "://")


def test_subdomains(bg: BackgroundTasks) -> None:
    """Rules with subdomains give the same links, also to another one."""
    app = Flask("sub", subdomain_matching=True)
    app.config.update(TESTING=True, SERVER_NAME="example.org")
    bg.init_app(app)

    @app.get("/", subdomain="<tenant>", endpoint="home")
    def home(tenant: str) -> list[str]:
        return [*links(), *bg.submit(links).result(PATIENCE)]

    @app.get("/about", endpoint="about")
    def about() -> str:
        return ""

    def links() -> list[str]:
        return [
            url_for("home", tenant="other", _external=True),
            url_for("about", _external=True),
        ]

    found = app.test_client().get("/", base_url="https://mine.example.org").json
    assert found[:2] == found[2:] == ["https://other.example.org/", "https://example.org/about"]


def test_host_matching(bg: BackgroundTasks) -> None:
    """Rules for whole hosts give the same links."""
    app = Flask("hosts", host_matching=True, static_folder=None)
    app.config.update(TESTING=True, BGTASK_URL_PREFIX=None)
    bg.init_app(app)

    @app.get("/", host="<where>", endpoint="home")
    def home(where: str) -> list[str]:
        return [link(), bg.submit(link).result(PATIENCE)]

    def link() -> str:
        return url_for("home", where="b.example", _external=True)

    found = app.test_client().get("/", base_url="https://a.example").json
    assert found == ["https://b.example/"] * 2


def test_behind_a_proxy(app: Flask, bg: BackgroundTasks) -> None:
    """What ProxyFix makes of the proxy's headers counts."""
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    add_views(app, bg, durable=True)
    headers = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.org",
        "X-Forwarded-Prefix": "/behind",
    }
    in_request, in_task = app.test_client().get("/users/x", headers=headers).json
    assert in_task == in_request
    assert in_task.startswith("https://www.example.org/behind/users/")


def test_a_nested_submit_inherits(app: Flask, bg: BackgroundTasks) -> None:
    """However deep: what a task submits has the carriers of the request."""
    add_login(app)
    app.add_url_rule("/users/<name>", "user")
    durable = bg.task(external, name="link")

    def deeper(levels: int) -> tuple[str, str | None]:
        if levels:
            return bg.submit(deeper, levels - 1).result(PATIENCE)
        handle = durable.submit()
        return handle.result(PATIENCE), handle.job.owner

    headers = {"X-User": "7"}
    with app.test_request_context("/", base_url="https://example.org/root", headers=headers):
        link, owner = bg.submit(deeper, 3).result(PATIENCE)
    assert link == "https://example.org/root/users/ann%20b?q=1#top"
    assert owner == "7"


def test_a_task_that_is_called_in_a_task_submits_as_it(app: Flask, bg: BackgroundTasks) -> None:
    """A direct call of a task is a part of the job that makes it."""
    add_login(app)
    app.add_url_rule("/users/<name>", "user")

    @bg.task(name="outer")
    def outer() -> tuple[str, str | None]:
        handle = bg.submit(external)
        return handle.result(PATIENCE), handle.job.owner

    headers = {"X-User": "7"}
    with app.test_request_context("/", base_url="https://example.org/", headers=headers):
        link, owner = bg.submit(lambda: outer()).result(PATIENCE)
    assert link.startswith("https://example.org/users/")
    assert owner == "7"


def test_outside_a_request_there_is_nothing(make_app: Apps, bg: BackgroundTasks) -> None:
    """Links are built as Flask does without a request: by ``SERVER_NAME``, or not at all."""
    without, named = make_app("without"), make_app("named", SERVER_NAME="example.net")
    for app in (without, named):
        app.add_url_rule("/users/<name>", "user")
        add_login(app)
    with without.app_context():
        handle = bg.submit(external)
        assert "SERVER_NAME" in str(handle.exception(PATIENCE))
        assert handle.job.owner is None
    with named.app_context():
        assert bg.submit(external).result(PATIENCE).startswith("http://example.net/users/")


def test_the_request_of_another_app_is_not_taken(make_app: Apps, bg: BackgroundTasks) -> None:
    """Neither its root nor its user: the job belongs to the app whose context is current."""
    one, two = make_app("one"), make_app("two")
    for app in (one, two):
        app.add_url_rule("/users/<name>", "user")
        add_login(app)
    headers = {"X-User": "7"}
    with one.test_request_context("/", base_url="https://one.example/", headers=headers):
        assert bg.submit(external).result(PATIENCE).startswith("https://one.example/")
        with two.app_context():
            handle = bg.submit(external)
            assert "SERVER_NAME" in str(handle.exception(PATIENCE))
            assert handle.job.owner is None


def test_a_task_of_another_app_is_no_parent(make_app: Apps, bg: BackgroundTasks) -> None:
    """A task that submits for another app hands on nothing of its own app's request."""
    one, two = make_app("one"), make_app("two")
    for app in (one, two):
        app.add_url_rule("/users/<name>", "user")
        add_login(app)

    def submit_for_two() -> tuple[BaseException | None, str | None]:
        with two.app_context():
            handle = bg.submit(external)
            return handle.exception(PATIENCE), handle.job.owner

    headers = {"X-User": "7"}
    with one.test_request_context("/", base_url="https://one.example/", headers=headers):
        error, owner = bg.submit(submit_for_two).result(PATIENCE)
    assert "SERVER_NAME" in str(error)
    assert owner is None


# The user.


def test_the_logged_in_user_owns_the_job(app: Flask, bg: BackgroundTasks) -> None:
    """By its id, for bare functions and tasks; ``current_user`` itself is not there."""
    add_login(app)
    task = bg.task(lambda: bool(current_user), name="look")
    with app.test_request_context(headers={"X-User": "7"}):
        assert bg.submit(int).job.owner == "7"
        handle = task.submit()
        assert handle.job.owner == "7"
        assert handle.result(PATIENCE) is False
    with app.test_request_context():
        assert bg.submit(int).job.owner is None


def test_a_given_owner_wins(app: Flask, bg: BackgroundTasks) -> None:
    """Also ``None``, which says that nobody owns it."""
    add_login(app)
    task = bg.task(int, name="number", owner="the task's")
    with app.test_request_context(headers={"X-User": "7"}):
        assert bg.using(owner="8").submit(int).job.owner == "8"
        assert bg.using(owner=None).submit(int).job.owner is None
        assert task.submit().job.owner == "the task's"
        assert task.using(owner=None).submit().job.owner is None
    with app.app_context():
        assert bg.using(owner="8").submit(int).job.owner == "8"


def test_a_given_owner_is_inherited(app: Flask, bg: BackgroundTasks) -> None:
    """What a task submits belongs to the task's owner."""

    def nested() -> str | None:
        return bg.submit(int).job.owner

    with app.app_context():
        assert bg.using(owner="8").submit(nested).result(PATIENCE) == "8"


def test_without_flask_login_nobody_owns_it(app: Flask, bg: BackgroundTasks) -> None:
    """There is no user to be asked for."""
    with app.test_request_context(headers={"X-User": "7"}):
        assert bg.submit(int).job.owner is None


# Language and time zone.


def spoken() -> list[str]:
    return [str(get_locale()), str(get_timezone())]


@pytest.mark.parametrize("durable", [False, True])
def test_locale_and_time_zone(app: Flask, bg: BackgroundTasks, durable: bool) -> None:
    """As Flask-Babel's selectors found them in the request; they are not called in the task."""
    Babel(
        app,
        locale_selector=lambda: request.headers["X-Locale"],
        timezone_selector=lambda: request.headers["X-Zone"],
    )
    headers = {"X-Locale": "de_AT", "X-Zone": "Asia/Tokyo"}
    with app.test_request_context(headers=headers):
        handle = bg.using(durable=durable).submit(spoken)
        assert handle.result(PATIENCE) == ["de_AT", "Asia/Tokyo"]
        nested = bg.submit(lambda: bg.submit(spoken).result(PATIENCE))
        assert nested.result(PATIENCE) == ["de_AT", "Asia/Tokyo"]
        snapshot = bg.using(request=True, durable=durable).submit(spoken)
        assert snapshot.result(PATIENCE) == ["de_AT", "Asia/Tokyo"]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        (timezone(timedelta(hours=1)), 1),
        (timezone(timedelta(hours=-9.5), "Marquesas"), -9.5),
        (pytz.FixedOffset(345), 5.75),
        (UTC, 0),
        (ZoneInfo("Asia/Tokyo"), 9),
    ],
    ids=str,
)
def test_time_zones_of_other_kinds(
    app: Flask, bg: BackgroundTasks, zone: tzinfo, hours: float, durable: bool
) -> None:
    """A fixed offset, which has no name, and a zone of another library; the selector rests."""
    Babel(app, timezone_selector=lambda: zone if has_request_context() else "Asia/Kolkata")

    def write() -> str:
        return format_datetime(datetime(2030, 5, 1, 12, tzinfo=UTC), "HH:mm")

    task = bg.task(write, name="write", durable=durable)
    with app.test_request_context():
        written = task.submit().result(PATIENCE)
    assert written == (datetime(2030, 5, 1, 12) + timedelta(hours=hours)).strftime("%H:%M")


def test_a_time_zone_that_cannot_be_told(app: Flask, bg: BackgroundTasks) -> None:
    """It has neither a name nor one offset: the task asks the application's selector."""

    class Local(tzinfo):
        def utcoffset(self, when: datetime | None) -> timedelta | None:
            return None if when is None else timedelta(hours=2)

    Babel(app, timezone_selector=lambda: Local() if has_request_context() else "Asia/Kolkata")
    with app.test_request_context():
        assert bg.submit(spoken).result(PATIENCE)[1] == "Asia/Kolkata"


def test_outside_a_request_the_defaults_hold(app: Flask, bg: BackgroundTasks) -> None:
    """Nothing is captured, and an application's selector decides in the task."""
    Babel(
        app,
        default_locale="fr",
        default_timezone="Europe/Paris",
        locale_selector=lambda: "es" if has_request_context() else None,
    )
    with app.app_context():
        assert bg.submit(spoken).result(PATIENCE) == ["fr", "Europe/Paris"]


def test_what_is_lazy_speaks_the_carried_language(app: Flask, bg: BackgroundTasks) -> None:
    """A lazy string and a date are written in the task, in the reader's language."""
    Babel(app, locale_selector=lambda: request.headers["X-Locale"])
    when = lazy_gettext("%(word)s", word="x")

    def write(text: Any) -> list[str]:
        return [str(text), format_datetime(datetime(2030, 5, 1), "MMMM")]

    for locale, month in (("de", "Mai"), ("en", "May"), ("fr", "mai")):
        with app.test_request_context(headers={"X-Locale": locale}):
            assert bg.submit(write, when).result(PATIENCE) == ["x", month]
