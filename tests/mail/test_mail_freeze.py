"""A message is data once it was given to ``send_mail``."""

from __future__ import annotations

import copy
import email
import email.policy
import threading
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
from flask import Flask
from flask_mail import Message

from flask_bgtask.errors import ArgumentError
from flask_bgtask.mail import freeze
from flask_bgtask.mail.mime import unpack
from flask_bgtask.mail.rebuild import rebuild


def parsed(frozen: dict[str, Any]) -> Any:
    return email.message_from_bytes(unpack(frozen["mime"]), policy=email.policy.default)


class Lazy:
    """A text that is what it is at the moment it is asked, as those of Flask-Babel."""

    def __init__(self) -> None:
        self.language = "en"

    def __str__(self) -> str:
        return {"en": "Hello", "fr": "Bonjour"}[self.language]


def test_later_changes_of_the_message_do_not_matter(app: Flask) -> None:
    """The mail is as it was at submit, whatever happens to the object and its lists."""
    with app.app_context():
        message = Message("Before", recipients=["a@x.org"], body="before")
        frozen = freeze(app, message)
        before = copy.deepcopy(frozen)
        message.subject = "After"
        message.recipients.append("b@x.org")
        message.body = "after"
        assert frozen == before
        assert parsed(frozen)["Subject"] == "Before"
        assert rebuild(frozen).recipients == ["a@x.org"]


@pytest.mark.parametrize("kind", ["flask", "standard"])
def test_the_message_itself_is_not_changed(app: Flask, kind: str) -> None:
    """Freezing leaves the caller's object as it was, with its date, boundaries and bcc."""
    with app.app_context():
        message: Any
        if kind == "flask":
            message = Message("S", recipients=[("A", "a@x.org")], bcc=["b@x.org"], html="<p>")
            message.attach("f.bin", "application/octet-stream", b"\0\1")
        else:
            message = EmailMessage()
            message["To"], message["Bcc"] = "a@bücher.example", "b@x.org"
            message.set_content("text")
            message.add_alternative("<p>", subtype="html")
            message.add_attachment(b"\0\1", "application", "octet-stream")
        before = copy.deepcopy(message)
        freeze(app, message)
    if kind == "flask":
        attachments, old = message.__dict__.pop("attachments"), before.__dict__.pop("attachments")
        assert [vars(a) for a in attachments] == [vars(a) for a in old]
        assert vars(message) == vars(before)
    else:
        assert message.items() == before.items()
        parts, old_parts = list(message.walk()), list(before.walk())
        assert [p.items() for p in parts] == [p.items() for p in old_parts]
        assert [p.get_boundary() for p in parts] == [p.get_boundary() for p in old_parts]


@pytest.mark.parametrize("kind", ["flask", "standard"])
def test_a_message_may_hold_what_cannot_be_copied(app: Flask, kind: str) -> None:
    """A lock or a connection that somebody hung onto the object is no concern of the mail."""
    with app.app_context():
        message: Any = Message("S", ["a@x.org"], body="b")
        if kind == "standard":
            message = EmailMessage()
            message["To"] = "a@x.org"
            message.set_content("b")
        message.cached = threading.Lock()
        assert freeze(app, message)["recipients"] == ["a@x.org"]


def test_lazy_texts_are_evaluated_at_submit(app: Flask) -> None:
    """Subject, body, html and names are what they are in the language of the request."""
    lazy = Lazy()
    with app.app_context():
        message = Message(lazy, [(lazy, "a@x.org")], body=lazy, html=lazy)  # type: ignore[arg-type,list-item]
        frozen = freeze(app, message)
        lazy.language = "fr"
        mail = parsed(frozen)
        assert mail["Subject"] == "Hello"
        assert mail["To"].addresses[0].display_name == "Hello"
        assert mail.get_body(("plain",)).get_content().strip() == "Hello"
        assert mail.get_body(("html",)).get_content().strip() == "Hello"
        assert rebuild(frozen).subject == "Hello"


def test_bcc_is_in_the_envelope_alone(app: Flask) -> None:
    """Who gets a blind copy is nowhere in the mail, of either kind."""
    standard = EmailMessage()
    standard["To"], standard["Cc"], standard["Bcc"] = "a@x.org", "b@x.org", "Hidden <c@x.org>"
    standard.set_content("text")
    with app.app_context():
        flask = Message("s", ["a@x.org"], cc=["b@x.org"], bcc=[("Hidden", "c@x.org")], body="text")
        for message in (flask, standard):
            frozen = freeze(app, message)
            assert frozen["recipients"] == ["a@x.org", "b@x.org", "c@x.org"]
            raw = unpack(frozen["mime"]).lower()
            assert b"bcc" not in raw
            assert b"hidden" not in raw
            assert b"c@x.org" not in raw


def test_each_mailbox_gets_the_mail_once(app: Flask) -> None:
    """Doubles are taken out, also of a domain in another case; the first spelling stays."""
    with app.app_context():
        message = Message("s", ["a@x.org", ("A", "a@X.org"), "A@x.org"], cc=["a@x.org"], body="b")
        assert freeze(app, message)["recipients"] == ["a@x.org", "A@x.org"]


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("root", "root"),
        (" a@x.org ", "a@x.org"),
        ("Ann Doe <a@x.org>", "a@x.org"),
        ('"Doe, Ann" <a@x.org>', "a@x.org"),
        (("Doe, Ann", "a@x.org"), "a@x.org"),
        ("a@x.org (Ann)", "a@x.org"),
        ('"a b"@x.org', '"a b"@x.org'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a+b=c.d@sub.x.org", "a+b=c.d@sub.x.org"),
    ],
    ids=str,
)
def test_addresses_are_read_as_they_are_written(app: Flask, written: Any, address: str) -> None:
    """All forms that Flask-Mail takes, down to the bare address of the envelope."""
    with app.app_context():
        assert freeze(app, Message("s", [written], body="b"))["recipients"] == [address]


def test_the_default_sender_may_have_a_name(make_app: Any) -> None:
    """``MAIL_DEFAULT_SENDER`` as (name, address) holds for both kinds of message."""
    app = make_app(MAIL_DEFAULT_SENDER=("Büro", "app@x.org"))
    standard = EmailMessage()
    standard["To"] = "a@x.org"
    with app.app_context():
        for message in (Message("s", ["a@x.org"], body="b"), standard):
            frozen = freeze(app, message)
            assert frozen["sender"] == "app@x.org"
            assert parsed(frozen)["From"].addresses[0].display_name == "Büro"


def test_international_domains_are_written_in_ascii(app: Flask) -> None:
    """Envelope and headers have the form that every server takes."""
    standard = EmailMessage()
    standard["To"] = "Bücher <a@bücher.example>"
    standard["Reply-To"] = "r@bücher.example"
    with app.app_context():
        for message in (Message("s", [("Bücher", "a@bücher.example")], body="b"), standard):
            frozen = freeze(app, message)
            assert frozen["recipients"] == ["a@xn--bcher-kva.example"]
            address = parsed(frozen)["To"].addresses[0]
            assert address.addr_spec == "a@xn--bcher-kva.example"
            assert address.display_name == "Bücher"
    assert parsed(frozen)["Reply-To"] == "r@xn--bcher-kva.example"


def test_a_standard_message_gets_what_it_lacks(app: Flask) -> None:
    """From, Date and a Message-ID of the sender's domain are added; what is there stays."""
    bare = EmailMessage()
    bare["To"] = "a@x.org"
    mail = parsed(freeze(app, bare))
    assert mail["From"] == "app@x.org"
    assert mail["Date"].datetime is not None
    assert mail["Message-ID"].strip().endswith("@x.org>")
    bare["From"], bare["Message-ID"] = "Me <me@y.org>", "<1@y.org>"
    frozen = freeze(app, bare)
    assert (frozen["sender"], frozen["message_id"]) == ("me@y.org", "<1@y.org>")


def test_sender_and_resent_headers_make_the_envelope(app: Flask) -> None:
    """The rules of RFC 5322, 3.6: Sender before From, the Resent block before both."""
    message = EmailMessage()
    message["From"], message["Sender"] = "a@x.org, b@x.org", "b@x.org"
    message["To"] = "undisclosed-recipients:;"
    message["Bcc"] = "c@x.org"
    frozen = freeze(app, message)
    assert (frozen["sender"], frozen["recipients"]) == ("b@x.org", ["c@x.org"])
    message["Resent-Date"] = "Mon, 20 Oct 2025 10:00:00 +0000"
    message["Resent-From"], message["Resent-To"] = "r@x.org", "d@x.org"
    frozen = freeze(app, message)
    assert (frozen["sender"], frozen["recipients"]) == ("r@x.org", ["d@x.org"])
    message["Resent-Date"] = "Mon, 20 Oct 2025 11:00:00 +0000"
    with pytest.raises(ArgumentError, match="resent"):
        freeze(app, message)


def test_older_standard_messages_are_taken_too(app: Flask) -> None:
    """``MIMEMultipart`` and its kin are what much code still builds."""
    message = MIMEMultipart("alternative")
    message["To"], message["From"], message["Subject"] = "a@x.org", "b@x.org", "é"
    message.attach(MIMEText("é", "plain", "utf-8"))
    frozen = freeze(app, message)
    assert frozen["recipients"] == ["a@x.org"]
    assert parsed(frozen).get_body(("plain",)).get_content() == "é"


def test_a_frozen_mail_is_plain_data(make_app: Any) -> None:
    """Only JSON's types, bytes and tuples; and no password."""
    app = make_app(MAIL_USERNAME="user", MAIL_PASSWORD="hunter2")

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(each) for key, each in value.items())
        if isinstance(value, (list, tuple)):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, float, bool, bytes)

    with app.app_context():
        message = Message("s", [("A", "a@x.org")], html="<p>", date=1e9, body="b")
        message.attach("f", "a/b", bytearray(b"\xff"))
        frozen = freeze(app, message)
    assert plain(frozen)
    assert "hunter2" not in repr(frozen)


def test_flask_mail_messages_come_back_as_they_were(app: Flask) -> None:
    """Those who listen to Flask-Mail's signal see the message with all of its attributes."""
    with app.app_context():
        message = Message(
            subject="Grüße",
            recipients=["a@x.org", ("B", "b@x.org")],
            body="line\nline",
            html="<p>é</p>",
            alts={"calendar": "BEGIN"},
            sender=("Me", "me@x.org"),
            cc=["c@x.org"],
            bcc=["d@x.org"],
            reply_to="r@x.org",
            date=1e9,
            charset="utf-8",
            extra_headers={"X-A": "1"},
            mail_options=["RET=HDRS"],
            rcpt_options=["NOTIFY=NEVER"],
        )
        message.attach("a.bin", "application/octet-stream", bytes(range(256)), "inline", {"X": "1"})
        message.attach("ü.txt", "text/plain", "text")
        again = rebuild(freeze(app, message))
    attachments, old = again.__dict__.pop("attachments"), message.__dict__.pop("attachments")
    assert [vars(a) for a in attachments] == [vars(a) for a in old]
    assert vars(again) == vars(message)


def test_standard_messages_come_back_as_flask_mail_messages(app: Flask) -> None:
    """Tests that look into ``record_messages()`` need not care which kind was sent."""
    message = EmailMessage()
    message["Subject"], message["From"] = "Grüße", "Me <me@x.org>"
    message["To"], message["Bcc"] = "A <a@x.org>, b@x.org", "c@x.org"
    message["X-A"] = "1"
    message.set_content("line\nline\n")
    message.add_alternative("<p>é</p>", subtype="html")
    message.add_attachment(b"\0\xff", "application", "pdf", filename="a.pdf")
    with app.app_context():
        again = rebuild(freeze(app, message))
    assert (again.subject, again.sender) == ("Grüße", "Me <me@x.org>")
    assert (again.recipients, again.bcc) == (["A <a@x.org>", "b@x.org"], ["c@x.org"])
    assert (again.body, again.html) == ("line\nline\n", "<p>é</p>\n")
    assert again.extra_headers == {"X-A": "1"}
    attachment = again.attachments[0]
    assert (attachment.filename, attachment.data) == ("a.pdf", b"\0\xff")


def test_attached_messages_and_odd_dates_come_back_too(app: Flask) -> None:
    """What an EmailMessage can hold and a Flask-Mail message cannot is given as it is written."""
    attached = EmailMessage()
    attached["Subject"] = "inner"
    attached.set_content("inner text")
    message = EmailMessage()
    message["To"] = "a@x.org"
    message.set_content("outer")
    message.add_attachment(attached)
    with app.app_context():
        again = rebuild(freeze(app, message))
        assert again.attachments[0].content_type == "message/rfc822"
        assert b"inner text" in bytes(again.attachments[0].data)
        old = MIMEText("b")
        old["To"], old["Date"] = "a@x.org", "some day"
        assert rebuild(freeze(app, old)).date is None


ADDRESSES = (
    *("a@x.org", "Ann <a@x.org>", "Ann  Lee <a.b+c@x-y.org>", "<a@x.org>", '"Lee, Ann" <a@x.org>'),
    *("Ämne <a@x.org>", f"{'long' * 18}@example.com", "a@x.org, Ben <b@x.org>", '"a b"@x.org'),
)
TEXTS = ("", "one", "one\n", "one\r\ntwo\rthree\n\n", ".\n..\nFrom us\n", "Ämne\n", "x" * 2_000)


@pytest.mark.parametrize("encoding", [None, "base64", "quoted-printable"])
@pytest.mark.parametrize("text", TEXTS)
def test_it_says_what_the_library_would_write(app: Flask, text: str, encoding: str | None) -> None:
    """Headers mean the same, and the body is the same to the byte."""
    for address in ADDRESSES:
        message = EmailMessage()
        message["From"] = message["To"] = address
        message["Subject"] = "Words " * 20
        message["Date"] = "Sat, 21 Nov 2026 10:00:00 +0000"
        message["Message-ID"] = "<1@x.org>"
        message.set_content(text, cte=encoding)
        with app.app_context():
            frozen = freeze(app, message)
        theirs = message.as_bytes(policy=email.policy.SMTP)
        assert meaning(unpack(frozen["mime"])) == meaning(theirs)
        assert unpack(frozen["mime"]).partition(b"\r\n\r\n")[2] == theirs.partition(b"\r\n\r\n")[2]


def meaning(raw: bytes) -> list[tuple[str, str]]:
    headers = email.message_from_bytes(raw, policy=email.policy.default).items()
    return [(name, " ".join(str(value).split())) for name, value in headers]
