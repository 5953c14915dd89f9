"""200 mails by one worker, beside one held SMTP connection that sends the same.

The server is a process of its own on the loopback interface. The clock runs from the first
submit to the end of the last job; the other side has its messages ready, as a script would.
"""

from __future__ import annotations

import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from flask import Flask
from flask_mail import Mail

from flask_bgtask import BackgroundTasks

ROUNDS = 5
MAILS = 200

SERVER = """
import asyncio, socket, sys
from aiosmtpd.smtp import SMTP

class Sink:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), hostname="localhost"), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()

asyncio.run(main())
"""


@contextmanager
def smtp_server() -> Iterator[int]:
    """The port of a server that takes everything."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def message(number: int) -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = f"Message {number}"
    made["From"] = "us@example.com"
    made["To"] = f"user{number}@example.com"
    made.set_content("Hello,\n\nthis is a mail of an ordinary length.\n" * 10)
    return made


def held(port: int) -> float:
    """Seconds for all mails over one connection."""
    messages = [message(n) for n in range(MAILS)]
    with smtplib.SMTP("127.0.0.1", port) as connection:
        connection.noop()
        begin = time.perf_counter()
        for each in messages:
            connection.send_message(each)
        return time.perf_counter() - begin


def ours(port: int, store: str, folder: str) -> float:
    """Seconds for all mails by one worker."""
    bg = BackgroundTasks()
    app = Flask("bench", instance_path=folder)
    app.config.update(BGTASK_STORE=store, BGTASK_WORKERS=1, MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    Mail(app)
    bg.init_app(app)
    messages = [message(n) for n in range(MAILS + 1)]
    with app.app_context():
        bg.send_mail(messages.pop()).result(30)
        begin = time.perf_counter()
        handles = [bg.send_mail(each) for each in messages]
        for handle in handles:
            handle.result(60)
        seconds = time.perf_counter() - begin
        bg.shutdown()
    return seconds


def main() -> dict[str, float]:
    ratios: dict[str, list[float]] = {"memory": [], "sqlite": []}
    with smtp_server() as port:
        held(port)
        for _ in range(ROUNDS):
            for store, found in ratios.items():
                with tempfile.TemporaryDirectory() as folder:
                    theirs, mine = held(port), ours(port, store, folder)
                found.append(theirs / mine)
                print(
                    f"  held connection {MAILS / theirs:6.0f}/s   bg.send_mail with {store} "
                    f"{MAILS / mine:6.0f}/s   {found[-1]:.2f}"
                )
    for store, found in ratios.items():
        ratio = statistics.median(found)
        print(f"mail: {ratio:.2f} of the rate of a held connection with {store} (0.9 is wanted)")
    return {store: statistics.median(found) for store, found in ratios.items()}


if __name__ == "__main__":
    main()
