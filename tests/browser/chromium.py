"""A headless Chromium, spoken to over two pipes: its DevTools protocol is JSON with a zero byte at the end of each message.

So nothing has to be installed beside the browser itself.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # as root in a container there is none; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # whatever a page asks for, nothing leaves this machine
    "--remote-debugging-pipe",
)
# The browser reads its pipe at 3 and writes at 4; the numbers that the two have here are above those first.
START = """import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place, inheritable=True)
os.execv(sys.argv[3], sys.argv[3:])"""
PATIENCE = 30.0  # seconds for an answer


def found() -> str | None:
    """Where the browser is, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Visit(NamedTuple):
    """What a page did while it was loaded."""

    requests: list[str]  # addresses, in order
    errors: list[str]  # of the console: uncaught errors, failed loads, what a policy forbids


class Browser:
    """One browser with one tab. `events` are those of the page since it was opened."""

    def __init__(self, read: int, write: int):
        self.read, self.write, self.buffer, self.number = read, write, b"", 0
        self.events, self.session = [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params) -> dict:
        """The answer to a command of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while (answer := self.heard(deadline)).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def heard(self, deadline: float) -> dict:
        """The next message of the browser."""
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            if not (got := os.read(self.read, 2**20)):
                raise EOFError("the browser has gone")
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, url: str) -> Visit:
        """Load a page to its end, with all that it asks for."""
        self.load("about:blank")  # so that a page is loaded anew, also where only its anchor would differ
        self.load(url)
        self.run("window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => 0) : 0")
        self.run("new Promise(done => setTimeout(done, 50))")  # what a page asks for late
        return Visit(list(map(address, self.named("Network.requestWillBeSent"))), list(self.complaints()))

    def load(self, url: str) -> None:
        """Go somewhere, and wait until the page there is whole. What was heard before is forgotten."""
        self.events.clear()
        self.ask("Page.navigate", url=url)
        deadline = time.monotonic() + PATIENCE
        while not any(self.named("Page.loadEventFired")):
            self.events.append(self.heard(deadline))

    def named(self, method: str) -> Iterator[dict]:
        """What the events of a kind say."""
        return (event["params"] for event in self.events if event.get("method") == method)

    def complaints(self) -> Iterator[str]:
        """Every error that a person would see in the console."""
        for params in self.named("Runtime.exceptionThrown"):
            details = params["exceptionDetails"]
            yield details.get("exception", {}).get("description", details["text"])
        for params in self.named("Runtime.consoleAPICalled"):
            if params["type"] in ("error", "assert"):
                yield " ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"])
        for params in self.named("Log.entryAdded"):
            if params["entry"]["level"] == "error":
                yield f"{params['entry']['text']} {params['entry'].get('url', '')}"

    def run(self, code: str):
        """The value of a JavaScript expression in the page; a promise is waited for."""
        done = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"]["text"])
        return done["result"].get("value")

    def resize(self, width: int, height: int = 800) -> None:
        """The window of a phone, or of a desk."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def theme(self, name: str) -> None:
        """ "light" or "dark"."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.ask("Page.printToPDF", preferCSSPageSize=True)["data"])

    def picture(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])


def address(params: dict) -> str:
    """What a request asks for."""
    return params["request"]["url"]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own, with an empty profile, that is gone afterwards."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, open(Path(profile, "log"), "wb") as log:
        command = [sys.executable, "-c", START, str(theirs_in), str(theirs_out), found()]
        child = subprocess.Popen(
            [*command, *FLAGS, f"--user-data-dir={profile}/profile"],
            pass_fds=(theirs_in, theirs_out),
            stdout=log,
            stderr=log,
        )
        os.close(theirs_in), os.close(theirs_out)
        try:
            made = Browser(ours_in, ours_out)
            yield made
            made.session = None
            made.ask("Browser.close")
        finally:
            os.close(ours_in), os.close(ours_out)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
