"""The demo in a process of its own, and a browser for it."""

from __future__ import annotations

import contextlib
import html
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

#: Seconds within which anything in these tests has to happen.
PATIENCE = 30

#: Seconds between two looks at a page.
PACE = 0.1


class Browser:
    """Asks for pages as a browser does, with cookies."""

    def __init__(self, base: str) -> None:
        self.base = base
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar)
        )

    def get(self, path: str, accept: str = "text/html") -> str:
        return self._open(path, None, accept)[1]

    def json(self, path: str) -> Any:
        return json.loads(self.get(path, "application/json"))

    def post(self, path: str, accept: str = "text/html", **form: object) -> tuple[str, str]:
        """Where it led, after redirects, and the page there."""
        return self._open(path, urllib.parse.urlencode(form).encode(), accept)

    def _open(self, path: str, data: bytes | None, accept: str) -> tuple[str, str]:
        url = urllib.parse.urljoin(self.base, path)
        request = urllib.request.Request(url, data, {"Accept": accept})
        with self.opener.open(request, timeout=PATIENCE) as answer:
            return answer.url, answer.read().decode()


class Demo:
    """The running demo, in a ``with`` block: what it printed, and its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "examples.flasky_mail", "--port", "0", "--smtp-port", "0"]
        self.process = subprocess.Popen(
            [*command, "--instance", str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.printed: list[str] = []
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Demo:
        try:
            assert self._told.wait(PATIENCE), self.printed
            self.url = self._printed(r"serves at +(http://\S+)")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.printed.append(line)
                if "Ctrl-C" in line:
                    self._told.set()
        self._told.set()

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, "".join(self.printed))
        assert found, self.printed
        return found[1]

    def stop(self, number: signal.Signals) -> float:
        """Send the signal to the starting process alone; seconds until all had ended.

        The reader ends when nobody holds the output any more: no process is left over.
        """
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "a process outlived the demo"
        self.process.wait(PATIENCE)
        return time.monotonic() - began


def register(browser: Browser, name: str) -> str:
    """Register somebody; the link in the mail that came."""
    address = f"{name}@example.com"
    browser.post("/register", email=address, username=name, password="a password")
    return str(eventually(lambda: link_for(browser, address)))


def log_in(browser: Browser, name: str) -> str:
    """The page that a user gets who logs in."""
    return browser.post("/login", email=f"{name}@example.com", password="a password")[1]


def link_for(browser: Browser, address: str) -> str | None:
    """The link of the confirmation mail to somebody, if it is in the inbox."""
    for mail in re.findall(r"(?s)<article.*?</article>", browser.get("/inbox")):
        if address in mail and (found := re.search(r'href="(http[^"]+/confirm/[^"]+)"', mail)):
            return html.unescape(found[1])
    return None


def eventually(look: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What ``look`` returns once that is true, within so many seconds."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(PACE)
    return found
