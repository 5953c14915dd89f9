"""What can never be sent is refused by ``send_mail`` itself, and named."""

from __future__ import annotations

import email
import email.policy
import io
from email.message import EmailMessage
from email.mime.text import MIMEText
from typing import Any

import pytest
from flask import Flask
from flask_mail import Attachment, BadHeaderError, Message

from flask_bgtask.errors import ArgumentError, ConfigError
from flask_bgtask.mail import freeze
from flask_bgtask.mail.mime import unpack


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
        {"alts": {"html\nX: y": "<b>"}},
        {"alts": {"html\u2028X: y": "<b>"}},
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


@pytest.mark.parametrize(
    "domain", ["x\uff1e.org", "x.org\uff1e\u00a8SIZE=1", "evil.org\uff20x.org", "a\uff0cb.org"]
)
def test_no_wide_character_ends_an_address(app: Flask, domain: str) -> None:
    """The ASCII form of a domain may have others than it was written with: "＞" becomes ">"."""
    standard = EmailMessage(policy=email.policy.compat32)
    standard["To"] = f"a@{domain}"
    with app.app_context():
        for message in (Message("s", [f"a@{domain}"], body="b"), standard):
            with pytest.raises(ArgumentError, match=r"domain|address"):
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
        raw = unpack(freeze(app, message)["mime"])
    mail = email.message_from_bytes(raw, policy=email.policy.default)
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
