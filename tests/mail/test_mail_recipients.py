"""Every recipient has a fate of his own, over all attempts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from mail_servers import Drop

from flask_bgtask.mail import MailDeferred, MailRefused

Make = Callable[..., Any]

THREE = ("a@x.org", "b@x.org", "c@x.org")
GONE = "550 5.1.1 no such user"
LATER = "450 4.2.1 greylisted"
GOOD = "250 fine"


def test_those_who_are_refused_are_named_and_the_others_served(
    scripted: Make, make_post: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Some refused: the others get it once, the refused stand in the receipt and in the log."""
    server = scripted(rcpt=[GOOD, GONE, "551 elsewhere"])
    with caplog.at_level(logging.WARNING):
        receipt = make_post(server).freeze(*THREE).attempt()
    assert receipt.accepted == ("a@x.org",)
    assert receipt.refused == {
        "b@x.org": (550, "5.1.1 no such user"),
        "c@x.org": (551, "elsewhere"),
    }
    assert [mail.recipients for mail in server.mails] == [["a@x.org"]]
    assert "refused for 2 of 3 recipients: b@x.org: 550 5.1.1 no such user" in caplog.text


def test_all_refused_is_a_failure_that_names_them(scripted: Make, make_post: Make) -> None:
    """Nobody gets it: the job fails, with every recipient's code and text."""
    server = scripted(rcpt=[GONE, "551 elsewhere", "553 what"])
    post = make_post(server).freeze(*THREE)
    with pytest.raises(MailRefused) as caught:
        post.attempt()
    assert caught.value.recipients["b@x.org"] == (551, "elsewhere")
    for said in ("a@x.org: 550 5.1.1 no such user", "b@x.org: 551 elsewhere", "c@x.org: 553 what"):
        assert said in str(caught.value)
    assert not server.mails


def test_a_retry_by_hand_asks_for_all_again(scripted: Make, make_post: Make) -> None:
    """Once the mail failed for everybody, nobody counts as refused any more."""
    server = scripted(rcpt=[GONE, LATER, LATER])
    post = make_post(server).freeze("a@x.org", "b@x.org")
    with pytest.raises(MailDeferred):
        post.attempt(1, of=2)
    with pytest.raises(MailDeferred):
        post.attempt(2, of=2)
    post.memo = post.saved[-1]
    assert post.attempt(1, of=2).accepted == ("a@x.org", "b@x.org")


def test_only_the_deferred_are_tried_again(scripted: Make, make_post: Make) -> None:
    """Some deferred: the accepted get the mail once, the next attempts are for the rest."""
    server = scripted(rcpt=[GOOD, LATER, GONE, LATER, GOOD], body=["250 one", "250 two"])
    post = make_post(server).freeze(*THREE)
    for number in (1, 2):
        with pytest.raises(MailDeferred, match=r"b@x\.org: 450") as caught:
            post.attempt(number)
        assert "a@x.org" not in str(caught.value)
    receipt = post.attempt(3)
    assert [mail.recipients for mail in server.mails] == [["a@x.org"], ["b@x.org"]]
    assert receipt.accepted == ("a@x.org", "b@x.org")
    assert receipt.refused == {"c@x.org": (550, "5.1.1 no such user")}
    assert (receipt.attempts, receipt.server_reply) == (3, "250 two")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"rcpt": [GOOD, LATER, LATER]}, (450, "4.2.1 greylisted")),
        ({"rcpt": [GOOD, LATER], "mail": [GOOD, "451 busy"]}, (451, "busy")),
        ({"rcpt": [GOOD, LATER], "mail": [GOOD, GONE]}, (550, "5.1.1 no such user")),
        ({"rcpt": [GOOD, LATER, Drop]}, (0, "Connection unexpectedly closed")),
    ],
    ids=["recipient", "deferred", "refused", "lost"],
)
def test_in_the_last_attempt_the_rest_counts_as_refused(
    script: dict[str, Any], reason: tuple[int, str], scripted: Make, make_post: Make
) -> None:
    """A mail that somebody got has not failed; who did not get it is named, with why."""
    post = make_post(scripted(**script)).freeze("a@x.org", "b@x.org")
    with pytest.raises(MailDeferred):
        post.attempt(1, of=2)
    receipt = post.attempt(2, of=2)
    assert receipt.accepted == ("a@x.org",)
    assert receipt.refused == {"b@x.org": reason}


def test_crashes_are_no_attempts(scripted: Make, make_post: Make) -> None:
    """The last attempt is the last that is left, and an attempt that crashed used up none."""
    post = make_post(scripted(rcpt=[GOOD, LATER, GOOD])).freeze("a@x.org", "b@x.org")
    with pytest.raises(MailDeferred):
        post.attempt(2, of=2, crashes=1)
    assert post.attempt(3, of=2, crashes=1).refused == {}


def test_deferred_for_all_in_the_last_attempt_is_a_failure(scripted: Make, make_post: Make) -> None:
    """Nobody got it and no attempt is left."""
    post = make_post(scripted(rcpt=[LATER, LATER])).freeze("a@x.org", "b@x.org")
    with pytest.raises(MailDeferred, match=r"a@x\.org: 450 .* b@x\.org: 450") as caught:
        post.attempt(1, of=1)
    # As the receipt has them, which went through the store.
    assert {type(why) for why in caught.value.recipients.values()} == {tuple}


@pytest.mark.parametrize("step", ["data", "body"])
def test_a_mail_that_is_refused_late_leaves_the_deferred(
    step: str, scripted: Make, make_post: Make
) -> None:
    """What is said to the whole mail holds for those who were in it."""
    server = scripted(**{"rcpt": [GOOD, LATER], step: ["554 spam"]})
    post = make_post(server).freeze("a@x.org", "b@x.org")
    with pytest.raises(MailDeferred, match=r"b@x\.org"):
        post.attempt()
    receipt = post.attempt(2)
    assert receipt.accepted == ("b@x.org",)
    assert receipt.refused == {"a@x.org": (554, "spam")}


def test_a_421_for_one_recipient_ends_the_connection_for_all(
    scripted: Make, make_post: Make
) -> None:
    """Who was welcome before it did not get the mail, and is asked for again."""
    server = scripted(rcpt=[GOOD, "421 closing"])
    post = make_post(server).freeze("a@x.org", "b@x.org")
    with pytest.raises(MailDeferred, match="421"):
        post.attempt()
    assert post.attempt(2).accepted == ("a@x.org", "b@x.org")
    assert [mail.recipients for mail in server.mails] == [["a@x.org", "b@x.org"]]


@pytest.mark.parametrize("full", ["452 4.5.3 that is enough", "552 Too many recipients"])
def test_a_full_house_is_served_in_turns(full: str, scripted: Make, make_post: Make) -> None:
    """Too many at once: the rest get the mail right behind the others, in the same attempt."""
    server = scripted(rcpt=[GOOD, full, full, GOOD, full, GOOD])
    post = make_post(server).freeze(*THREE)
    receipt = post.attempt()
    assert [mail.recipients for mail in server.mails] == [[each] for each in THREE]
    assert (receipt.accepted, receipt.refused, receipt.attempts) == (THREE, {}, 1)
    # A crash on the way would not have the first ones served again.
    assert [memo["accepted"] for memo in post.saved] == [["a@x.org"], ["a@x.org", "b@x.org"]]


def test_no_room_for_the_first_is_a_deferral(scripted: Make, make_post: Make) -> None:
    """Turns go on only while somebody is served."""
    server = scripted(rcpt=["452 4.5.3 too many recipients"] * 3)
    post = make_post(server).freeze(*THREE)
    with pytest.raises(MailDeferred):
        post.attempt()
    assert len([line for line in server.all_commands if line.startswith("RCPT")]) == 3


def test_a_long_list_is_named_in_part(scripted: Make, make_post: Make) -> None:
    """The message of an error stays readable; its field has everybody."""
    many = [f"u{i}@x.org" for i in range(50)]
    post = make_post(scripted(rcpt=[GONE] * 50)).freeze(*many)
    with pytest.raises(MailRefused, match=r"u9@x\.org: 550 .*; and 40 more$") as caught:
        post.attempt()
    assert list(caught.value.recipients) == many


def test_an_address_that_is_not_ascii_needs_the_extension(scripted: Make, make_post: Make) -> None:
    """With SMTPUTF8 it is sent as it is; without, this recipient alone is refused."""
    able, unable = scripted(["SMTPUTF8", "8BITMIME"]), scripted([])
    for server in (able, unable):
        post = make_post(server).freeze("a@x.org", bcc=["jürgen@x.org"])
        receipt = post.attempt()
        if server is able:
            assert receipt.accepted == ("a@x.org", "jürgen@x.org")
            assert "RCPT TO:<jürgen@x.org>" in server.commands[0]
            assert "MAIL FROM:<app@x.org> SMTPUTF8" in server.commands[0]
        else:
            assert receipt.accepted == ("a@x.org",)
            assert receipt.refused["jürgen@x.org"][0] == 553


def test_headers_that_are_not_ascii_are_sent_where_they_are_understood(
    scripted: Make, make_post: Make
) -> None:
    """An EmailMessage to such an address has UTF-8 headers only for a server with SMTPUTF8."""
    from email.message import EmailMessage

    from flask_bgtask.mail import freeze

    message = EmailMessage()
    message["From"], message["To"] = "jürgen@x.org", "jürgen@x.org, a@x.org"
    message["Subject"] = "é"
    message.set_content("text")
    able, unable = scripted(["SMTPUTF8", "8BITMIME"]), scripted([])
    post = make_post(able)
    post.frozen = freeze(post.app, message)
    post.attempt()
    assert "To: jürgen@x.org".encode() in able.mails[0].body
    post = make_post(unable)
    post.frozen = freeze(post.app, message)
    with pytest.raises(MailRefused, match="SMTPUTF8"):
        post.attempt()
    message.replace_header("From", "b@x.org")
    post.frozen = freeze(post.app, message)
    assert post.attempt().accepted == ("a@x.org",)
    assert unable.mails[0].body.isascii()
