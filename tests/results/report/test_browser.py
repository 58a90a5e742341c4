"""The page in Debian's Chromium: it comes to life at once, without an error, and asks nobody for anything."""

import random
import re

import pytest

from results.operation import INVOKE, OK, Operation
from results.report import write_report
from results.verdict import INVALID, Anomaly, Verdict
from tests.results.report import samples
from tests.results.report.chromium import Chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def assert_it_lives(chromium: Chromium, page) -> None:
    assert chromium.console == []
    assert [url.partition("#")[0] for url in chromium.requests if not url.startswith("data:")] == [
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
    assert "seen" in chromium.console
    assert "http://report.invalid/x" in chromium.requests


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


KINDS = [
    "valid_bank",
    "stale_register",
    "g1c_cycle",
    "g_single_cycle",
    "lost_element",
    "interrupted",
    "unknown_register",
]


@pytest.mark.parametrize("sample", KINDS)
def test_every_kind_of_report_is_readable_everywhere(chromium, tmp_path, sample):
    """Light and dark, in a narrow window, printed, and without scripts."""
    folder = getattr(samples, sample)(tmp_path)
    page = write_report(folder)
    verdict = folder.read_verdict()
    word = "no verdict" if verdict is None else verdict.outcome
    for options in ({}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 800}}):
        chromium.another_page(**options)
        chromium.open(page)
        assert_it_lives(chromium, page)
        assert chromium.ask("document.querySelector('#verdict .word').textContent") == word
        chromium.ask(NEXT_FRAME)
        assert chromium.ask(TOO_WIDE) == [], options
        assert chromium.ask(FADED) == [], options
    chromium.ask("document.querySelector('h2').style.color = 'silver'")
    assert len(chromium.ask(FADED)) == 1, "a text that is hard to read would be noticed"
    chromium.another_page()
    chromium.open(page)
    chromium.page.emulate_media(media="print")
    assert chromium.ask(LINES) == ["median", "p95", "p99", "max", "ok", "fail", "info"], (
        "legends are printed, too"
    )
    assert chromium.page.pdf(format="A4").startswith(b"%PDF")
    assert_it_lives(chromium, page)
    chromium.another_page(java_script_enabled=False)
    chromium.visit(page.as_uri())
    assert chromium.page.locator("#verdict .word").inner_text() == word
    assert chromium.page.locator("#commands").is_visible()
    assert chromium.page.locator("table").first.is_visible()
    assert not chromium.page.locator("button").first.is_visible(), "nothing that would do nothing"
    assert_it_lives(chromium, page)


LINES = """[...document.querySelectorAll(".lines button")]
  .filter((one) => one.checkVisibility()).map((one) => one.textContent)"""
NEXT_FRAME = "new Promise((later) => requestAnimationFrame(() => requestAnimationFrame(later)))"
TOO_WIDE = """document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("*")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".wide, pre, .scroller"))
  .map((one) => `${one.tagName} ${one.id} ${one.textContent.slice(0, 40)}`)"""
FADED = """(() => {
const light = (rgb) => {
  const [r, g, b] = rgb.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let one = element; one !== null; one = one.parentElement) {
    const colour = getComputedStyle(one).backgroundColor;
    if (!/^rgba.*, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const faded = [];
const texts = "h1, h2, h3, p, td, th, dt, dd, li, button, .word, code, pre, figcaption";
for (const element of document.querySelectorAll(texts)) {
  if (!element.checkVisibility() || element.textContent.trim() === "") continue;
  const [front, back] = [light(getComputedStyle(element).color), light(behind(element))];
  const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (contrast < 4.5) faded.push(`${element.tagName} ${element.textContent.slice(0, 40)}: ${contrast.toFixed(2)}`);
}
return faded;
})()"""
"""Texts with less contrast than WCAG's level AA asks for."""


FOCUS = """(() => {
const element = document.activeElement;
if (element === document.body) return null;
const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
const seen = (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
return [element.id || element.closest("[id]")?.id || "", element.tagName, element.textContent.slice(0, 30), seen];
})()"""


def test_very_long_names_stay_inside_of_a_narrow_window(chromium, tmp_path):
    long = "x" * 400
    sketch = samples.Sketch()
    for number in range(10):
        sketch.add(number * 1_000_000, number, INVOKE, long, [long, number], node=long)
        sketch.add(number * 1_000_000 + 500_000, number, OK, long, [long, number])
    sketch.add_faults([samples.Fault(long, long, [long], 0.001, 0.002)] * 3)
    anomaly = Anomaly(long, long, [0, 1], key=long)
    verdict = Verdict(INVALID, long, long, anomalies=[anomaly])
    page = write_report(samples.write_folder(tmp_path, "register", sketch.operations()[0], verdict))
    chromium.another_page(viewport={"width": 390, "height": 800})
    chromium.open(page)
    chromium.ask(NEXT_FRAME)
    assert chromium.ask(TOO_WIDE) == []
    assert_it_lives(chromium, page)


def test_a_keyboard_reaches_everything_and_shows_where_it_is(chromium, tmp_path):
    chromium.open(write_report(samples.with_messages(samples.stale_register(tmp_path))))
    reached = []
    for _ in range(200):
        chromium.page.keyboard.press("Tab")
        told = chromium.ask(FOCUS)
        if told is None:
            break
        reached.append(told)
    assert [told for told in reached if not told[3]] == [], "focus cannot be seen there"
    places = {told[0] for told in reached}
    assert {
        "timeline",
        "messages",
        "zoom-in",
        "zoom-all",
        "theme",
        "fault-steps",
        "operations",
    } <= places
    unreached = chromium.ask(
        """[...document.querySelectorAll("button, a[href], input, select, summary")].filter((one) =>
        one.checkVisibility() && one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert unreached == []
    chromium.page.locator("#timeline").focus()
    before = chromium.ask("document.getElementById('window').textContent")
    chromium.page.keyboard.press("+")
    chromium.page.keyboard.press("ArrowRight")
    assert chromium.ask("document.getElementById('window').textContent") != before
    chromium.page.keyboard.press("n")
    assert "line " in details(chromium)


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


LEADERS_AND_LOGS = """(async () => {
const until = async (fact) => { while (!fact()) await new Promise((later) => setTimeout(later, 20)); };
const search = document.getElementById("log-search");
const shown = () => document.querySelector("#logs pre.log").textContent;
const open = () => document.querySelectorAll("#logs details[open]").length;
const before = open();
search.value = "TICK 1999";
search.dispatchEvent(new Event("input"));
await until(() => document.getElementById("log-found").textContent !== "");
const found = document.getElementById("log-found").textContent;
const filtered = shown();
const after = open();
search.value = "";
search.dispatchEvent(new Event("input"));
await until(() => shown() !== filtered);
const canvas = document.querySelector("#leaders canvas");
canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: 0, clientY: 0 }));
return {
  before, found, shown: filtered, after,
  whole: shown().split("\\n").length,
  legend: document.getElementById("leader-legend").textContent,
  words: canvas.getAttribute("aria-label"),
  script: document.querySelectorAll("script").length,
};
})()"""


def test_leaders_are_drawn_and_logs_are_searched(chromium, tmp_path):
    changes = [
        {"range": "1", "leader": "n1", "term": 1, "time_ns": 0},
        {"range": "1", "leader": "n2", "term": 2, "time_ns": 9 * samples.SECOND},
        {"range": "<script>", "leader": "<b>elsewhere</b>", "term": 3, "time_ns": 20 * samples.SECOND},
    ]
    folder = samples.stale_register(tmp_path)
    page = write_report(samples.with_leaders(tmp_path, folder, changes))
    chromium.open(page)
    told = chromium.ask(LEADERS_AND_LOGS)
    assert_it_lives(chromium, page)
    assert told["words"] == "leaders of 2 ranges over time, 3 changes"
    assert told["legend"] == "■ n1■ n2■ n3"
    assert (told["before"], told["found"], told["after"]) == (0, "3 lines in 3 of 3 logs", 3)
    assert told["shown"].endswith("INFO raft: tick 1999")
    assert told["whole"] > 1000


FRAMES = """(async () => {
const place = document.getElementById("timeline");
const shown = () => document.getElementById("window").textContent;
const windows = new Set([shown()]);
const frames = [];
for (const key of "+++++++++0") {
  const before = performance.now();
  place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  frames.push(performance.now() - before);
  windows.add(shown());
}
const before = performance.now();
let sum = 0;
for (let number = 0; number < 30000000; number++) sum += Math.sqrt(number);
const yardstick = performance.now() - before;
return { yardstick, sum, ready: Number(document.documentElement.dataset.ready), longest: Math.max(...frames),
  windows: windows.size };
})()"""
"""Ten zooms. The yardstick is a loop of thirty million steps, which takes longer on a busy machine as well."""


def test_a_hundred_thousand_operations_open_and_zoom_without_a_stall(chromium, tmp_path):
    """Latencies spread as in a run: the ticks of an axis over them once took half a minute."""
    stream = random.Random(5)
    events = []
    for number in range(100_000):
        process, at = number % 50, number * 100_000
        latency = int(min(4_900_000, stream.lognormvariate(14, 0.6)))
        more = {"node": f"n{process % 3}", "intended": at - stream.randrange(90_000)}
        value = [stream.randrange(7), number]
        events.append((at, dict(process=process, type=INVOKE, f="write", value=value, **more)))
        events.append((at + latency, dict(process=process, type=OK, f="write", value=value)))
    events.sort(key=lambda event: event[0])
    operations = [Operation(index=index, time=time, **fields) for index, (time, fields) in enumerate(events)]
    page = write_report(samples.write_folder(tmp_path, "register", operations, None, logs=False))
    assert page.stat().st_size < 1_000_000
    chromium.open(page)
    told = chromium.ask(FRAMES)
    assert_it_lives(chromium, page)
    print(told)
    assert told["windows"] == 10, "the whole, and nine parts of it"
    assert told["ready"] < 100 * told["yardstick"]
    assert told["longest"] < 100 * told["yardstick"]


CLOCKS_AND_COUNTERS = """(async () => {
const frame = () => new Promise((later) => requestAnimationFrame(() => requestAnimationFrame(later)));
await frame();
const place = document.getElementById("clocks");
const words = () => place.querySelector("p").textContent;
const told = { whole: words(), legend: document.getElementById("clock-legend").textContent };
const canvas = place.querySelector("canvas");
const box = canvas.getBoundingClientRect();
const x = box.left + 118 + (box.width - 118) * 0.2;
canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: box.top + 20 }));
told.at = words();
told.counters = document.querySelector("#counters table").textContent;
return told;
})()"""


def test_clocks_are_drawn_and_counters_are_listed(chromium, tmp_path):
    settings = [
        {"time_ns": 2 * samples.SECOND, "node": "n2", "ahead_ms": -5000.0, "gains_ppm": 0.0},
        {"time_ns": 40 * samples.SECOND, "node": "n2", "ahead_ms": 0.0, "gains_ppm": 0.0},
    ]
    counted = {"n1": {"elections won": 3, "<script>": 1, "never": 0}, "n10": {"elections won": 1}}
    folder = samples.with_event(
        tmp_path, samples.stale_register(tmp_path), "harness", "clocks", {"set": settings}
    )
    value = {"nodes": counted, "silent": ["n2"]}
    page = write_report(samples.with_event(tmp_path, folder, "harness", "counters", value))
    chromium.open(page)
    told = chromium.ask(CLOCKS_AND_COUNTERS)
    assert_it_lives(chromium, page)
    assert told["legend"] == " n1 n2 n3"
    assert told["whole"] == "Furthest from real time: n1 at most 0 ms, n2 at most 5 s, n3 at most 0 ms."
    assert re.match(r"At \d+\.\d+ s: n1 0 ms, n2 −5 s, n3 0 ms\.", told["at"])
    assert told["counters"] == "countern1n10elections won31<script>1–"


MESSAGES = """(async () => {
const frame = () => new Promise((later) => requestAnimationFrame(() => requestAnimationFrame(later)));
const told = {};
const place = document.getElementById("messages");
const [ranges, hosts] = place.querySelectorAll("select");
const lanes = place.querySelector(".lanes");
const canvas = lanes.querySelector("canvas");
const status = () => place.querySelector("p.quiet").textContent;
const press = async (key) => {
  lanes.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await frame();
};
const choose = async (select, text) => {
  select.value = [...select.options].find((option) => option.text === text).value;
  select.dispatchEvent(new Event("change"));
  await frame();
};
await frame();
[...place.querySelectorAll("button")].find((button) => button.textContent === "Show all that is kept").click();
await frame();
told.all = status();
await choose(ranges, "range 1"); told.of_range = status();
await choose(hosts, "from or to n2"); told.of_neither = status();
await choose(ranges, "every range"); told.of_host = status();
await choose(hosts, "every node");
const kinds = [...place.querySelectorAll(".kinds button")];
told.kinds = kinds.map((button) => button.textContent);
kinds[0].click(); await frame(); told.without_heartbeats = status(); kinds[0].click(); await frame();
await press("n"); await press("n"); told.second = place.querySelector(".told").textContent;
await press("+"); told.zoomed = status();
await press("0");
place.querySelector("details").open = true; await frame();
told.rows = place.querySelectorAll("tbody tr").length;
const words = place.querySelector("input");
words.value = "never arrived"; words.dispatchEvent(new Event("input")); await frame();
told.lost = place.querySelector("tbody tr").textContent;
words.value = "script"; words.dispatchEvent(new Event("input")); await frame();
told.hostile = place.querySelector("tbody tr").textContent;
words.value = ""; words.dispatchEvent(new Event("input")); await frame();
await choose(ranges, "range 2");
await press("n");
for (let times = 0; times < 6; times++) await press("+");
const tip = lanes.querySelector(".tip");
for (let x = 118; x < canvas.clientWidth && tip.hidden; x += 3) {
  for (let y = 44; y < 280 && tip.hidden; y += 3) {
    canvas.dispatchEvent(new PointerEvent("pointermove", {
      clientX: canvas.getBoundingClientRect().left + x, clientY: canvas.getBoundingClientRect().top + y }));
  }
}
told.tip = tip.textContent;
return told;
})()"""


def test_messages_can_be_filtered_read_and_stepped_through(chromium, tmp_path):
    page = write_report(samples.with_messages(samples.stale_register(tmp_path)))
    chromium.open(page, "#anomaly-0")
    told = chromium.ask(MESSAGES)
    assert_it_lives(chromium, page)
    assert told["all"].startswith(
        "71 messages in view, of which 10 never arrived (✕). The page has 71 of 1,071"
    )
    assert told["of_range"].startswith("30 messages in view")
    assert told["of_neither"].startswith("0 messages in view")
    assert told["of_host"].startswith("40 messages in view")
    assert told["kinds"] == ["heartbeat 40", "heartbeat response 30", "request 1"]
    assert told["without_heartbeats"].startswith("31 messages in view")
    assert told["second"] == (
        "n3 → n2; heartbeat of range 2, term 3; commit 7; sent at 10.000300 s, arrived 400 µs later"
    )
    assert int(told["zoomed"].split()[0]) < 71
    assert told["rows"] == 50, "a page of the table"
    assert "never arrived" in told["lost"]
    assert "#7 Get <script>alert(1)</script> \\u202e" in told["hostile"]
    assert re.match(r"(n3 → n2|n2 → n3)\nheartbeat", told["tip"])
