"""A message is data once it was given to ``send_mail``."""

from __future__ import annotations

import copy
import email
import email.policy
import io
import threading
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
from flask import Flask
from flask_mail import Attachment, BadHeaderError, Message

from flask_bgtask.errors import ArgumentError, ConfigError
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


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "a\nBcc: evil@x.org"},
        {"subject": "a\r\n\r\nbody"},
        {"sender": "a@x.org\nBcc: evil@x.org"},
        {"recipients": ["a@x.org\r\nRCPT TO:<evil@x.org>"]},
        {"recipients": [("A\nB", "a@x.org")]},
        {"recipients": [("A", "a@x.org\nX: y")]},
        {"cc": ["a@x.org\nX: y"]},
        {"bcc": ["a@x.org\nX: y"]},
        {"reply_to": "a@x.org\nX: y"},
        {"extra_headers": {"X-A": "1\nBcc: evil@x.org"}},
        {"extra_headers": {"X-A": "1\vBcc: evil@x.org"}},
        {"extra_headers": {"X-A": "1\u2028Bcc: evil@x.org"}},
        {"extra_headers": {"X-A\nX-B": "1"}},
        {"attachments": [Attachment("a\nX: y", "text/plain", "t")]},
        {"attachments": [Attachment("a", "text/plain\nX: y", "t")]},
        {"attachments": [Attachment("a", "text/plain", "t", headers={"X": "1\nY: 2"})]},
        {"mail_options": ["RET=HDRS\r\nRCPT TO:<evil@x.org>"]},
        {"rcpt_options": ["NOTIFY=NEVER\r\nDATA"]},
    ],
    ids=str,
)
def test_a_line_break_in_a_header_is_refused_at_submit(app: Flask, change: dict[str, Any]) -> None:
    """Nothing can begin another header or command, in whichever field it is tried."""
    with app.app_context():
        good = {"subject": "s", "recipients": ["a@x.org"], "body": "b"}
        message = Message(**(good | change))
        with pytest.raises(BadHeaderError):
            freeze(app, message)


def test_a_line_break_in_a_standard_message_is_refused(app: Flask) -> None:
    """The library's older policy lets line breaks into headers; they are found here."""
    message = MIMEText("b")
    message["To"] = "a@x.org"
    message["Subject"] = "s\nBcc: evil@x.org"
    with pytest.raises(BadHeaderError, match="Subject"):
        freeze(app, message)


def test_a_folded_header_is_allowed(app: Flask) -> None:
    """A long value may go on in the next line, behind white space."""
    with app.app_context():
        message = Message("a\r\n b", ["a@x.org"], body="b", extra_headers={"X-A": "1,\r\n\t2"})
        mail = parsed(freeze(app, message))
    assert (mail["Subject"], mail["X-A"].split()) == ("a b", ["1,", "2"])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"recipients": []}, "message.recipients"),
        ({"recipients": "a@x.org"}, "message.recipients"),
        ({"recipients": ["a@x.org", "two words"]}, r"message.recipients\[1\]"),
        ({"recipients": [""]}, r"message.recipients\[0\]"),
        ({"recipients": ["a@x.org, b@x.org"]}, r"message.recipients\[0\]"),
        ({"recipients": ["Doe, Ann <a@x.org>"]}, r"message.recipients\[0\].*comma"),
        ({"recipients": [("A", "a@x.org", "b")]}, r"message.recipients\[0\]"),
        ({"cc": ["a@x>org"]}, r"message.cc\[0\]"),
        ({"bcc": ["a@" + "ü" * 70]}, r"message.bcc\[0\]"),
        ({"recipients": ["jürgen@x.org"]}, r"message.recipients\[0\].*EmailMessage"),
        ({"sender": "not an address"}, "message.sender"),
        ({"extra_headers": {"Bcc": "b@x.org"}}, "bcc"),
        ({"charset": "klingon"}, "message.charset"),
        ({"attachments": [Attachment("f", "a/b", io.BytesIO(b"x"))]}, r"attachments\[0\].*BytesIO"),
    ],
    ids=str,
)
def test_what_can_never_be_sent_is_refused_at_submit(
    app: Flask, change: dict[str, Any], path: str
) -> None:
    """The error names the place in the message."""
    with app.app_context():
        message = Message(**({"subject": "s", "recipients": ["a@x.org"]} | change))
        with pytest.raises(ArgumentError, match=path):
            freeze(app, message)


def test_only_messages_are_mail(app: Flask) -> None:
    """Anything else is refused with what is expected."""
    with pytest.raises(ArgumentError, match=r"dict.*EmailMessage"):
        freeze(app, {"subject": "s"})


def test_a_sender_is_needed(make_app: Any) -> None:
    """Without one, and without a default, there is nothing to say who writes."""
    app = make_app(MAIL_DEFAULT_SENDER=None)
    standard = EmailMessage()
    standard["To"] = "a@x.org"
    with app.app_context():
        for message in (Message("s", ["a@x.org"]), standard):
            with pytest.raises(ArgumentError, match="MAIL_DEFAULT_SENDER"):
                freeze(app, message)


def test_flask_mail_has_to_be_there(make_app: Any) -> None:
    """An app without Flask-Mail, or without a server, is told so at submit."""
    message = EmailMessage()
    message["To"] = "a@x.org"
    with pytest.raises(ConfigError, match="init_app"):
        freeze(Flask("bare"), message)
    with pytest.raises(ConfigError, match="MAIL_SERVER"):
        freeze(make_app(MAIL_SERVER=None), message)
    assert freeze(make_app(MAIL_SERVER=None, MAIL_SUPPRESS_SEND=True), message)


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
