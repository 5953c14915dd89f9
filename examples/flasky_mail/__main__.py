"""Serves the demo: ``python -m examples.flasky_mail``, or ``make demo``.

Starts the SMTP server whose mail the inbox page shows, then gunicorn. Ctrl-C or SIGTERM ends
everything.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from . import INSTANCE, create_app

#: Processes that serve the web pages. All see the same jobs, as they share the store.
WORKERS = 2

HOST = "127.0.0.1"

WELCOME = """
Flasky Mail serves at     {url}
  mail that was sent      {url}/inbox
  background jobs         {url}/bgtasks
  SMTP server             127.0.0.1:{MAIL_PORT}

Ctrl-C stops it.
"""


def listen(port: int) -> socket.socket:
    """A listening socket on this port, or on the next one that is free; 0 takes any."""
    for candidate in range(port, min(port + 100, 65536)):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, candidate))
            listening.listen(128)
        except OSError:
            listening.close()
        else:
            return listening
    raise SystemExit(f"No free port from {port} on: give another with --port or --smtp-port.")


@contextmanager
def catcher(listening: socket.socket, mailbox: str) -> Iterator[None]:
    """The SMTP server in a process of its own, until the block ends."""
    command = [sys.executable, "-m", f"{__package__}.catcher", "--mailbox", mailbox]
    process = subprocess.Popen(
        [*command, "--socket", str(listening.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listening.fileno()],
        cwd=Path(__file__).parents[2],
    )
    listening.close()
    starter = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == starter:  # a worker process leaves through here too
            process.communicate(timeout=10)


class Server(BaseApplication):
    """Gunicorn, on a socket that listens already."""

    def __init__(self, listening: socket.socket, instance: Path, config: dict[str, Any]) -> None:
        self.listening = listening
        self.instance = instance
        self.app_config = config
        self.processes = instance / "processes"
        shutil.rmtree(self.processes, ignore_errors=True)
        self.processes.mkdir(parents=True)
        self.note(os.getpid())
        super().__init__()

    def load_config(self) -> None:
        """Gunicorn's settings."""
        settings = {
            "bind": f"fd://{self.listening.detach()}",
            "workers": WORKERS,
            "worker_class": "gthread",
            "threads": 8,
            "graceful_timeout": 3,
            "loglevel": "warning",
            "control_socket_disable": True,  # it would be made in the home folder
            "post_fork": lambda arbiter, worker: self.note(worker.pid),
            "child_exit": lambda arbiter, worker: self.forget(worker.pid),
        }
        for name in settings.keys() & self.cfg.settings.keys():  # older ones lack the socket
            self.cfg.set(name, settings[name])

    def load(self) -> Flask:
        """The application of one worker process."""
        return create_app(self.app_config, instance=self.instance)

    def note(self, process: int) -> None:
        """Write down that the process serves; the mailing page shows how to kill it."""
        (self.processes / str(process)).touch()

    def forget(self, process: int) -> None:
        """The process is gone."""
        (self.processes / str(process)).unlink(missing_ok=True)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m examples.flasky_mail", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="for the pages (5000)")
    parser.add_argument("--smtp-port", type=int, default=8025, help="for the mail (8025)")
    parser.add_argument("--instance", type=Path, default=INSTANCE, help="folder for its files")
    options = parser.parse_args()
    instance = options.instance.resolve()
    web, smtp = listen(options.port), listen(options.smtp_port)
    port_of_web = web.getsockname()[1]
    config = {"MAIL_PORT": smtp.getsockname()[1], "MAILBOX": str(instance / "mailbox.sqlite3")}
    server = Server(web, instance, config)
    print(WELCOME.format(url=f"http://{HOST}:{port_of_web}", **config), flush=True)
    with catcher(smtp, config["MAILBOX"]):
        server.run()


if __name__ == "__main__":
    main()
