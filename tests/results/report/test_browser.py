"""The page in Debian's Chromium: it comes to life at once, without an error, and asks nobody for anything."""

import random
import re
from collections.abc import Iterator

import pytest

from results.operation import INVOKE, OK, Operation
from results.report import write_report
from tests.results.report import samples
from tests.results.report.chromium import CHROMIUM, Chromium, browser
from tests.support.requirements import skip_unless_required

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if CHROMIUM is None:
        skip_unless_required("browser", "there is no chromium on the path")
    with browser(tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


def assert_it_lives(chromium: Chromium, page) -> None:
    assert chromium.page.console == []
    assert [url.partition("#")[0] for url in chromium.page.requests if not url.startswith("data:")] == [
        page.as_uri()
    ]
    assert "could not be drawn" not in chromium.ask("document.body.innerText")


def test_an_error_and_a_request_would_be_noticed(chromium, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<script>console.error('seen'); fetch('http://report.invalid/x').catch(() => 0).then(() => "
        "{ document.documentElement.dataset.ready = 1 })</script>"
    )
    chromium.open(page)
    assert "['seen']" in chromium.page.console
    assert "http://report.invalid/x" in chromium.page.requests


def test_a_request_of_a_page_that_we_wrote_would_be_refused(chromium, tmp_path):
    chromium.open(write_report(samples.unknown_register(tmp_path)))
    assert chromium.ask("fetch('data:,x').then(() => 'came back', () => 'refused')") == "refused"
    chromium.ask(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))"
    )
    assert chromium.ask("window.ran") is None, "only the template's own script runs"


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
def test_the_verdict_is_there_and_everything_is_drawn(chromium, tmp_path, sample, words):
    page = write_report(getattr(samples, sample)(tmp_path))
    chromium.open(page)
    assert_it_lives(chromium, page)
    assert words in chromium.ask("document.getElementById('verdict').innerText")
    drawn = """[...document.querySelectorAll("canvas")].map((canvas) => {
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return pixels.some((value) => value !== 0);
    })"""
    chromium.wait_until(f"{drawn}.every(Boolean)")
    assert chromium.ask(drawn) == [True] * 4, "overview, latency, throughput, time line"


def details(chromium: Chromium) -> str:
    return str(chromium.ask("document.getElementById('details').innerText"))


def test_a_link_leads_to_the_evidence(chromium, tmp_path):
    page = write_report(samples.stale_register(tmp_path))
    chromium.open(page, "#anomaly-0")
    assert_it_lives(chromium, page)
    assert "[3,88]" in details(chromium)
    assert "503, talking to n1" in details(chromium)
    shown = chromium.ask("document.getElementById('window').innerText")
    assert shown.startswith("10.39")


def test_a_browser_without_decompression_reads_the_same(chromium, tmp_path):
    page = write_report(samples.stale_register(tmp_path))
    chromium.open(page, "#anomaly-0")
    by_browser = details(chromium)
    chromium.open(page, "#anomaly-0,own-inflate")
    assert_it_lives(chromium, page)
    assert details(chromium) == by_browser


ACTS = """(async () => {
const until = async (fact) => { while (!fact()) await new Promise((later) => setTimeout(later, 20)); };
const told = {};
const shown = () => document.getElementById("window").textContent;
const details = () => document.getElementById("details").textContent;
const place = document.getElementById("timeline");
const canvas = place.querySelector("canvas");
await until(() => canvas.clientWidth > 600);
const point = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, {
  pointerId: 1, bubbles: true, clientX: canvas.getBoundingClientRect().left + x,
  clientY: canvas.getBoundingClientRect().top + y }));
const click = (x, y) => { point("pointerdown", x, y); point("pointerup", x, y); };
const press = (key) => place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
told.whole = shown();
told.steps = [...document.querySelectorAll("#fault-steps button")].map((button) => button.textContent);
document.querySelector("#fault-steps button").click(); told.step = details();
point("pointermove", 30, 105); told.lane = place.querySelector(".tip").textContent;
const plot = document.querySelector("#latency .u-over");
const legend = () => [...document.querySelectorAll("#latency .lines button")].map((button) => button.textContent);
told.swatches = [...document.querySelectorAll("#latency .lines line")].map((line) => line.getAttribute("style"));
told.legend = legend();
const box = plot.getBoundingClientRect();
for (const kind of ["mouseenter", "mousemove"]) plot.dispatchEvent(new MouseEvent(kind, {
  clientX: box.left + box.width / 2, clientY: box.top + 20, bubbles: true }));
await until(() => legend()[0] !== "median");
told.legend_under_cursor = legend();
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
return told;
})()"""


def test_people_can_click_zoom_search_and_step(chromium, tmp_path):
    page = write_report(samples.stale_register(tmp_path))
    chromium.open(page)
    told = chromium.ask(ACTS)
    assert_it_lives(chromium, page)
    assert told["whole"] == told["back_to_whole"]
    assert len(told["steps"]) == len(samples.FAULTS)
    assert told["steps"][0] == "▬ P0 partition one-way: n1, 8.0 s"
    assert "K3 kill: n2, skipped" in told["steps"][3]
    assert "partition one-way: n1 (step 0)" in told["step"]
    assert re.match(r"process \d+", told["lane"])
    assert told["legend"] == ["median", "p95", "p99", "max"], "values only under the cursor"
    assert len(set(told["swatches"])) == 4, "no two lines look alike"
    assert all(re.match(r"(median|p95|p99|max)[\d.]+ m?s$", text) for text in told["legend_under_cursor"])
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


FRAMES = """(async () => {
const place = document.getElementById("timeline");
let longest = 0;
for (const key of "+++++++++0") {
  const before = performance.now();
  place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  longest = Math.max(longest, performance.now() - before);
}
return { ready_ms: Number(document.documentElement.dataset.ready), longest_frame_ms: longest };
})()"""


def test_it_is_interactive_within_a_second(chromium, tmp_path):
    """Twelve thousand operations; the best of three, since the machine may be busy."""
    page = write_report(samples.valid_bank(tmp_path))
    best = {}
    for _ in range(3):
        chromium.open(page)
        told = chromium.ask(FRAMES)
        best = {name: min(value, best.get(name, value)) for name, value in told.items()}
    print(best)
    assert best["ready_ms"] < 1000
    assert best["longest_frame_ms"] < 1000


def test_three_hundred_thousand_operations_open_within_seconds_and_zoom_without_a_stall(chromium, tmp_path):
    """Latencies spread as in a run: the ticks of an axis over them once took half a minute."""
    stream = random.Random(5)
    events = []
    for number in range(300_000):
        process, at = number % 50, number * 100_000
        latency = int(min(4_900_000, stream.lognormvariate(14, 0.6)))
        more = {"node": f"n{process % 3}", "intended": at - stream.randrange(90_000)}
        value = [stream.randrange(7), number]
        events.append((at, dict(process=process, type=INVOKE, f="write", value=value, **more)))
        events.append((at + latency, dict(process=process, type=OK, f="write", value=value)))
    events.sort(key=lambda event: event[0])
    operations = [Operation(index=index, time=time, **fields) for index, (time, fields) in enumerate(events)]
    page = write_report(samples.write_folder(tmp_path, "register", operations, None, logs=False))
    assert page.stat().st_size < 3_000_000
    chromium.open(page)
    told = chromium.ask(FRAMES)
    assert_it_lives(chromium, page)
    print(told)
    assert told["ready_ms"] < 5000
    assert told["longest_frame_ms"] < 5000
