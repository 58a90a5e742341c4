"""A headless Chromium on a leash: pages are opened, asked and watched through its debugging pipe.

Nothing but the standard library: messages are JSON, ended by a zero byte, on the browser's file descriptors 3 and 4.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_S = 60.0

LAUNCHER = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Puts two pipes where the browser looks for them. (A shell can do so only for descriptors below 10.)"""


@dataclass
class Page:
    """What a page did since it was opened."""

    console: list[str] = field(default_factory=list)
    """Messages, errors and refused requests, as a developer would see them."""
    requests: list[str] = field(default_factory=list)
    """Addresses that the page asked for, its own among them."""


class Chromium:
    """One browser with one page. Use `browser`, which ends it."""

    def __init__(self, process: subprocess.Popen[bytes], write_end: int, read_end: int) -> None:
        self._process = process
        self._write_end, self._read_end = write_end, read_end
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.page = Page()

    def begin(self) -> None:
        """Takes hold of one page, and listens to it."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, page: Path, fragment: str = "") -> None:
        """Opens a page and waits until its script says that it is ready."""
        address = page.as_uri() + fragment
        # By way of an empty page: another fragment alone would not load anything.
        self._call("Page.navigate", url="about:blank")
        self.wait_until("location.href === 'about:blank'")
        self.page = Page()
        self._call("Page.navigate", url=address)
        self.wait_until(f"location.href === {json.dumps(address)} && document.documentElement?.dataset.ready")

    def ask(self, expression: str) -> Any:
        """The value of an expression, awaited; the page's policy does not bind it."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, expression: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < give_up, (
                f"it never came true that {expression}; console: {self.page.console}"
            )
            self.ask("new Promise((later) => setTimeout(later, 10))")

    def close(self) -> None:
        with suppress(OSError, AssertionError):
            self._session = None
            self._call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write_end)
        os.close(self._read_end)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write_end, data) :]
        while (answer := self._next_message()).get("id") != self._number:
            self._notice(answer)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _notice(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled":
                self.page.console.append(str([part.get("value") for part in parameters["args"]]))
            case "Runtime.exceptionThrown":
                self.page.console.append(str(parameters["exceptionDetails"]))
            case "Log.entryAdded":
                self.page.console.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.page.requests.append(parameters["request"]["url"])

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_end], [], [], PATIENCE_S)
            assert ready, f"the browser said nothing for {PATIENCE_S:g} s"
            data = os.read(self._read_end, 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Chromium]:
    """A browser for as long as the block runs. It can reach nothing outside this machine."""
    assert CHROMIUM is not None
    to_browser, write_end = os.pipe()
    read_end, from_browser = os.pipe()
    command = [
        *(sys.executable, "-S", "-c", LAUNCHER, str(to_browser), str(from_browser)),
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(
            "--remote-debugging-pipe",
            "--window-size=1300,1400",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
        ),
    ]
    process = subprocess.Popen(
        command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(from_browser)
    chromium = Chromium(process, write_end, read_end)
    try:
        chromium.begin()
        yield chromium
    finally:
        chromium.close()
