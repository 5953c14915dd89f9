"""What a browser gets."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient

from flask_bgtask import current_job


@pytest.mark.parametrize("root", ["//evil.example", "/\\evil.example", "\\/evil.example/"])
def test_a_script_root_leads_to_no_other_site(site, client: FlaskClient, root: str) -> None:
    """A proxy may hand on one that a client made up."""
    options = {"environ_overrides": {"SCRIPT_NAME": root}}
    page = client.get("/bgtasks", headers={"Accept": BROWSER}, **options).get_data(as_text=True)
    links = re.findall(r'(?:href|src|action)="([^"]*)"', page)
    assert links
    assert all(re.match(r"#|/[^/\\]", html.unescape(link)) for link in links)


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
EVIL = """"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7777*7}}&lt;"""


class Document(HTMLParser):
    """Elements, and what in a page a strict policy would not run."""

    VOID = {"meta", "link", "input", "img", "br", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def page(client: FlaskClient, path: str, **options) -> Document:
    answer = client.get(path, headers={"Accept": BROWSER}, **options)
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    document = Document(answer.get_data(as_text=True))
    document.text = answer.get_data(as_text=True)
    return document


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html"),
        ("text/html", "text/html"),
        ("text/html;q=0.5, application/json;q=0.4", "text/html"),
        ("text/html;q=0.4, application/json", "application/json"),
        ("text/html, application/json", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        (None, "application/json"),
        ("", "application/json"),
        ("text/html;q=0", "application/json"),
        (";;;,,,=q", "application/json"),
    ],
)
def test_who_prefers_a_page_gets_one(site, client: FlaskClient, accept, kind) -> None:
    """JSON by default."""
    headers = {} if accept is None else {"Accept": accept}
    for path in ("/bgtasks", f"/bgtasks/{site.done()}"):
        assert client.get(path, headers=headers).mimetype == kind


def hostile(site, client: FlaskClient) -> str:
    """A job with markup wherever a task or its submitter may put text."""

    @site.bg.task(name=f"task{EVIL}")
    def work(*args: object, **kwargs: object) -> None:
        current_job.log(f"log{EVIL}")
        current_job.progress(1, 3, f"note{EVIL}")
        raise type(f"Type{EVIL}", (Exception,), {})(f"message{EVIL}")

    with site.app.app_context():
        handle = work.using(label=f"label{EVIL}", queue=f"q{EVIL}", owner=f"owner{EVIL}").submit(
            f"args{EVIL}", **{f"name{EVIL}": f"kwargs{EVIL}"}
        )
        handle.exception(10)
        return handle.id


def test_text_of_others_is_no_markup(site, client: FlaskClient) -> None:
    """Task, label, queue, owner, arguments, log, note and error are text on both pages."""
    job_id = hostile(site, client)
    for path in ("/bgtasks", f"/bgtasks/{job_id}"):
        document = page(client, path)
        assert len(document.named("script")) == 1
        assert document.named("img") == []
        assert "54439" not in document.text
        assert all(not name.startswith("on") for _, attrs in document.elements for name in attrs)
    text = page(client, f"/bgtasks/{job_id}").text
    for place in ("label", "task", "owner", "args", "name", "kwargs", "log", "note", "message"):
        assert f"{place}&#34;&gt;" in text or f"{place}\\&#34;&gt;" in text, place


def test_a_result_is_no_markup(site, client: FlaskClient) -> None:
    """Not on the page, and not when its URL is opened in a browser."""
    from markupsafe import Markup

    job_id = site.done(lambda: Markup(EVIL))
    assert page(client, f"/bgtasks/{job_id}").named("img") == []
    answer = client.get(f"/bgtasks/{job_id}/result", headers={"Accept": BROWSER})
    assert answer.content_type == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_filters_are_no_markup(site, client: FlaskClient) -> None:
    """What a link puts into the form stays text, and in the URL of the next page."""
    site.later(queue="q")
    site.later(queue="q")
    for name in ("task", "queue", "owner", "q"):
        document = page(client, "/bgtasks", query_string={name: EVIL})
        assert len(document.named("script")) == 1
        values = {attrs["name"]: attrs.get("value") for attrs in document.named("input")}
        assert values[name] == EVIL
    document = page(client, "/bgtasks", query_string={"queue": "q", "limit": "1"})
    (older,) = [attrs for attrs in document.named("a") if attrs.get("rel") == "next"]
    assert re.fullmatch(r"/bgtasks\?queue=q&limit=1&after=\d+", older["href"])


def test_no_header_can_be_injected(site, client: FlaskClient) -> None:
    """Line breaks in queries, ids and names end up in no header."""
    for path in ("/bgtasks?q=%0d%0aX-Evil:1", "/bgtasks/%0d%0aX-Evil:1", "/bgtasks?after=%0d%0aX"):
        assert "X-Evil" not in client.get(path).headers
    answer = client.post("/bgtasks/queues/a%0d%0aX-Evil:1/pause")
    assert "X-Evil" not in answer.headers
    assert answer.get_json()["queue"] == "a\r\nX-Evil:1"


def test_pages_obey_their_own_policy(site, client: FlaskClient) -> None:
    """No inline style or code; everything loaded is a file of the blueprint that is there."""
    for path in ("/bgtasks", f"/bgtasks/{site.failed()}", f"/bgtasks/{site.running()}"):
        document = page(client, path)
        assert document.named("style") == []
        assert all("style" not in attrs for _, attrs in document.elements)
        loaded = [attrs["src"] for attrs in document.named("script")]
        loaded += [attrs["href"] for attrs in document.named("link")]
        assert len(loaded) == 3
        for url in loaded:
            with client.get(url) as answer:
                assert (url.startswith("/bgtasks/static/"), answer.status_code) == (True, 200)


def test_pages_below_a_script_root(site, client: FlaskClient) -> None:
    """Every link of a page stays below the root that the application is mounted at."""
    job_id = site.later(queue="slow")
    for path in ("/bgtasks", f"/bgtasks/{job_id}"):
        document = page(client, path, base_url="http://localhost/shop")
        urls = [
            attrs[name]
            for _, attrs in document.elements
            for name in ("href", "src", "action", "data-events")
            if name in attrs
        ]
        assert urls
        assert all(url.startswith(("/shop/bgtasks", "#")) for url in urls)


def test_the_list_is_a_table_that_can_be_read_aloud(site, client: FlaskClient) -> None:
    """Caption, header cells with scope, labelled controls, a language and a viewport."""
    site.failed()
    document = page(client, "/bgtasks")
    assert document.named("html")[0]["lang"] == "en"
    assert any(attrs.get("name") == "viewport" for attrs in document.named("meta"))
    assert len(document.named("caption")) == 1
    assert {attrs["scope"] for attrs in document.named("th")} == {"col", "row"}
    assert all("aria-label" in a for a in document.named("input") if a.get("type") == "checkbox")


def test_buttons_of_the_job_page_work(site, client: FlaskClient) -> None:
    """They are forms with the token, and there are those that the job can do with."""
    for job_id, action in ((site.later(), "cancel"), (site.failed(), "retry")):
        document = page(client, f"/bgtasks/{job_id}")
        (form,) = [attrs for attrs in document.named("form") if attrs.get("method") == "post"]
        assert form["action"] == f"/bgtasks/{job_id}/{action}"
        fields = {attrs["name"]: attrs["value"] for attrs in document.named("input")}
        answer = client.post(form["action"], data=fields, headers={"Accept": BROWSER})
        assert answer.status_code == 303
        assert client.get(answer.location, headers={"Accept": BROWSER}).status_code == 200
    assert page(client, f"/bgtasks/{site.done()}").named("form") == []


def test_buttons_of_queues_work(site, client: FlaskClient) -> None:
    """Their URLs lead to the queue of that name, whatever the name."""
    name = f"a/b ?#%{EVIL}"
    site.later(queue=name)
    document = page(client, "/bgtasks")
    urls = [attrs["action"] for attrs in document.named("form")]
    (url,) = [url for url in urls if unquote(url) == f"/bgtasks/queues/{name}/pause"]
    assert client.post(url).get_json() == {"queue": name, "paused": True}
    assert html.escape(f"resume {name}").replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in (
        page(client, "/bgtasks").text
    )


def test_without_rights_there_are_no_buttons_and_no_details(make_site) -> None:
    """The page shows what JSON would."""
    site = make_site()
    job_id = site.failed(label="secret plan")
    text = page(site.client(), f"/bgtasks/{job_id}").text
    for hidden in ("secret plan", "it went wrong", "Traceback", "Arguments", "<form", "<button"):
        assert hidden not in text


def test_an_unfinished_job_is_shown_anew(site, client: FlaskClient) -> None:
    """By the script, and without it by the browser; an ended one is not."""
    document = page(client, f"/bgtasks/{site.running()}")
    assert any(attrs.get("http-equiv") == "refresh" for attrs in document.named("meta"))
    assert 'data-events="' in document.text
    assert "data-poll" in document.text
    ended = page(client, f"/bgtasks/{site.done()}").text
    assert not re.search("refresh|data-events|data-poll", ended)


def test_progress_is_an_element(site, client: FlaskClient) -> None:
    """With its value, and as text where the end is not known."""
    whole = site.done(lambda: current_job.progress(1, 4))
    assert page(client, f"/bgtasks/{whole}").named("progress")[0]["value"] == "25.0"
    open_end = site.done(lambda: current_job.progress(17))
    document = page(client, f"/bgtasks/{open_end}")
    assert document.named("progress") == []
    assert "17" in document.text
    assert page(client, "/bgtasks").named("progress")


def test_text_that_cannot_be_sent(site, client: FlaskClient) -> None:
    """A lone surrogate, as in the name of a file, breaks no page."""
    job_id = site.done(lambda: current_job.log("caf\udce9"), label="\udce9")
    assert client.get(f"/bgtasks/{job_id}").status_code == 200
    page(client, f"/bgtasks/{job_id}")
    page(client, "/bgtasks")


def test_the_applications_templates_are_none_of_ours(make_site) -> None:
    """Other delimiters, no autoescape or a failing context processor change nothing."""
    site = make_site(TESTING=True)
    site.app.jinja_options = {"variable_start_string": "[[", "autoescape": False}
    site.app.context_processor(lambda: 1 / 0)
    job_id = hostile(site, site.client())
    assert page(site.client(), f"/bgtasks/{job_id}").named("img") == []


def test_long_texts_are_cut_on_the_page(site, client: FlaskClient) -> None:
    """A page stays a page."""
    job_id = site.done(lambda: "x" * 300_000)
    assert len(page(client, f"/bgtasks/{job_id}").text) < 60_000
    assert client.get(f"/bgtasks/{job_id}/result").get_json() == "x" * 300_000
