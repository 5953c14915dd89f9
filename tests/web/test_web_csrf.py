"""Unsafe requests: what another site can make a browser send is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

FORM = "application/x-www-form-urlencoded"
HTML = {"Accept": "text/html"}


def token_of(client: FlaskClient, path: str, **options: Any) -> str:
    """The token in the forms of a page."""
    page = client.get(path, headers={**HTML, **options.pop("headers", {})}, **options)
    found = re.search(r'name="bgtask_token" value="([^"]+)"', page.get_data(as_text=True))
    assert found is not None
    return found[1]


def cancels(site, client: FlaskClient, **request: Any) -> bool:
    """Whether the request is let through to cancel a job; if not, it is 403 or 415."""
    job_id = site.later()
    answer = client.post(f"/bgtasks/{job_id}/cancel", **request)
    with site.app.app_context():
        state = site.bg.get(job_id).state
    if answer.status_code == 200:
        assert state == "cancelled"
        return True
    assert answer.status_code in (403, 415)
    assert answer.content_type == "application/problem+json"
    assert state == "scheduled"
    return False


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost:80"}, True),
        ({"Origin": "HTTP://LOCALHOST"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://localhost"}, False),
        ({"Origin": "http://localhost:8080"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://localhost@evil.example"}, False),
        ({"Origin": "http://evil.example@localhost"}, False),
        ({"Origin": "http://localhost/.evil.example"}, False),
        ({"Origin": "http://localhost:x"}, False),
        ({"Origin": "http://[localhost"}, False),
        ({"Origin": "localhost"}, False),
    ],
)
def test_source_of_a_request(site, client: FlaskClient, headers, good: bool) -> None:
    """What the browser says of the source decides first, for JSON as for forms."""
    assert cancels(site, client, json={}, headers=headers) is good
    assert cancels(site, client, headers=headers) is good
    form = {"bgtask_token": token_of(client, "/bgtasks")}
    assert cancels(site, client, data=form, headers=headers) is good


@pytest.mark.parametrize(
    ("base_url", "origin", "good"),
    [
        ("https://shop.example", "https://shop.example", True),
        ("https://shop.example", "https://shop.example:443", True),
        ("https://shop.example", "http://shop.example", False),
        ("https://shop.example:8443", "https://shop.example:8443", True),
        ("https://shop.example:8443", "https://shop.example", False),
        ("http://[::1]:5000", "http://[::1]:5000", True),
        ("http://shop.example", "http://sub.shop.example", False),
    ],
)
def test_origin_is_scheme_host_and_port(site, client, base_url, origin, good) -> None:
    """With the default port of the scheme if there is none."""
    assert cancels(site, client, json={}, base_url=base_url, headers={"Origin": origin}) is good


@pytest.mark.parametrize(
    ("request_options", "good"),
    [
        ({}, True),
        ({"content_type": "application/json"}, True),
        ({"json": {"any": "thing"}}, True),
        ({"data": b"{", "content_type": "application/json; charset=utf-8"}, True),
        ({"data": b"{}", "content_type": "text/plain"}, False),
        ({"content_type": "text/plain"}, False),
        ({"data": b"{}", "content_type": "text/json"}, False),
        ({"data": b"{}", "content_type": "application/jsonx"}, False),
        ({"data": b"{}", "content_type": "application/xml"}, False),
        ({"data": b"{}", "content_type": "application/octet-stream"}, False),
        ({"data": b"{}"}, False),
        ({"content_type": FORM}, False),
        ({"data": b"bgtask_token=", "content_type": FORM}, False),
        ({"data": b"bgtask_token=x", "content_type": FORM}, False),
        ({"data": {"bgtask_token": "W10.x.y"}, "content_type": "multipart/form-data"}, False),
        ({"query_string": {"bgtask_token": "x"}, "content_type": FORM}, False),
    ],
)
def test_content_types(site, client: FlaskClient, request_options, good: bool) -> None:
    """JSON, or nothing at all, needs no token; what a foreign form can send is refused."""
    assert cancels(site, client, **request_options) is good


@pytest.mark.parametrize("path", ["/bgtasks/bulk", "/bgtasks/queues/mail/pause"])
def test_every_unsafe_url_is_guarded(client: FlaskClient, path: str) -> None:
    """Not only cancel."""
    assert client.post(path, data={"action": "cancel"}).status_code == 403
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.post(path, json={"action": "cancel"}, headers=headers).status_code == 403


@pytest.mark.parametrize("kind", [FORM, "multipart/form-data"])
def test_the_token_of_the_page_lets_a_form_through(site, client: FlaskClient, kind) -> None:
    """As a field; and as a header for scripts."""
    token = token_of(client, "/bgtasks")
    form = {"bgtask_token": token}
    assert cancels(site, client, data=form, content_type=kind)
    headers = {"X-BgTask-Token": token}
    assert cancels(site, client, data={"a": "b"}, content_type=kind, headers=headers)


def test_a_token_belongs_to_its_browser(site) -> None:
    """Another browser's token, or one without its cookie, is void."""
    mine, theirs = site.client(), site.client()
    token = token_of(theirs, "/bgtasks")
    assert cancels(site, theirs, data={"bgtask_token": token})
    assert not cancels(site, mine, data={"bgtask_token": token})
    token_of(mine, "/bgtasks")
    assert not cancels(site, mine, data={"bgtask_token": token})


def test_a_token_belongs_to_its_user(make_site) -> None:
    """One browser, another user: the token of before is void."""
    from flask_login import LoginManager, UserMixin

    site = make_site(TESTING=True)

    class User(UserMixin):
        id = 0

    def load(request: Any) -> User:
        user = User()
        user.id = int(request.headers.get("X-User", 0))
        return user

    LoginManager(site.app).request_loader(load)
    client = site.client()
    token = token_of(client, "/bgtasks", headers={"X-User": "7"})
    form = {"bgtask_token": token}
    assert not cancels(site, client, data=form, headers={"X-User": "8"})
    assert cancels(site, client, data=form, headers={"X-User": "7"})


def test_a_token_ends(site, client: FlaskClient, monkeypatch) -> None:
    """After a day it is void."""
    import itsdangerous.timed

    form = {"bgtask_token": token_of(client, "/bgtasks")}
    assert cancels(site, client, data=form)
    later = itsdangerous.timed.time.time() + 25 * 3600
    with monkeypatch.context() as patched:
        patched.setattr(
            itsdangerous.timed.TimestampSigner, "get_timestamp", lambda self: int(later)
        )
        assert not cancels(site, client, data=form)


def test_keys_are_rotated_with_fallbacks(site, client: FlaskClient) -> None:
    """A token of the old key holds while that is a fallback."""
    form = {"bgtask_token": token_of(client, "/bgtasks")}
    site.app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["not a secret"])
    assert cancels(site, client, data=form)
    site.app.config.update(SECRET_KEY_FALLBACKS=None)
    assert not cancels(site, client, data=form)


def test_an_application_of_another_key_signs_no_token_of_ours(site, make_site) -> None:
    """Nor does another signature of the same key, as the session's."""
    other = make_site(TESTING=True, SECRET_KEY="other")
    client, stranger = site.client(), other.client()
    token_of(client, "/bgtasks")
    cookie = client.get_cookie("bgtask_browser", path="/bgtasks")
    assert cookie is not None
    stranger.set_cookie("bgtask_browser", cookie.value, path="/bgtasks")
    token = token_of(stranger, "/bgtasks")
    assert cancels(other, stranger, data={"bgtask_token": token})
    assert not cancels(site, client, data={"bgtask_token": token})
    session = site.app.session_interface.get_signing_serializer(site.app)
    forged = session.dumps([cookie.value, None])
    assert not cancels(site, client, data={"bgtask_token": forged})


def test_the_cookie_is_for_pages_alone(site) -> None:
    """HttpOnly, SameSite, below the prefix, Secure under HTTPS; clients of JSON get none."""
    client = site.client()
    assert "Set-Cookie" not in client.get("/bgtasks").headers
    assert "Set-Cookie" not in client.get("/bgtasks/health").headers
    cookie = client.get("/bgtasks", headers=HTML).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/bgtasks"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "Set-Cookie" not in client.get("/bgtasks", headers=HTML).headers
    answer = site.client().get("/bgtasks", headers=HTML, base_url="https://shop.example/root")
    parts = answer.headers["Set-Cookie"].split("; ")
    assert {"Secure", "Path=/root/bgtasks"} <= set(parts)


@pytest.mark.parametrize("value", ["", "x", "ä" * 32, "a" * 33, "\x00" * 32])
def test_an_odd_cookie_is_replaced(site, value: str) -> None:
    """The page gives a new one."""
    client = site.client()
    client.set_cookie("bgtask_browser", value, path="/bgtasks")
    assert cancels(site, client, data={"bgtask_token": token_of(client, "/bgtasks")})


def test_without_a_secret_key_there_are_no_forms(make_site) -> None:
    """The page has no buttons and says why; JSON works."""
    site = make_site(TESTING=True, SECRET_KEY=None)
    client = site.client()
    for path in ("/bgtasks", f"/bgtasks/{site.later()}"):
        page = client.get(path, headers=HTML)
        assert "SECRET_KEY" in page.get_data(as_text=True)
        assert 'method="post"' not in page.get_data(as_text=True)
        assert "Set-Cookie" not in page.headers
    assert not cancels(site, client, data={"bgtask_token": "x"})
    assert cancels(site, client, json={})


def test_huge_and_endless_bodies_are_refused(client: FlaskClient) -> None:
    """Nothing reads them into memory."""
    big = b"{" + b" " * 1_100_000
    for kind, code in (("application/json", 413), (FORM, 413)):
        assert client.post("/bgtasks/bulk", data=big, content_type=kind).status_code == code
    answer = client.post(
        "/bgtasks/bulk",
        data=b"{}",
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"CONTENT_LENGTH": ""},
    )
    assert answer.status_code == 411
