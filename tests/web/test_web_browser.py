"""The pages in a real browser: they obey their policy, work without a script, and move with it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, request
from werkzeug.serving import make_server

from flask_bgtask import current_job
from flask_bgtask.web import streams, views

playwright = pytest.importorskip("playwright.sync_api")

#: Milliseconds that the browser gets for each step.
PATIENCE = 20_000

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; without it there is nothing to test, but for CI."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The application's address; all threads of its server have ended afterwards."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def open_page(site, browser: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenPage]:
    """Opens a path of the site; nothing may break the policy or the script."""
    monkeypatch.setattr(streams, "HEARTBEAT", 0.2)  # a page that is closed is noticed soon
    complaints: list[str] = []
    with ExitStack() as closing:
        address = closing.enter_context(served(site.app))

        def open_path(path: str, **options: Any) -> Any:
            context = closing.enter_context(browser.new_context(**options))
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text))
            page.goto(address + path)
            return page

        yield open_path
    # A browser also reports each answer that is an error, as some are meant to be.
    assert [said for said in complaints if not said.startswith("Failed to load")] == []


def test_the_job_page_follows_its_job(site, open_page: OpenPage) -> None:
    """Progress and state move with no reload, by events."""
    moved = threading.Event()

    def work() -> str:
        assert moved.wait(20)
        current_job.progress(3, 4, "nearly")
        assert site.release.wait(20)
        return "the end"

    page = open_page(f"/bgtasks/{site.submit(work)}")
    page.evaluate("window.loadedOnce = true")
    playwright.expect(page.locator("#said")).to_have_text("running")
    moved.set()
    playwright.expect(page.locator("#live .progress")).to_contain_text("nearly", timeout=PATIENCE)
    site.release.set()
    playwright.expect(page.locator("#said")).to_have_text("succeeded", timeout=PATIENCE)
    playwright.expect(page.locator("#live pre")).to_have_text("the end")
    assert page.evaluate("window.loadedOnce") is True


def test_the_page_polls_where_there_is_no_stream(site, open_page: OpenPage, monkeypatch) -> None:
    """A page that is refused a stream is kept fresh too."""
    monkeypatch.setattr(streams, "most_streams", lambda runtime, server: 0)
    monkeypatch.setattr(views, "has_streams", lambda runtime: True)
    page = open_page(f"/bgtasks/{site.running()}")
    page.evaluate("window.loadedOnce = true")
    site.release.set()
    playwright.expect(page.locator("#said")).to_have_text("succeeded", timeout=PATIENCE)
    assert page.evaluate("window.loadedOnce") is True


@pytest.mark.parametrize("script", [True, False])
def test_buttons_work_with_and_without_a_script(site, open_page: OpenPage, script: bool) -> None:
    """Cancel leads back to the job, with its new state."""
    job_id = site.later()
    page = open_page(f"/bgtasks/{job_id}", java_script_enabled=script)
    page.get_by_role("button", name="Cancel").click()
    playwright.expect(page.get_by_role("status")).to_have_text("cancelled", timeout=PATIENCE)
    assert page.url.endswith(f"/bgtasks/{job_id}")


def test_marked_jobs_and_queues(site, open_page: OpenPage) -> None:
    """The list cancels what is marked, finds what is asked for, and pauses a queue."""
    ids = [site.later(label=f"report {number}") for number in range(3)]
    page = open_page("/bgtasks")
    for job_id in ids[:2]:
        page.get_by_label(f"Mark job {job_id}").check()
    page.get_by_role("button", name="cancel").click()
    playwright.expect(page.locator("td .state.cancelled")).to_have_count(2)
    page.get_by_label("Text").fill("report 2")
    page.get_by_role("button", name="Show").click()
    playwright.expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="pause mail").click()
    playwright.expect(page.get_by_role("button", name="resume mail")).to_be_visible()


def test_a_phone_needs_no_sideways_scrolling(site, open_page: OpenPage) -> None:
    """Nothing is wider than a narrow screen, whatever its length."""
    job_id = site.done(lambda text: current_job.log(text), "x" * 300, label="y" * 300)
    for path in ("/bgtasks", f"/bgtasks/{job_id}"):
        page = open_page(path, viewport={"width": 360, "height": 640})
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) == 0


@pytest.mark.parametrize("send", ["form", "fetch"])
def test_a_foreign_page_cannot_cancel(site, open_page: OpenPage, send: str) -> None:
    """What a page of another host sends is refused, though the browser has our cookie."""

    @site.app.get("/foreign")
    def foreign() -> str:
        return f'<form method="post" action="{request.args["target"]}"><button>Go</button></form>'

    job_id = site.later()
    page = open_page(f"/bgtasks/{job_id}")
    target = f"{page.url}/cancel"
    port = urlsplit(target).port
    page.goto(f"http://localhost:{port}/foreign?target={target}")
    with page.expect_response(target) as answer:
        if send == "form":
            page.get_by_role("button").click()
        else:
            page.evaluate(f"fetch('{target}', {{method: 'POST', mode: 'no-cors'}}).catch(String)")
    assert answer.value.status == 403
    with site.app.app_context():
        assert site.bg.get(job_id).state == "scheduled"
