"""A page tells the verdict in words without any script, and can be made of whatever a run left behind."""

import re
import time
from html.parser import HTMLParser

import pytest

from results.operation import INFO, INVOKE, OK, Operation
from results.report import write_report
from results.run_folder import RunFolder
from tests.results.report import samples
from tests.results.report.unpack import page_json, unpack_integers, unpack_texts

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Outline(HTMLParser):
    """Tags in order, visible text (of scripts and styles only their number), and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def finish(self) -> "Outline":
        self.close()
        assert self._open == []
        return self


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser.finish()


def write(folder: RunFolder) -> tuple[str, Outline]:
    page = write_report(folder).read_text(encoding="utf-8")
    return page, outline(page)


def test_a_valid_bank_run_says_so_and_what_that_means(tmp_path):
    page, seen = write(samples.valid_bank(tmp_path, seconds=30))
    for words in (
        "Every promise that was checked was kept",
        "5,881 reads of all 8 accounts",
        "every read of all accounts sees the same total",
        "harness test --seed 7 --workload bank --system reference-db",
        "partition one-way",
        "links: n2→n1, n3→n1",
        "chosen: leader of r0",
        "ping n1: ",
        "answered in 0.4 ms",
        "skipped: n2 is already down",
        "loop lag, median",
        "It does not prove that no other history",
    ):
        assert words in seen.text, words
    assert page_json(page)["anomalies"] == []


def test_a_violation_is_explained_with_its_operations_and_the_fault_during_which_it_happened(tmp_path):
    page, seen = write(samples.stale_register(tmp_path))
    assert "The database broke a promise" in seen.text
    assert "process 503 read 88 from key 3" in seen.text
    assert "Between 10.400 s and 10.412 s of the run, during partition one-way: n1." in seen.text
    assert "read [3, null] → [3, 88]" in seen.text
    data = page_json(page)
    rows = data["anomalies"][0]["rows"]
    values = unpack_texts(data["operations"]["value"])
    assert [values[row] for row in rows] == ["[3,90001]", "[3,null]\x02[3,90001]", "[3,null]\x02[3,88]"]
    processes = unpack_integers(data["operations"]["process"])
    assert [data["processes"][processes[row]] for row in rows] == [501, 502, 503]


def test_an_unknown_is_never_told_as_a_success(tmp_path):
    _, seen = write(samples.unknown_register(tmp_path))
    assert "This run proves nothing, neither way" in seen.text
    assert "gave up after 60 s" in seen.text
    assert "KeyError: 'elements'" in seen.text
    assert "was kept" not in seen.text
    assert "No fault was injected" in seen.text


def test_an_interrupted_run_with_a_torn_history_still_gives_a_page(tmp_path):
    folder = samples.interrupted(tmp_path)
    page, seen = write(folder)
    assert "interrupted before it was judged" in seen.text
    assert "was torn and is left out" in seen.text
    assert 3 in {code % 4 for code in unpack_integers(page_json(page)["operations"]["outcome"])}, (
        "some were open"
    )
    fault = page_json(page)["faults"][0]
    assert fault["took_effect"]
    assert fault["end"] is None


def test_a_run_in_progress_is_called_running(tmp_path):
    folder = samples.interrupted(tmp_path)
    folder.claim()
    _, seen = write(folder)
    assert "still going on" in seen.text


def test_what_the_harness_recorded_about_itself_is_told_in_words(tmp_path):
    folder = samples.valid_bank(tmp_path, seconds=2)
    operations = list(folder.read_history().operations)
    drive = {
        "phase": "main",
        "loop_lag": {"median_ns": 21_000},
        "stopped": "interrupted",
        "stalls": ["line 1"],
    }
    for f, value in (
        ("drive", drive),
        ("recovery", {"recovered": True, "after_ns": 2_565_888, "problem": None}),
    ):
        operations.append(Operation(len(operations), operations[-1].time, "harness", INFO, f, value))
    _, seen = write(samples.write_folder(tmp_path, "bank", operations, folder.read_verdict()))
    assert "The main phase ended early: interrupted." in seen.text
    assert "recovered: yes, after: 2.57 ms, problem: none" in seen.text
    assert "1 stall" in seen.text
    assert "0.021 ms" in seen.text


@pytest.mark.parametrize("damage", ["empty", "history", "scenario", "verdict", "environment"])
def test_what_is_missing_or_damaged_is_said_and_the_rest_shown(tmp_path, damage):
    folder = samples.valid_bank(tmp_path, seconds=2)
    if damage == "empty":
        for path in folder.path.glob("*.*"):
            path.unlink()
        folder.scenario_path.write_text("")
    elif damage == "history":
        folder.history_path.write_bytes(b"not an operation\n" + folder.history_path.read_bytes())
    elif damage == "scenario":
        folder.scenario_path.write_bytes(b"\xff\xfe = broken")
    elif damage == "verdict":
        folder.verdict_path.write_text('{"outcome": "splendid"}')
    else:
        folder.environment_path.write_text("[1, 2")
    _, seen = write(folder)
    assert {"empty": "has no history.jsonl", "history": "line 1 of"}.get(damage, "") in seen.text
    assert ("was kept" in seen.text) == (damage not in ("empty", "verdict"))


def test_hostile_content_stays_text(tmp_path):
    page, seen = write(samples.hostile(tmp_path))
    harmless = outline(write_report(samples.stale_register(tmp_path)).read_text())
    assert set(seen.tags) <= set(harmless.tags) | {"code"}
    assert "img" not in seen.tags
    assert seen.tags.count("script") == 2
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert "</script><img src=x onerror=alert(1)>" in seen.text, "it is shown, as text"
    assert not re.search("[\u2028\u2029\u202a-\u202e\ufeff\x00\x1b]", page)
    assert len(page) < 400_000, "a hundred thousand characters of error, forty times, are shortened"


def test_a_value_of_ten_megabytes_is_shortened(tmp_path):
    operations = [
        Operation(0, 0, 0, INVOKE, "write", "x" * 10_000_000),
        Operation(1, 10, 0, OK, "write", "x" * 10_000_000),
    ]
    folder = samples.write_folder(tmp_path, "register", operations, None, logs=False)
    page, _ = write(folder)
    assert len(page) < 300_000
    assert "\x0310000002\x03" in unpack_texts(page_json(page)["operations"]["value"])[0]


def test_every_operation_is_in_the_page_in_order_and_with_its_times(tmp_path):
    folder = samples.valid_bank(tmp_path, seconds=20)
    page, _ = write(folder)
    history = folder.read_history()
    columns = page_json(page)["operations"]
    pairs = history.pairs()
    assert unpack_integers(columns["index"]) == [pair.index for pair in pairs]
    assert unpack_integers(columns["start"]) == [pair.start // 1000 for pair in pairs]
    ends = [(pair.end if pair.end is not None else history.duration_ns) // 1000 for pair in pairs]
    starts = unpack_integers(columns["start"])
    assert [s + d for s, d in zip(starts, unpack_integers(columns["duration"]), strict=True)] == ends
    lags = [
        (pair.start - pair.invocation.intended) // 1000 if pair.invocation.intended else -1 for pair in pairs
    ]
    assert unpack_integers(columns["lag"]) == lags


def test_processes_of_one_node_share_as_few_lanes_as_there_were_clients(tmp_path):
    data = page_json(write(samples.valid_bank(tmp_path))[0])
    main = [lane for lane in data["lanes"] if data["processes"][lane["processes"][0]] < 6]
    assert [lane["node"] for lane in main] == ["n1", "n1", "n2", "n2", "n3", "n3"]
    listed = sorted(process for lane in data["lanes"] for process in lane["processes"])
    assert listed == list(range(len(data["processes"]))), "each process is in exactly one lane"


def test_the_same_folder_gives_the_same_page(tmp_path):
    folder = samples.stale_register(tmp_path)
    assert write(folder)[0] == write(folder)[0]


def test_the_page_asks_for_nothing_and_runs_only_its_own_script(tmp_path):
    page, seen = write(samples.unknown_register(tmp_path))
    assert "default-src 'none'; script-src 'sha256-" in page
    assert not re.search(r"""(src|href)=["']?(https?:|//)""", page)
    assert "iframe" not in seen.tags


@pytest.mark.slow
def test_a_hundred_thousand_operations_take_seconds(tmp_path):
    operations = []
    for number in range(100_000):
        process, key = number % 10, number % 7
        at = number * 100_000
        operations.append(
            Operation(
                2 * number, at, process, INVOKE, "write", [key, number], intended=at, node=f"n{process % 3}"
            )
        )
        operations.append(Operation(2 * number + 1, at + 50_000, process, OK, "write", [key, number]))
    folder = samples.write_folder(tmp_path, "register", operations, None, logs=False)
    before = time.process_time()
    page, _ = write(folder)
    spent = time.process_time() - before
    print(f"{spent:.2f} s, {len(page) / 1e6:.2f} MB")
    assert spent < 10
    assert len(page) < 1_300_000
