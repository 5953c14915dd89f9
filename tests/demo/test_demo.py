"""The example application, started as a user starts it and used over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.error
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_process import Browser, Demo, eventually, log_in, register

#: Seconds within which the demo ends when it is told to, on a busy machine.
SOON = 8


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture
def browser(demo: Demo) -> Browser:
    return Browser(demo.url)


def test_registering_sends_a_mail_with_a_link_that_confirms(demo: Demo, browser: Browser) -> None:
    """The mail comes over SMTP, its link has the host of the request, and it confirms the user."""
    link = register(browser, "ann")
    assert link.startswith(demo.url + "/confirm/")
    assert "ann@example.com is confirmed" in browser.get(link)
    page = log_in(browser, "ann")
    assert "Log out ann" in page
    assert "is not confirmed" not in page
    assert "Log out" not in browser.post("/logout")[1]


def test_the_mail_is_listed_as_a_job_that_succeeded(browser: Browser) -> None:
    """``GET /bgtasks`` shows the sending of the mail, without a login."""
    register(browser, "bob")

    def sent() -> bool:
        jobs = browser.json("/bgtasks")["jobs"]
        return any(job["state"] == "succeeded" for job in jobs if "mail" in job["task"])

    assert eventually(sent)


def test_the_mail_can_be_sent_again(browser: Browser) -> None:
    """Who is logged in and not confirmed gets a second mail; who is confirmed does not."""
    link = register(browser, "cid")
    assert "cid@example.com is not confirmed yet" in log_in(browser, "cid")
    browser.post("/resend")
    eventually(lambda: browser.get("/inbox").count("Dear cid") == 2)
    browser.get(link)
    assert "is confirmed already" in browser.post("/resend")[1]


def test_a_wrong_link_confirms_nobody(browser: Browser) -> None:
    """A token that was changed is refused."""
    link = register(browser, "dan")
    assert "not valid" in browser.get(link + "A")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"email": "eve@example.com", "username": "eve"}, "all three fields"),
        ({"email": "eve", "username": "eve", "password": "x"}, "no mail address"),
        ({"email": "fay@example.com", "username": "other", "password": "x"}, "already"),
    ],
)
def test_a_wrong_registration_is_explained(
    browser: Browser, form: dict[str, str], why: str
) -> None:
    """A field that is missing or wrong, or an address that is taken: 422 and the reason."""
    if why == "already":
        register(browser, "fay")
    with pytest.raises(urllib.error.HTTPError) as refused:
        browser.post("/register", **form)
    with refused.value as answer:
        assert answer.code == 422
        assert why in answer.read().decode()


def test_a_refused_address_shows_as_a_failed_job(browser: Browser) -> None:
    """The server refuses the address for good: the job fails at once, and says why."""
    browser.post("/register", email="nobody@example.com", username="nobody", password="x")
    job = eventually(lambda: next(iter(browser.json("/bgtasks?state=failed")["jobs"]), None))
    assert job["attempt"] == 1
    assert "550" in browser.json(job["links"]["self"])["error"]["message"]


def test_the_status_of_a_report_moves(browser: Browser) -> None:
    """The progress of a report grows, and in the end its page shows the table."""
    where, page = browser.post("/reports", days=12)
    assert "<progress" in page
    status = re.search(r'data-status="([^"]+)"', page)
    assert status
    seen: list[int] = []

    def finished() -> bool:
        job = browser.json(status[1])
        seen.append(job["progress"]["done"] if job["progress"] else 0)
        return bool(job["state"] == "succeeded")

    assert eventually(finished)
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, seen
    assert "registered in the last 12 days" in browser.get(where)


def test_a_program_that_starts_a_report_gets_202(browser: Browser) -> None:
    """With ``Accept: application/json`` the answer is the status of the job, which can be asked."""
    job = json.loads(browser.post("/reports", "application/json", days=1)[1])
    eventually(lambda: browser.json(f"/bgtasks/{job['id']}")["state"] == "succeeded")


def test_a_mailing_reaches_every_reader_once(browser: Browser) -> None:
    """One mail for each reader; the page counts those that have it."""
    where, _ = browser.post("/mailings", subject="News", readers=30)
    page = eventually(lambda: "<b>30</b> of 30" in (page := browser.get(where)) and page)
    assert "second copy" not in page


def test_a_browser_gets_a_page_of_the_jobs(browser: Browser) -> None:
    """The same address is a page for people."""
    assert "<html" in browser.get("/bgtasks").lower()


def test_a_taken_port_is_no_obstacle(tmp_path: Path) -> None:
    """Where the port is taken, the next free one serves."""
    from examples.flasky_mail.__main__ import listen

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with listen(taken.getsockname()[1]) as found:
            assert found.getsockname()[1] > taken.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_soon(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM, in the middle of a report: all processes end, without a traceback."""
    with Demo(tmp_path) as demo:
        browser = Browser(demo.url)
        browser.post("/reports", days=500)
        eventually(lambda: browser.json("/bgtasks")["counts"].get("running"))
        assert demo.stop(number) < SOON
        assert "Traceback" not in "".join(demo.printed)


def test_accounts_and_mail_outlive_a_restart(tmp_path: Path) -> None:
    """After a restart the user can still log in, and the link in the old mail is good."""
    with Demo(tmp_path) as demo:
        link = register(Browser(demo.url), "gus")
        demo.stop(signal.SIGTERM)
    with Demo(tmp_path) as demo:
        browser = Browser(demo.url)
        assert "is confirmed" in browser.get(urllib.parse.urlsplit(link).path)
        assert "Log out gus" in log_in(browser, "gus")


def test_a_mailing_survives_the_death_of_every_process(tmp_path: Path) -> None:
    """SIGKILL for all processes in the middle of a mailing: after the next start it goes on.

    Every reader gets the mail. Those whose mail was under way may get it twice, no more.
    """
    with Demo(tmp_path) as demo:
        browser = Browser(demo.url)
        where, _ = browser.post("/mailings", subject="News", readers=80)
        before = eventually(lambda: reached(browser.get(where))[0])
        os.killpg(demo.process.pid, signal.SIGKILL)
    assert before < 80
    with Demo(tmp_path) as demo:
        browser = Browser(demo.url)
        path = urllib.parse.urlsplit(where).path
        eventually(lambda: reached(browser.get(path))[0] == 80)
        assert reached(browser.get(path))[1] <= 80 + 8
        eventually(lambda: states(browser) == {"succeeded"})


def states(browser: Browser) -> set[str]:
    """The states that jobs are in."""
    counts = browser.json("/bgtasks")["counts"]
    return {state for state, number in counts.items() if number}


def reached(page: str) -> tuple[int, int]:
    """How many readers have the mail, and how many copies came."""
    readers = re.search(r"<b>(\d+)</b> of", page)
    more = re.search(r"(\d+) got a second copy", page)
    assert readers
    return int(readers[1]), int(readers[1]) + (int(more[1]) if more else 0)
