"""A page tells the verdict in words without any script, and can be made of whatever a run left behind."""

import html
import re
import time
from html.parser import HTMLParser

import msgspec
import pytest

from checkers.isolation.lattice import IMPLIED_ANOMALIES
from results.operation import INFO, INVOKE, OK, Operation
from results.report import write_report
from results.report.anomaly_words import meaning_of
from results.report.page_data import thread_count
from results.report.record import read_record
from results.run_folder import RunFolder
from results.verdict import INVALID, Anomaly, Verdict
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
    drive = {"phase": "main", "loop_lag": {"median_ns": 21_000}, "stalls": ["line 1"]}
    not_whole = {"recovered": False, "after_ns": 60_000_000_000, "problem": "n2 does not answer"}
    for f, value in (
        ("drive", drive),
        ("heal", {"healed": [], "failed": ["pause of n3: no such process"], "problems": []}),
        ("recovery", {"recovered": True, "after_ns": 2_565_888, "problem": None}),
        ("recovery", not_whole),
        ("stopped", {"by": "SIGTERM"}),
    ):
        operations.append(Operation(len(operations), operations[-1].time, "harness", INFO, f, value))
    page, seen = write(samples.write_folder(tmp_path, "bank", operations, folder.read_verdict()))
    assert "Undone at the end of the main phase: n1 resumed." in seen.text
    assert "No fault was left to undo. Could not be undone: pause of n3: no such process." in seen.text
    assert "The whole cluster served again 2.57 ms after healing began." in seen.text
    assert "The cluster was not whole again 60.00 s after healing began: n2 does not answer." in seen.text
    assert "Somebody asked the run to end: SIGTERM." in seen.text
    assert "healed&quot;" not in page
    assert "1 stall" in seen.text
    assert "0.021 ms" in seen.text


def with_harness_events(tmp_path, *events, environment=None):
    """The page of a short valid bank run in which the harness recorded these as well."""
    folder = samples.valid_bank(tmp_path, seconds=2)
    operations = [event for event in folder.read_history().operations if event.f != "drive"]
    operations = [msgspec.structs.replace(event, index=index) for index, event in enumerate(operations)]
    for f, value in events:
        operations.append(Operation(len(operations), operations[-1].time, "harness", INFO, f, value))
    changed = samples.write_folder(tmp_path, "bank", operations, folder.read_verdict(), seconds=20)
    if environment is not None:
        changed.write_environment(environment)
    page, seen = write(changed)
    return changed, page, seen


DRIVE = {"phase": "main", "start_ns": 100_000_000, "end_ns": 2_200_000_000, "invoked": 400, "stopped": None}


def test_a_run_that_was_cut_short_says_so_in_the_verdict(tmp_path):
    events = ("drive", {**DRIVE, "stopped": "interrupted"}), ("stopped", {"by": "SIGINT"})
    _, page, seen = with_harness_events(tmp_path, *events)
    notice = (
        "The main phase ended after 2.1 s of 20 s: interrupted by Ctrl-C (SIGINT); "
        "the verdict is about what was done until then."
    )
    header = page[page.index("<header") : page.index("</header>")]
    assert f'<p class="notice">{notice}</p>' in header
    assert "valid, cut short" in seen.text
    assert "Every promise that was checked was kept, until the run was cut short" in seen.text

    _, page, seen = with_harness_events(tmp_path, ("drive", DRIVE))
    assert "cut short" not in seen.text, "a run that ended in order"


@pytest.mark.parametrize("late", [20, 21])
def test_a_rate_that_was_not_reached_is_said_beside_the_rates(tmp_path, late):
    drive = {**DRIVE, "late": late, "latest_ns": 1_280_000_000}
    _, page, seen = with_harness_events(tmp_path, ("drive", drive))
    told = (
        "The processes could not keep up with the rate asked for: 21 of 400 operations began late, the latest by "
        "1.28 s; raise --concurrency."
    )
    assert page_json(page)["lateness"] == (told if late > 20 else "")
    assert (told in seen.text) == (late > 20)


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("./run test --seed 7", "./run"),
        ("harness test --seed 7", "harness"),
        ("rm -rf / #", "harness"),
        (None, "harness"),
    ],
)
def test_commands_name_the_program_and_the_folder_as_they_are(tmp_path, command, program):
    root = tmp_path / "my runs"
    root.mkdir()
    folder, page, _ = with_harness_events(root, environment={} if command is None else {"command": command})
    (shown,) = re.findall(r'id="command-check">([^<]*)<', page)
    assert html.unescape(shown) == f"{program} check 'my runs/{folder.id}'"


def test_why_an_operation_did_not_end_with_ok_is_told_in_words(tmp_path):
    operations = [
        Operation(0, 0, 0, INVOKE, "write", 1),
        Operation(1, 10, 0, INFO, "write", 1, error=["ambiguous", 'the leader "n1" changed']),
        Operation(2, 20, 1, INVOKE, "write", 2),
        Operation(3, 30, 1, INFO, "write", 2, error=["odd", {"code": 3}]),
    ]
    verdict = Verdict(INVALID, "register", "bad", anomalies=[Anomaly("lost", "it is lost", [0, 2])])
    page, seen = write(samples.write_folder(tmp_path, "register", operations, verdict, logs=False))
    assert 'info: ambiguous: the leader "n1" changed' in seen.text
    assert 'info: ["odd", {"code": 3}]' in seen.text
    assert unpack_texts(page_json(page)["operations"]["error"]) == [
        'ambiguous: the leader \\"n1\\" changed',
        '["odd",{"code":3}]',
    ]


def test_what_was_observed_first_stands_above_the_time_line_and_everything_else_below(tmp_path):
    operations = [Operation(index, index, 0, type_, "read", 1) for index, type_ in enumerate([INVOKE, OK])]
    anomalies = [Anomaly("stale read", f"number {position}", [0]) for position in range(3)]
    verdict = Verdict(INVALID, "register", "bad", anomalies=anomalies)
    page, _ = write(samples.write_folder(tmp_path, "register", operations, verdict, logs=False))
    order = [
        *('id="verdict"', 'data-anomaly="0"', 'id="explore"', 'data-anomaly="1"', 'data-anomaly="2"'),
        *('id="checkers"', 'id="commands"'),
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert all(page.count(text) == 1 for text in order)
    for link in re.findall(r'href="#([^"]*)"', page):
        assert f'id="{link}"' in page
    page, _ = write(samples.unknown_register(tmp_path))
    assert page.index('id="checkers"') < page.index('id="explore"'), (
        "without an anomaly, they are the evidence"
    )


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
    damaged = {"scenario": "scenario.toml", "verdict": "verdict.json", "environment": "environment.json"}
    assert any(damaged.get(damage, "") in problem for problem in read_record(folder).problems)
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


def test_a_lane_is_a_client_thread_and_its_processes(tmp_path):
    """Process 0 ends in info; its thread goes on with process 6, since there are six threads."""
    events = [(0, INVOKE), (0, INFO), (4, INVOKE), (4, OK), (6, INVOKE), (6, OK)]
    operations = [
        Operation(
            index, index * 10, process, type_, "read", node=f"n{process % 3 + 1}" if type_ == INVOKE else None
        )
        for index, (process, type_) in enumerate(events)
    ]
    page, _ = write(samples.write_folder(tmp_path, "register", operations, None, logs=False))
    assert page_json(page)["processes"] == [0, 4, 6]
    assert page_json(page)["lanes"] == [
        {"node": "n1", "thread": 0, "processes": [0, 2]},
        {"node": "n2", "thread": 4, "processes": [1]},
    ]


def test_who_led_which_range_is_in_the_page_and_warnings_are_marks_at_their_times(tmp_path):
    changes = [
        {"range": "10", "leader": "n2", "term": 2, "time_ns": 9_000_000},
        {"range": "10", "leader": "n1", "term": 1, "time_ns": 0},
        {"range": "2", "leader": "gone", "term": 1, "time_ns": 0},
        {"range": "3", "leader": "n1"},
        "nonsense",
    ]
    folder = samples.with_leaders(tmp_path, samples.stale_register(tmp_path), changes)
    (folder.node_dir("n2") / "node.log").write_text(
        "2026-01-01T00:00:02.500 WARNING disk: slow\n2026-01-01T00:00:03.500 INFO disk: well\nERROR without a time\n"
    )
    page = write_report(folder).read_text()
    data = page_json(page)
    assert data["ranges"] == [
        {"range": "2", "changes": [[0, -1, 1]]},
        {"range": "10", "changes": [[0, 0, 1], [9000, 1, 2]]},
    ]
    marks = [mark for mark in data["marks"] if "disk" in mark["text"]]
    assert marks == [{"time": 2_500_000, "node": "n2", "kind": "log line", "text": "WARNING disk: slow"}]


def test_the_number_of_threads_is_a_number_or_so_many_for_each_node():
    assert thread_count({"concurrency": "2n", "nodes": 3}) == 6
    assert thread_count({"concurrency": 5}) == thread_count({"concurrency": "5", "nodes": 3}) == 5
    for odd in ({}, {"concurrency": "n2"}, {"concurrency": "2n", "nodes": "three"}, {"concurrency": "0"}):
        assert thread_count(odd) is None


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


def test_every_anomaly_between_transactions_is_explained_in_words():
    for name in IMPLIED_ANOMALIES:
        assert meaning_of(name).endswith("."), name
    assert meaning_of("G1c-realtime").startswith(meaning_of("G1c"))
    assert meaning_of("stale read") == "", "its sentence says it all"


def test_a_cycle_is_explained_and_drawn_and_no_level_that_is_left_is_said_to_be_nothing(tmp_path):
    _, seen = write(samples.g1c_cycle(tmp_path))
    assert "G1c: Circular flow of information" in seen.text
    assert "wr, key 1" in seen.text
    assert "during partition one-way: n1." in seen.text
    assert "; . " not in seen.text


def test_the_lost_element_is_named(tmp_path):
    _, seen = write(samples.lost_element(tmp_path))
    assert "lost element 2 found by set" in seen.text
    assert "element on key" not in seen.text


def test_of_operations_far_apart_the_first_and_the_last_are_told_with_their_faults(tmp_path):
    """A list of all faults between them would be no help."""
    sketch = samples.Sketch()
    places = []
    for process, second in enumerate((1, 10, 55)):
        places.append(sketch.add(second * samples.SECOND, process, INVOKE, "read", None, node="n1"))
        places.append(sketch.add(second * samples.SECOND + 1_000_000, process, OK, "read", {"a": 1}))
    sketch.add_faults(samples.FAULTS)
    operations, index = sketch.operations()
    anomaly = Anomaly("wrong total", "three reads are wrong", [index[place] for place in places])
    verdict = Verdict(INVALID, "bank", "three reads are wrong", anomalies=[anomaly])
    _, seen = write(samples.write_folder(tmp_path, "bank", operations, verdict))
    assert (
        "The first of these operations ran from 1.000 s to 1.001 s, while no fault was active; the last from "
        "55.000 s to 55.001 s, 0.88 s after the end of pause: n1."
    ) in seen.text


def test_of_a_very_long_sentence_the_beginning_is_read_and_the_whole_can_be(tmp_path):
    sentence = "One thing came first. " + "; ".join(
        f"T{number} came before T{number + 1}" for number in range(80)
    )
    anomaly = Anomaly("G0", sentence, [0])
    folder = samples.write_folder(
        tmp_path, "list-append", [], Verdict(INVALID, "list-append", sentence, anomalies=[anomaly])
    )
    _, seen = write(folder)
    assert seen.text.count("T79 came before T80") == 2, "in full below, and by the checker"
    assert "T3 came before T4" in seen.text
    assert "In full" in seen.text
