"""The reply at each stage decides what becomes of a mail (RFC 5321)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from mail_servers import Dribble, Drop, Flood, Hang

from flask_bgtask.errors import Abort
from flask_bgtask.mail import MailDeferred, MailRefused, Stage

#: Steps of a script, and the stages at which their replies count.
STEPS = {
    "greeting": Stage.GREETING,
    "mail": Stage.MAIL,
    "rcpt": Stage.RECIPIENT,
    "data": Stage.DATA,
    "body": Stage.BODY,
}

Make = Callable[..., Any]


def test_a_mail_is_handed_over(scripted: Make, make_post: Make) -> None:
    """The receipt says who gets it, what the server said and how it is to be found again."""
    server = scripted(body=["250 2.0.0 queued as 4711"])
    post = make_post(server).freeze("a@x.org", "b@x.org", body=".dot\n..\nend")
    receipt = post.attempt()
    assert receipt.accepted == ("a@x.org", "b@x.org")
    assert receipt.refused == {}
    assert receipt.server_reply == "250 2.0.0 queued as 4711"
    assert receipt.attempts == 1
    assert not receipt.possibly_duplicate
    mail = server.mails[0]
    assert (mail.sender, mail.recipients) == ("app@x.org", ["a@x.org", "b@x.org"])
    assert mail.body.endswith(b"\r\n\r\n.dot\r\n..\r\nend\r\n")
    assert f"Message-ID: {receipt.message_id}".encode() in mail.body


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("code", ["550", "552", "554", "500"])
def test_a_refusal_is_final(step: str, code: str, scripted: Make, make_post: Make) -> None:
    """5xx at any stage: the job fails at once, with stage, code and text."""
    post = make_post(scripted(**{step: [f"{code} 5.7.1 go away"]}))
    with pytest.raises(MailRefused) as caught:
        post.attempt()
    error = caught.value
    assert isinstance(error, Abort)
    assert (error.stage, error.code, error.text) == (STEPS[step], int(code), "5.7.1 go away")
    assert str(error).startswith(f"{STEPS[step]}: ")
    assert f"{code} 5.7.1 go away" in str(error)


@pytest.mark.parametrize("step", [*STEPS, "ehlo"])
@pytest.mark.parametrize("code", ["421", "450", "451", "452"])
def test_a_deferral_is_tried_again(step: str, code: str, scripted: Make, make_post: Make) -> None:
    """4xx at any stage: another attempt follows, and it sends the very same mail."""
    script = {step: [f"{code} 4.3.0 later"]}
    if step == "ehlo":
        script["helo"] = [f"{code} 4.3.0 later"]
    server = scripted(**script)
    post = make_post(server)
    with pytest.raises(MailDeferred) as caught:
        post.attempt()
    assert caught.value.code == int(code)
    assert caught.value.text == "4.3.0 later"
    receipt = post.attempt(2)
    assert receipt.attempts == 2
    assert not receipt.possibly_duplicate
    assert [mail.recipients for mail in server.mails] == [["a@x.org"]]


@pytest.mark.parametrize("step", [*STEPS, "ehlo"])
@pytest.mark.parametrize(
    "what",
    [
        *(Drop, Hang, Dribble(b"2"), Dribble(b"250-more\r\n")),
        *(b"\xff\xfe\r\n", b"\r\n", "999 what", b"250 " + b"x" * 9000 + b"\r\n"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_whatever_else_happens_is_tried_again(
    step: str, what: Any, scripted: Make, make_post: Make
) -> None:
    """A lost, silent, endless or senseless connection: given up in time, and tried again."""
    script = {step: [what]}
    if step == "ehlo":
        script["helo"] = [what]
    server = scripted(**script)
    post = make_post(server, BGTASK_MAIL_TIMEOUT=0.5)
    began = time.monotonic()
    with pytest.raises(MailDeferred) as caught:
        post.attempt()
    assert time.monotonic() - began < 5
    assert caught.value.code in (0, 999)
    receipt = post.attempt(2)
    assert server.mails[-1].recipients == ["a@x.org"]
    # Only where the whole mail went out is it unknown what became of it.
    assert receipt.possibly_duplicate == (step == "body")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("flood", [b"x" * 65536, b"250-and more\r\n" * 1000], ids=["line", "lines"])
def test_an_endless_reply_is_not_read(
    step: str, flood: bytes, scripted: Make, make_post: Make
) -> None:
    """A banner of a gigabyte, in one line or in many, costs neither memory nor time."""
    post = make_post(scripted(**{step: [Flood(flood)]}))
    began = time.monotonic()
    with pytest.raises(MailDeferred, match="reply"):
        post.attempt()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "script",
    [
        {"mail": ["354 go"]},
        {"rcpt": ["354 go"]},
        {"data": ["250 fine"]},
        {"body": ["354 go"]},
        {"greeting": ["250 fine"]},
        {"greeting": ["220 hi\r\n250 fine\r\n250 fine\r\n250 fine\r\n354 go\r\n250 taken"]},
        {"mail": ["250 fine\r\n250 fine"]},
        {"data": ["354 go\r\n250 taken"]},
    ],
    ids=str,
)
def test_replies_that_belong_elsewhere_are_not_believed(
    script: dict[str, list[Any]], scripted: Make, make_post: Make
) -> None:
    """A server that is out of step is left; its words are not taken for an answer."""
    server = scripted(**script)
    post = make_post(server)
    with pytest.raises(MailDeferred):
        post.attempt()
    assert post.attempt(2).accepted == ("a@x.org",)
    assert len(server.commands) == 2


def test_nobody_there_is_tried_again(make_post: Make) -> None:
    """A server that is down refuses connections: it will be back."""
    with pytest.raises(MailDeferred, match=r"connect: .*refused"):
        make_post(1).attempt()


def test_a_name_that_is_not_found_is_tried_again(make_post: Make) -> None:
    """Name servers are out of order at times."""
    with pytest.raises(MailDeferred, match="connect: "):
        make_post(1, MAIL_SERVER="nowhere.invalid").attempt()


def test_an_old_server_is_greeted_its_way(scripted: Make, make_post: Make) -> None:
    """A server that knows no EHLO gets HELO, no parameters, and ASCII alone."""
    server = scripted(ehlo=["502 what"])
    make_post(server).freeze(body="é", mail_options=["RET=HDRS"]).attempt()
    assert server.commands[0][1].lower().startswith("helo")
    assert "MAIL FROM:<app@x.org>" in server.commands[0]
    assert server.mails[0].body.isascii()


def test_an_error_at_quit_is_no_failure(scripted: Make, make_post: Make) -> None:
    """The mail was taken; how the server says goodbye changes nothing."""
    for action in (Drop, Hang, "500 no", b"\xff"):
        server = scripted(quit=[action])
        post = make_post(server, MAIL_MAX_EMAILS=1)
        assert post.attempt().accepted == ("a@x.org",)
        assert server.commands[0][-1] == "QUIT"


@pytest.mark.parametrize("limit", ["1000", "0", "", "lots"])
def test_a_mail_over_the_announced_size_is_not_sent(
    limit: str, scripted: Make, make_post: Make
) -> None:
    """The server said beforehand that it would refuse it (RFC 1870); 0 and nothing are no limit."""
    server = scripted([f"SIZE {limit}"])
    post = make_post(server).freeze(body="x\n" * 1000)
    if limit == "1000":
        with pytest.raises(MailRefused, match=r"SIZE: 552 .* at most 1,000"):
            post.attempt()
        assert not server.mails
        post.freeze().attempt()  # on the same connection
        assert len(server.commands) == 1
    else:
        post.attempt()
        size = len(server.mails[0].body)
        assert f"MAIL FROM:<app@x.org> SIZE={size}" in server.commands[0]


def test_eight_bits_go_only_where_they_are_welcome(scripted: Make, make_post: Make) -> None:
    """With 8BITMIME the mail goes as it is and says so; without, it is encoded anew."""
    able, unable = scripted(["8BITMIME"]), scripted([])
    make_post(able).freeze(body="é", mail_options=["BODY=7BIT"]).attempt()
    make_post(unable).freeze(body="é", mail_options=["BODY=8BITMIME"]).attempt()
    assert "MAIL FROM:<app@x.org> BODY=8BITMIME" in able.commands[0]
    assert "é".encode() in able.mails[0].body
    assert "MAIL FROM:<app@x.org>" in unable.commands[0]
    assert b"=C3=A9" in unable.mails[0].body


def test_options_of_the_message_are_passed_on(scripted: Make, make_post: Make) -> None:
    """``mail_options`` and ``rcpt_options`` hold as in Flask-Mail."""
    server = scripted([])
    make_post(server).freeze(mail_options=["RET=HDRS"], rcpt_options=["NOTIFY=NEVER"]).attempt()
    assert "MAIL FROM:<app@x.org> RET=HDRS" in server.commands[0]
    assert "RCPT TO:<a@x.org> NOTIFY=NEVER" in server.commands[0]


def test_what_the_server_says_is_made_fit_to_be_shown(scripted: Make, make_post: Make) -> None:
    """One line without control characters, however the reply was."""
    reply = b"550-first\r\n550-\x1b[31msecond\x07\r\n550 " + b"long " * 1000 + b"\r\n"
    with pytest.raises(MailRefused) as caught:
        make_post(scripted(mail=[reply])).attempt()
    assert caught.value.text.startswith("first ")
    assert caught.value.text.isprintable()
    assert len(caught.value.text) <= 500


def test_nothing_is_sent_outside_a_job(make_post: Make) -> None:
    """The body of the task needs a job to keep its memo in."""
    from flask_bgtask.mail import deliver

    post = make_post(1)
    with post.app.app_context(), pytest.raises(RuntimeError, match=r"bg\.send_mail"):
        deliver(post.frozen)
