"""Secret arguments are dots wherever arguments are shown."""

from __future__ import annotations

import threading
from email.message import EmailMessage
from typing import Any

import pytest
from flask_mail import Mail, Message

from flask_bgtask.web.masking import is_secret, masked

DOTS = "•••"


def details(site, handle: Any) -> dict[str, Any]:
    handle.exception(10)
    answer = site.client().get(f"/bgtasks/{handle.id}")
    assert b"hunter2" not in answer.data
    page = site.client().get(f"/bgtasks/{handle.id}", headers={"Accept": "text/html"})
    assert b"hunter2" not in page.data
    return answer.get_json()


def test_positional_arguments_are_masked_by_their_parameter(site) -> None:
    """As the task's signature names them; a star parameter names all the rest."""

    @site.bg.task(name="sign_up")
    def sign_up(name: str, Password: str, /, *tokens: str) -> None:
        pass

    with site.app.app_context():
        handle = sign_up.submit("ann", "hunter2", "hunter2", "hunter2")
    assert details(site, handle)["args"] == ["ann", DOTS, DOTS, DOTS]


def test_keyword_arguments_and_nested_keys_are_masked(site) -> None:
    """At any depth, in any case, also as a part of the name."""

    @site.bg.task(name="nested")
    def nested(config: object, **more: object) -> None:
        pass

    with site.app.app_context():
        handle = nested.submit(
            {"user": "ann", "list": [{"API_KEY": "hunter2"}], "DbPassword": ["hunter2"]},
            smtp_password="hunter2",
            host="here",
        )
    body = details(site, handle)
    assert body["args"] == [{"user": "ann", "list": [{"API_KEY": DOTS}], "DbPassword": DOTS}]
    assert body["kwargs"] == {"smtp_password": DOTS, "host": "here"}


def test_a_method_as_a_task_names_its_arguments(site) -> None:
    """The bound first parameter is not counted."""

    class Door:
        def open(self, code: str, secret: str) -> None:
            pass

    site.bg.reference(Door, dump=lambda door: 1, load=lambda data: Door())
    task = site.bg.task(Door().open, name="open")
    with site.app.app_context():
        handle = task.submit("a", "hunter2")
    assert details(site, handle)["args"] == ["a", DOTS]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_arguments_of_what_is_not_durable(make_site, tmp_path, store: str) -> None:
    """Shown, and masked, while this process has them; they are written nowhere."""
    file = tmp_path / "jobs.db"
    site = make_site(TESTING=True, BGTASK_STORE=store if store == "memory" else f"sqlite:///{file}")
    client, begun = site.client(), threading.Event()

    def log_in(user: str, password: str, *, limit: int = 0, **more: Any) -> None:
        begun.set()
        site.release.wait(10)

    with site.app.app_context():
        running = site.bg.submit(log_in, "ann", "hunter2", limit=3, token="hunter2")
        assert begun.wait(10)
        waiting = site.bg.using(delay=3600).submit(log_in, "ben", "hunter2")
        bare = site.bg.using(delay=3600).submit(pow, 2, 3)
    body = client.get(f"/bgtasks/{running.id}").get_json()
    assert (body["args"], body["kwargs"]) == (["ann", DOTS], {"limit": 3, "token": DOTS})
    body = client.get(f"/bgtasks/{waiting.id}").get_json()
    assert (body["args"], body["kwargs"]) == (["ben", DOTS], {})
    assert client.get(f"/bgtasks/{bare.id}").get_json()["args"] == [2, 3]
    site.release.set()
    body = details(site, running)
    assert (body["args"], body["kwargs"]) == (None, None)
    written = b"".join(each.read_bytes() for each in tmp_path.glob("jobs.db*") if each.is_file())
    assert b"hunter2" not in written
    assert (b"log_in" in written) == (store == "sqlite")


def test_pairs_are_masked_like_keys(site) -> None:
    """A dictionary with other keys than texts may be shown as pairs."""

    @site.bg.task(name="paired")
    def paired(values: object) -> None:
        pass

    with site.app.app_context():
        handle = paired.submit({1: "a", "1": "b", "password": "hunter2"})
    assert details(site, handle)["args"] == [[[1, "a"], ["1", "b"], ["password", DOTS]]]


def test_the_content_of_a_mail_is_not_shown(make_site) -> None:
    """A link in it may prove who reads it, and whoever had it sent may see the job."""
    site = make_site(TESTING=True, MAIL_SERVER="localhost", MAIL_DEFAULT_SENDER="shop@x.org")
    Mail(site.app)
    with site.app.app_context():
        message = Message("Code hunter2", ["a@x.org"], body="/confirm/hunter2", html="hunter2")
    standard = EmailMessage()
    standard["To"], standard["Subject"] = "a@x.org", "Code hunter2"
    standard.set_content("/confirm/hunter2")
    for each in (message, standard):
        with site.app.app_context():
            handle = site.bg.send_mail(each)
        [shown] = details(site, handle)["args"]
        assert (shown["sender"], shown["recipients"]) == ("shop@x.org", ["a@x.org"])


def test_arguments_that_are_nested_beyond_reason(site) -> None:
    """A row that somebody else wrote: its page is there, without them."""
    job_id = site.done()
    for depth in (400, 900):
        text = f'{{"args":[{"[" * depth}{"]" * depth}],"kwargs":{{}}}}'
        site.app.extensions["bgtask"].store.change(job_id, {"arguments": text})
        for kind in ("application/json", "text/html"):
            answer = site.client().get(f"/bgtasks/{job_id}", headers={"Accept": kind})
            assert answer.status_code == 200


def test_the_list_of_names_is_a_setting(make_site) -> None:
    """``BGTASK_MASK`` replaces the names."""
    site = make_site(TESTING=True, BGTASK_MASK=["Shoe"])

    @site.bg.task(name="dress")
    def dress(password: str, shoe_size: int) -> None:
        pass

    with site.app.app_context():
        handle = dress.submit("open", 43)
    handle.result(10)
    assert site.client().get(f"/bgtasks/{handle.id}").get_json()["args"] == ["open", DOTS]


@pytest.mark.parametrize(
    ("name", "secret"),
    [("password", True), ("PASSWORD", True), ("myToken2", True), ("name", False), (1, False)],
)
def test_names(name: object, secret: bool) -> None:
    """Part of a name, in any case."""
    assert is_secret(name, ("password", "token")) is secret


def shown(site: Any, names: list[str]) -> set[str]:
    """Those of the names whose values a job's page shows."""

    @site.bg.task(name="named")
    def named(values: dict[str, str], **more: str) -> None:
        pass

    values = dict.fromkeys(names, "hunter2")
    with site.app.app_context():
        handle = named.submit(values)
    handle.result(10)
    [args] = site.client().get(f"/bgtasks/{handle.id}").get_json()["args"]
    assert set(args.values()) <= {"hunter2", DOTS}
    return {name for name, value in args.items() if value == "hunter2"}


def test_ordinary_words_are_shown(site) -> None:
    """A short word of the list counts at the end of a word, not somewhere inside."""
    names = [
        "author", "authors", "author_id", "coauthorName", "authority", "shipping_address",
        "keyboard", "keywords", "spinner", "opinion", "mapping", "cardinality", "className",
        "businessname", "name", "id",
    ]  # fmt: skip
    assert shown(site, names) == set(names)


def test_secrets_are_dots_however_they_are_written(site) -> None:
    """In snake case, camel case, capitals, headers, glued together, in the plural, numbered."""
    names = [
        "password", "Passwd", "DbPassword", "dbpass", "db_pass", "smtpPass", "pwd",
        "userpwd", "newPwd", "secret", "clientSecret", "token", "accessToken", "csrf_token",
        "tokens", "key", "keys", "key2", "apikey", "apiKeys", "API_KEY", "APIKey",
        "X-Api-Key", "sshkey", "privateKeyPem", "aws_access_key_id", "auth", "oauth2", "basicAuth",
        "authcode", "Authorization", "authorisation", "HTTP_AUTHORIZATION",
        "authentication", "credentials", "cookie", "Set-Cookie", "session", "session_id",
        "sessionid", "PHPSESSID", "card", "cardNumber", "cardnumber", "creditcard", "cvv",
        "cvv2", "iban", "IBANs", "customerIban", "ssn", "user_ssn", "pin", "PIN", "cardPin",
        "pincode", "passphrase", "kEy",
    ]  # fmt: skip
    assert shown(site, names) == set()


def test_words_of_a_setting(make_site) -> None:
    """What separates the words of a name does not matter, in the setting nor in the name."""
    site = make_site(TESTING=True, BGTASK_MASK=["credit_limit", "x-id", "dob"])
    names = ["creditLimit", "CREDIT-LIMITS", "X_Id", "user_dob", "dobby", "adobe", "password"]
    assert shown(site, names) == {"dobby", "adobe", "password"}


def test_other_data_is_left_as_it_is() -> None:
    """Only values under secret names change."""
    data = {"a": [1, None, {"b": "c"}], "d": "password"}
    assert masked(data, ("password",)) == data
