"""Debian's Chromium without a window, by Playwright: pages are opened, asked and watched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_S = 120.0


class Chromium:
    """One browser with one page at a time. Use `browser`, which ends it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.console: list[str] = []
        """Messages, errors and refused requests since the page was opened, as a developer would see them."""
        self.requests: list[str] = []
        """Addresses that the page asked for, its own among them."""
        self.page: Page
        self.another_page()

    def another_page(self, **options: Any) -> Page:
        """Instead of the page so far; `options` as of Playwright's `new_context` (`color_scheme="dark"`, ...)."""
        for context in self._browser.contexts:
            context.close()
        options.setdefault("viewport", {"width": 1300, "height": 1400})
        self.page = self._browser.new_page(**options)
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        return self.page

    def open(self, page: Path, fragment: str = "") -> None:
        """Opens a page and waits until its script says that it is ready."""
        self.visit(page.as_uri() + fragment)
        self.wait_until("document.documentElement.dataset.ready")

    def visit(self, address: str) -> None:
        """Opens an address of this machine, whatever it leads to, and waits until it is there."""
        # By way of an empty page: another fragment alone would not load anything.
        self.page.goto("about:blank")
        self.console.clear()
        self.requests.clear()
        self.page.goto(address, wait_until="load")

    def ask(self, expression: str) -> Any:
        """The value of an expression, awaited; the page's policy does not bind it."""
        return self.page.evaluate(expression)

    def wait_until(self, expression: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < give_up, (
                f"it never came true that {expression}; console: {self.console}"
            )
            self.page.wait_for_timeout(10)


@contextmanager
def browser() -> Iterator[Chromium]:
    """A browser for as long as the block runs. It can reach nothing outside this machine."""
    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=False,
            args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        try:
            yield Chromium(launched)
        finally:
            launched.close()
