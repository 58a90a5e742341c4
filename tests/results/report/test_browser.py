"""The page in Debian's Chromium: it comes to life at once, without an error, and asks nobody for anything."""

import html
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


ACTS = """
const until = async (fact) => { while (!fact()) await new Promise((later) => setTimeout(later, 20)); };
const told = {};
const shown = () => document.getElementById("window").textContent;
const details = () => document.getElementById("details").textContent;
const act = async () => {
  await until(() => document.documentElement.dataset.ready);
  const place = document.getElementById("timeline");
  const canvas = place.querySelector("canvas");
  const point = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, bubbles: true, clientX: canvas.getBoundingClientRect().left + x,
    clientY: canvas.getBoundingClientRect().top + y }));
  const click = (x, y) => { point("pointerdown", x, y); point("pointerup", x, y); };
  const press = (key) => place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));

  told.whole = shown();
  const at = 118 + (canvas.clientWidth - 118) * (10 / 62);
  click(at, 10); told.fault = details();
  point("pointermove", at, 10); told.tip = place.querySelector(".tip").textContent;
  press("+"); told.zoomed = shown();
  press("ArrowRight"); told.moved = shown();
  press("0"); told.back_to_whole = shown();
  press("n"); told.first = details();
  press("n"); told.second = details();
  document.querySelector("button[data-anomaly]").click(); told.anomaly = shown(); told.evidence = details();
  press("0"); document.getElementById("zoom-back").click(); told.after_back = shown(); press("0");
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -200, ctrlKey: true, bubbles: true, cancelable: true }));
  told.wheeled = shown(); press("0");
  document.getElementById("operations").open = true;
  const status = () => document.querySelector("#operation-table span").textContent;
  await until(() => status().startsWith("1 to 50 of"));
  told.rows = status();
  const search = document.querySelector("#operation-table input");
  search.value = "90001"; search.dispatchEvent(new Event("input"));
  await until(() => status().startsWith("1 to 2 of 2"));
  told.found = document.querySelector("#operation-table tbody").textContent;
  document.getElementById("theme").click(); told.theme = document.documentElement.dataset.theme;
  document.getElementById("from-intended").click();
};
act().catch((error) => { told.error = String(error.stack); }).finally(() => {
  const element = document.createElement("pre");
  element.id = "told";
  element.textContent = JSON.stringify(told);
  document.body.append(element);
});
"""


def test_people_can_click_zoom_search_and_step(tmp_path):
    """A second script plays the reader; for that, and only here, the page's policy is taken out."""
    page = write_report(samples.stale_register(tmp_path / "runs"))
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page.read_text())
    page.write_text(text.replace("</body>", f'<script type="module">{ACTS}</script></body>'))
    seen = visit(page, tmp_path)
    assert_it_lives(seen)
    found = re.search(r'<pre id="told">(.*?)</pre>', seen.dom, re.DOTALL)
    assert found is not None
    told = json.loads(html.unescape(found[1]))
    assert "error" not in told
    assert told["whole"] == told["back_to_whole"]
    assert "partition one-way: n1 (step 0)" in told["fault"]
    assert "links: n2→n1, n3→n1" in told["fault"]
    assert "ping n1: answered in 0.4 ms → no answer in 500 ms" in told["fault"]
    assert "partition one-way: n1" in told["tip"]
    assert told["zoomed"] != told["whole"]
    assert told["moved"] != told["zoomed"]
    assert "line 2 of history.jsonl" in told["first"]
    assert told["second"] != told["first"]
    assert told["anomaly"].startswith("10.39")
    assert "stale read" in told["evidence"]
    assert told["wheeled"] != told["whole"]
    assert "90001" in told["found"]
    assert told["theme"] == "dark"


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
