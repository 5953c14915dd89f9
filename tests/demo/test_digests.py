"""The digests of the example application: scheduled, watched, cancelled and run again over HTTP."""

from __future__ import annotations

import html
import os
import re
import shutil
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from demo_process import Browser, Demo, eventually, log_in, register

DIGEST = re.compile(r'(?s)<article class="card digest".*?</article>')


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture
def browser(demo: Demo) -> Browser:
    return Browser(demo.url)


@pytest.fixture(scope="module")
def eve(demo: Demo) -> Browser:
    """One reader for several tests."""
    browser = Browser(demo.url)
    a_reader(browser, "eve")
    return browser


@dataclass
class Shown:
    """The newest digest, as the page shows it."""

    id: str
    state: str
    percent: float
    at: datetime
    buttons: list[str]
    text: str


def newest(browser: Browser) -> Shown:
    found = DIGEST.search(browser.get("/digests"))
    assert found, "there is no digest on the page"
    text = found[0]

    def value(pattern: str) -> str:
        match = re.search(pattern, text)
        assert match, text
        return match[1]

    return Shown(
        id=value(r'id="digest-(\w+)"'),
        state=value(r'data-state="([^"]+)"'),
        percent=float(value(r'<progress[^>]* value="([^"]+)"')),
        at=datetime.fromisoformat(value(r'datetime="([^"]+)"')),
        buttons=re.findall(r"<button[^>]*>([^<]+)", text),
        text=html.unescape(text),
    )


def in_state(browser: Browser, state: str) -> Shown:
    """The newest digest, once it is in this state."""
    found: Shown = eventually(lambda: (shown := newest(browser)).state == state and shown)
    return found


def a_reader(browser: Browser, name: str) -> None:
    """Register, confirm and log in."""
    link = register(browser, name)
    browser.get(link)
    assert f"Log out {name}" in log_in(browser, name)


def test_schedule_and_watch(browser: Browser) -> None:
    """It waits for its time, runs with a bar that moves, is done, and the mail is there."""
    a_reader(browser, "ann")
    browser.post("/digests", seconds=1)
    seen: list[Shown] = []

    def done() -> bool:
        seen.append(newest(browser))
        return seen[-1].state == "succeeded"

    eventually(done)
    states = list(dict.fromkeys(shown.state for shown in seen))
    assert [state for state in states if state != "queued"] == [
        "scheduled", "running", "succeeded",
    ]  # fmt: skip
    percents = [shown.percent for shown in seen]
    assert percents == sorted(percents)
    assert len(set(percents)) > 5
    assert seen[0].buttons == ["Cancel"]
    assert seen[-1].buttons == []
    eventually(lambda: "Your digest" in browser.get("/inbox"))
    assert "1 registered" in browser.get("/inbox")


def test_cancel_and_run_again(browser: Browser) -> None:
    """One that waits ends at once, one that runs at its next step; either can be run again."""
    a_reader(browser, "bob")
    browser.post("/digests", seconds=3600)
    first = in_state(browser, "scheduled")
    browser.post(f"/digests/{first.id}/cancel")
    assert newest(browser).state == "cancelled"
    assert newest(browser).buttons == ["Run again"]
    browser.post(f"/digests/{first.id}/retry")
    running = eventually(lambda: (shown := newest(browser)).percent > 0 and shown)
    assert running.state == "running"
    browser.post(f"/digests/{first.id}/cancel")
    stopped = in_state(browser, "cancelled")
    assert stopped.id == first.id
    assert 0 < stopped.percent < 100
    browser.post(f"/digests/{first.id}/retry")
    assert in_state(browser, "running").percent < stopped.percent
    in_state(browser, "succeeded")
    assert "That cannot be" in browser.post(f"/digests/{first.id}/cancel")[1]


def test_there_is_one_already(browser: Browser) -> None:
    """A second one of the same reader is refused with 409 while the first is not done."""
    a_reader(browser, "cid")
    browser.post("/digests", seconds=3600)
    with pytest.raises(urllib.error.HTTPError) as refused:
        browser.post("/digests", seconds=0)
    with refused.value as answer:
        assert answer.code == 409
        assert "There is one already" in answer.read().decode()
    assert len(DIGEST.findall(browser.get("/digests"))) == 1
    browser.post(f"/digests/{newest(browser).id}/cancel")
    browser.post("/digests", seconds=3600)
    assert len(DIGEST.findall(browser.get("/digests"))) == 2
    browser.post(f"/digests/{newest(browser).id}/cancel")


def test_at_a_time(browser: Browser) -> None:
    """The time is read in the visitor's zone."""
    a_reader(browser, "dan")
    there = ZoneInfo("Asia/Kolkata")
    at = (datetime.now(UTC) + timedelta(hours=1)).astimezone(there).replace(microsecond=0)
    browser.post("/digests", at=at.replace(tzinfo=None).isoformat(), zone="Asia/Kolkata")
    assert in_state(browser, "scheduled").at == at
    browser.post(f"/digests/{newest(browser).id}/cancel")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"seconds": "soon"},
        {"seconds": -1},
        {"at": "tomorrow", "zone": "UTC"},
        {"at": "2030-01-31T12:00", "zone": "Mars/Base"},
        {"at": "9999-12-31T23:59", "zone": "America/New_York"},
    ],
)
def test_no_time_at_all(eve: Browser, form: dict[str, object]) -> None:
    """What says no time is refused with 422 and a word of help."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        eve.post("/digests", **form)
    with refused.value as answer:
        assert answer.code == 422
        assert "When?" in answer.read().decode()


def test_whose_address_is_not_confirmed(browser: Browser) -> None:
    """It fails and says why; once the reason is gone, it is run again."""
    link = register(browser, "fay")
    log_in(browser, "fay")
    browser.post("/digests", seconds=0)
    failed = in_state(browser, "failed")
    assert "fay@example.com is not confirmed" in failed.text
    browser.get(link)
    browser.post(f"/digests/{failed.id}/retry")
    assert in_state(browser, "running").id == failed.id
    browser.post(f"/digests/{failed.id}/cancel")


def test_those_of_others(demo: Demo, browser: Browser) -> None:
    """They are not shown, and to cancel or run them again is 404."""
    a_reader(browser, "gil")
    browser.post("/digests", seconds=3600)
    digest = newest(browser).id
    other = Browser(demo.url)
    a_reader(other, "hal")
    assert not DIGEST.search(other.get("/digests"))
    for path in (f"/digests/{digest}/cancel", f"/digests/{digest}/retry", "/digests/x/cancel"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            other.post(path)
        with refused.value as answer:
            assert answer.code == 404
    assert newest(browser).state == "scheduled"


def test_without_a_login(browser: Browser) -> None:
    """The page says what to do first, and nothing can be ordered."""
    assert "to order one" in browser.get("/digests")
    where, _ = browser.post("/digests", seconds=0)
    assert "/login" in where


@pytest.mark.stress
def test_every_minute(browser: Browser) -> None:
    """Switched on, one begins with the minute, by itself."""
    a_reader(browser, "ian")
    browser.post("/digests/every-minute")
    eventually(lambda: DIGEST.search(browser.get("/digests")), patience=90)
    assert "No more digests" in browser.post("/digests/every-minute")[1]
    assert "Turn on" in browser.get("/digests")


def test_the_page_moves_by_itself(demo: Demo) -> None:
    """In a real browser the list follows the jobs; a time is read and shown in its zone."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    a_reader(Browser(demo.url), "kim")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_context(timezone_id="Europe/Berlin").new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{demo.url}/login")
        page.fill("[name=email]", "kim@example.com")
        page.fill("[name=password]", "a password")
        page.click("main button")
        page.goto(f"{demo.url}/digests")
        assert "Europe/Berlin" in page.inner_text(".zone")
        page.fill("[name=seconds]", "1")
        page.click("button:has-text('Schedule') >> nth=0")
        page.wait_for_selector("[data-state=scheduled]")
        page.evaluate("window.stayed = true")
        page.wait_for_selector("[data-state=running]")
        page.wait_for_function("document.querySelector('.digest progress').value > 10")
        page.wait_for_selector("[data-state=succeeded]")
        assert page.evaluate("window.stayed"), "the page was loaded again"
        assert not complaints
        chromium.close()
