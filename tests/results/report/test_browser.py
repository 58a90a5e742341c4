"""The page in Debian's Chromium: it comes to life at once, without an error, and asks nobody for anything."""

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from results.operation import INVOKE, OK, Operation
from results.report import write_report
from tests.results.report import samples

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OF_THE_BROWSER = re.compile(r"https?://([a-z0-9-]+\.)*(google|googleapis|gstatic|gvt1)\.com[/:]")
"""What the browser itself asks for, whatever page it shows."""


@pytest.fixture(autouse=True)
def _needs_chromium():
    if CHROMIUM is None:
        if "browser" in os.environ.get("HARNESS_REQUIRE", ""):
            pytest.fail("HARNESS_REQUIRE contains browser, but there is no chromium")
        pytest.skip("there is no chromium")


@dataclass
class Visit:
    dom: str
    console: list[str]
    requests: list[str]
    seconds: float


def visit(page: Path, tmp_path: Path, fragment: str = "") -> Visit:
    """Opens the page and gives what a reader would meet. Nothing outside this machine can be reached."""
    assert CHROMIUM is not None
    profile = tmp_path / f"profile{time.monotonic_ns()}"
    net_log = profile / "net.json"
    profile.mkdir()
    command = [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        *("--enable-logging=stderr", "--v=0", f"--log-net-log={net_log}"),
        *("--window-size=1300,2000", "--virtual-time-budget=8000", "--dump-dom"),
        page.as_uri() + fragment,
    ]
    before = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, errors="replace")
    spent = time.monotonic() - before
    asked = set(re.findall(r'"url":\s*"([^"]*)"', net_log.read_text(errors="replace")))
    return Visit(
        dom=re.sub(r"<script\b.*?</script>", "", done.stdout, flags=re.DOTALL),
        console=[line for line in done.stderr.splitlines() if ":CONSOLE" in line],
        requests=sorted(
            url
            for url in asked
            if not url.startswith(("file:", "data:", "chrome", "devtools:", "about:"))
            and not OF_THE_BROWSER.match(url)
        ),
        seconds=spent,
    )


def assert_it_lives(seen: Visit) -> None:
    assert seen.console == []
    assert seen.requests == []
    assert 'data-ready="' in seen.dom, "the page's script did not come to its end"
    assert "could not be drawn" not in seen.dom


def test_an_error_and_a_request_would_be_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('seen'); fetch('http://report.invalid/x')</script><p>hello")
    seen = visit(page, tmp_path)
    assert any("seen" in line for line in seen.console)
    assert any("report.invalid" in url for url in seen.requests)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("valid_bank", "Every promise that was checked was kept"),
        ("stale_register", "The database broke a promise"),
        ("unknown_register", "This run proves nothing, neither way"),
        ("interrupted", "interrupted before it was judged"),
        ("hostile", "The database broke a promise"),
    ],
)
def test_the_verdict_is_there_and_everything_is_drawn(tmp_path, sample, words):
    folder = getattr(samples, sample)(tmp_path / "runs")
    seen = visit(write_report(folder), tmp_path)
    assert_it_lives(seen)
    assert words in seen.dom
    assert len(re.findall(r"<canvas", seen.dom)) == 4, "overview, latency, throughput, time line"


def test_one_click_leads_to_the_evidence(tmp_path):
    """The button does what a link that ends in #anomaly-0 does."""
    seen = visit(write_report(samples.stale_register(tmp_path / "runs")), tmp_path, "#anomaly-0")
    assert_it_lives(seen)
    details = details_of(seen.dom)
    assert "<dd><code>[3,88]</code></dd>" in details
    assert "503, talking to n1" in details
    assert re.search(r'id="window"[^>]*>10\.39\d s to 10\.4[12]\d s<', seen.dom)


def test_a_browser_without_decompression_reads_the_same(tmp_path):
    page = write_report(samples.stale_register(tmp_path / "runs"))
    by_browser, by_us = (
        visit(page, tmp_path, fragment) for fragment in ("#anomaly-0", "#anomaly-0,own-inflate")
    )
    assert_it_lives(by_us)
    assert details_of(by_us.dom) == details_of(by_browser.dom)
    assert "[3,88]" in details_of(by_us.dom)


def details_of(dom: str) -> str:
    found = re.search(r'<div id="details".*?</dl>', dom, re.DOTALL)
    assert found is not None
    return found[0]


def test_it_is_interactive_within_a_second(tmp_path):
    """Twelve thousand operations, against the time that the browser takes to show an empty page; best of three."""
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><p>nothing")
    page = write_report(samples.valid_bank(tmp_path / "runs"))
    start_up = min(visit(empty, tmp_path).seconds for _ in range(3))
    whole = min(visit(page, tmp_path).seconds for _ in range(3))
    print(json.dumps({"browser_s": round(start_up, 2), "page_s": round(whole - start_up, 2)}))
    assert whole - start_up < 1


def test_half_a_million_operations_open_within_seconds(tmp_path):
    operations = []
    for number in range(500_000):
        process, key = number % 50, number % 7
        at = number * 100_000
        operations.append(
            Operation(2 * number, at, process, INVOKE, "write", [key, number], node=f"n{process % 3}")
        )
        operations.append(
            Operation(2 * number + 1, at + 90_000 - process * 100, process, OK, "write", [key, number])
        )
    page = write_report(samples.write_folder(tmp_path / "runs", "register", operations, None, logs=False))
    seen = visit(page, tmp_path)
    assert_it_lives(seen)
    print(json.dumps({"seconds": round(seen.seconds, 2), "megabytes": round(page.stat().st_size / 1e6, 2)}))
    assert page.stat().st_size < 5_000_000
    assert seen.seconds < 15
