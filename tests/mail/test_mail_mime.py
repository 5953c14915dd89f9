"""The bytes that go out fit SMTP, and say what the message said."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import flask_mail  # its import switches the process to 8-bit bodies: part of what is tested
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_bgtask.mail import freeze
from flask_bgtask.mail.mime import ascii_headers, fit, pack, seven_bit, unpack

NASTY = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from(["\r", "\n", "\0", ".", " ", "="])),
    max_size=200,
).flatmap(lambda text: st.sampled_from([text, text * 20, "x" * 1200 + text, text + "é" * 990]))


def lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


@given(text=NASTY, ascii_only=st.booleans())
@settings(deadline=None)
def test_any_body_arrives_as_it_was(text: str, ascii_only: bool) -> None:
    """Whatever the body holds, the mail is fit for SMTP and decodes to the same lines."""
    app = Flask("mime")
    app.config["MAIL_DEFAULT_SENDER"] = "a@x.org"
    flask_mail.Mail(app)
    with app.app_context():
        message = flask_mail.Message("s", ["a@x.org"], body=text, html=text)
        raw = unpack(freeze(app, message)["mime"])
    if ascii_only:
        raw = seven_bit(raw)
        assert raw.isascii()
    assert b"\0" not in raw
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    parsed: Any = email.message_from_bytes(raw, policy=email.policy.default)
    for kind in ("plain", "html"):
        content = parsed.get_body((kind,)).get_payload(decode=True).decode("utf-8")
        assert lines(content) == lines(text)


@given(data=st.binary(max_size=2000))
@settings(deadline=None)
def test_attachments_arrive_byte_by_byte(data: bytes) -> None:
    """Re-encoding text never touches what is encoded already."""
    message = EmailMessage()
    message.set_content("é" * 2000, cte="8bit")
    message.add_attachment(data, "application", "octet-stream")
    raw = seven_bit(fit(message.as_bytes(policy=email.policy.SMTP)))
    parsed: Any = email.message_from_bytes(raw, policy=email.policy.default)
    assert next(parsed.iter_attachments()).get_content() == data


def test_a_fit_message_is_not_touched() -> None:
    """Mail that any server can take goes out byte by byte as it was rendered."""
    raw = b"Subject: s\r\n and more\r\nX-A:1\r\n\r\n.\r\n..\r\nbody\r\n"
    assert fit(raw) == raw
    assert seven_bit(raw) == raw


def test_signed_parts_are_left_alone() -> None:
    """Another encoding would break the signature: rather a long line than a broken promise."""
    part = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "é".encode() + b"x" * 1500
    raw = (
        b'Content-Type: multipart/signed; boundary="b"\r\n\r\n'
        b"--b\r\n" + part + b"\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\n"
        b"sig\r\n--b--\r\n"
    )
    assert part in fit(raw)
    assert part in seven_bit(raw)


@pytest.mark.parametrize("container", ["multipart/mixed", "message/rfc822"])
def test_what_is_inside_a_container_is_encoded_too(container: str) -> None:
    """Parts of parts and attached messages are no exception, nor is the container's own word."""
    inner = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    inner += "é\r\n".encode()
    if container == "multipart/mixed":
        head = b'Content-Type: multipart/mixed; boundary="b"\r\n'
        inner = b"--b\r\n" + inner + b"--b--\r\n"
    else:
        head = b"Content-Type: message/rfc822\r\n"
    raw = seven_bit(head + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + inner)
    assert raw.isascii()
    assert b"8bit" not in raw
    parts = [p for p in email.message_from_bytes(raw).walk() if not p.is_multipart()]
    content = parts[0].get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.rstrip() == "é".encode()


def test_headers_can_be_written_in_ascii() -> None:
    """UTF-8 in headers becomes encoded words; the body stays."""
    raw = "Subject: Grüße\r\nTo: a@x.org\r\n\r\nbody é\r\n".encode()
    head, _, body = ascii_headers(raw).partition(b"\r\n\r\n")
    assert head.isascii()
    assert body == "body é\r\n".encode()
    parsed: Any = email.message_from_bytes(head, policy=email.policy.default)
    assert parsed["Subject"] == "Grüße"


@pytest.mark.parametrize(
    "word",
    [
        "=?utf-8?q?a=0D=0AX-Evil:_1?=",
        "=?utf-8?q?a=0AX-Evil:_1?=",
        "=?utf-8?b?YQ0KWC1FdmlsOiAx?=",
        "=?utf-16?b?YQAKAFgALQA=?=",
        "=?utf-8?q?a=E2=80=A8X-Evil:_1?=",
        "=?no-such-charset?q?a=0D=0AX-Evil:_1?=",
        "=?utf-8?b?YQ0KWC1FdmlsOiA?=",
    ],
)
@pytest.mark.parametrize("where", ["Subject: {} é", "To: {} <a@x.org>", "X-Y: {}\r\n {} ü"])
def test_no_header_hides_in_an_encoded_word(word: str, where: str) -> None:
    """A line break that is written within one is not decoded into one."""
    raw = (where.replace("{}", word) + "\r\nFrom: ü@x.org\r\n\r\nbody").encode()
    head = ascii_headers(raw).partition(b"\r\n\r\n")[0]
    assert head.isascii()
    names = [line.partition(b":")[0] for line in head.splitlines() if line[:1] not in b" \t"]
    assert names == [where.partition(":")[0].encode(), b"From"]


def test_bytes_of_any_charset_are_kept() -> None:
    """A mail waits as text where it can, and as bytes where it is no UTF-8."""
    for raw in ("é".encode(), "é".encode("latin-1"), bytes(range(256))):
        assert unpack(pack(raw)) == raw
    assert isinstance(pack("é".encode()), str)
