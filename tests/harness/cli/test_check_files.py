"""`harness check FILE...`: verdicts with evidence, exit codes, JSON, reports; hostile files get an answer."""

from __future__ import annotations

import json

import pytest

STALE = """{:process 0 :type :invoke :f :write :value 1}
{:process 0 :type :ok :f :write :value 1}
{:process 0 :type :invoke :f :write :value 2}
{:process 0 :type :ok :f :write :value 2}
{:process 1 :type :invoke :f :read}
{:process 1 :type :ok :f :read :value 1}
"""
FRESH = STALE.replace(":read :value 1", ":read :value 2")


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str | bytes):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_a_valid_file(harness, write):
    code, out, _ = harness("check", "--model", "cas-register", write("fresh.edn", FRESH))
    assert code == 0
    assert "edn: 6 events, 3 operations" in out
    assert "model: cas-register\n" in out
    assert out.endswith("verdict: valid\n")


SETS = """{:process 0 :type :invoke :f :write :value WRITTEN}
{:process 0 :type :ok :f :write :value WRITTEN}
{:process 1 :type :invoke :f :read}
{:process 1 :type :ok :f :read :value READ}
"""


@pytest.mark.parametrize(
    ("written", "read", "code"),
    [
        ("#{1 2}", "#{2 1}", 0),
        ("#{1 2}", "#{2 3}", 1),
        ("{:a #{:x 1} :b 2}", "{:b 2 :a #{1 :x}}", 0),
        ("{:a #{:x 1} :b 2}", "{:b 2 :a #{1 :y}}", 1),
    ],
)
def test_sets_and_maps_are_equal_however_they_were_printed(harness, write, written, read, code):
    text = SETS.replace("WRITTEN", written).replace("READ", read)
    assert harness("check", "--model", "register", write("sets.edn", text))[0] == code
    transactions = text.replace(":write", ":txn").replace(":read", ":txn")
    transactions = transactions.replace(f":value {written}", f":value [[:w 1 {written}]]")
    transactions = transactions.replace(f":value {read}", f":value [[:r 1 {read}]]")
    transactions = transactions.replace(":f :txn}", ":f :txn :value [[:r 1 nil]]}")
    arguments = ("--model", "rw-register", "--initial", "null")
    assert harness("check", *arguments, write("sets.edn", transactions))[0] == code


@pytest.mark.parametrize(
    ("initial", "code"), [("x", 2), ("[1]", 2), ("1.5", 2), ("null", 2), ("3", 0), ("4", 1)]
)
def test_a_counter_begins_with_a_whole_number(harness, write, initial, code):
    text = [*STALE.splitlines(keepends=True)[:2], "{:process 1 :type :invoke :f :read}\n"]
    counter = "".join(text).replace(":write", ":add") + "{:process 1 :type :ok :f :read :value 4}\n"
    given, _, err = harness(
        "check", "--model", "counter", "--initial", initial, write("counter.edn", counter)
    )
    assert given == code
    if code == 2:
        assert "a counter begins with a whole number (--initial), not" in err


def told(*events):
    """JSON lines of events `(process, type, f, value)`."""
    rows = [dict(zip(("process", "type", "f", "value"), event, strict=True)) for event in events]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def done(process, f, asked, answered):
    return [(process, "invoke", f, asked), (process, "ok", f, answered)]


STALE_COUNTER = told(*done(0, "add", 1, 1), *done(1, "read", None, 0), *done(1, "read", None, 1))
STALE_BANK = told(
    *done(1, "read", None, {"a": 5, "b": 5}),
    (2, "invoke", "read", None),
    *done(0, "transfer", {"from": "a", "to": "b", "amount": 3}, {"from": "a", "to": "b", "amount": 3}),
    (2, "ok", "read", {"a": 5, "b": 8}),
)
BACKWARDS = told(
    *done(0, "read", ["x", None], ["x", None]),
    *done(0, "write", ["x", 1], ["x", 1]),
    *done(0, "write", ["x", 2], ["x", 2]),
    *done(0, "read", ["x", None], ["x", 2]),
    *done(1, "read", ["x", None], ["x", 2]),
    *done(1, "read", ["x", None], ["x", 1]),
)


@pytest.mark.parametrize(
    ("model", "text", "option", "without", "with_it"),
    [
        ("counter", STALE_COUNTER, ["--eventual"], 1, 0),
        ("bank", STALE_BANK, ["--no-snapshot"], 1, 0),
        ("sessions", BACKWARDS, ["--guarantees", "read-your-writes"], 1, 0),
        (
            "sessions",
            BACKWARDS,
            ["--guarantees", "read-your-writes", "--guarantees", "monotonic-reads"],
            1,
            1,
        ),
    ],
)
def test_options_ask_for_less(harness, write, model, text, option, without, with_it):
    file = write("history.jsonl", text)
    assert harness("check", "--model", model, file)[0] == without
    assert harness("check", "--model", model, *option, file)[0] == with_it
    other = "counter" if model != "counter" else "bank"
    code, _, err = harness("check", "--model", other, *option, write("empty.jsonl", STALE_COUNTER))
    assert code == 2
    assert f"has no use for {option[0]}" in err


def test_an_invalid_file_shows_its_evidence_as_lines_of_the_history(harness, write):
    code, out, err = harness("check", write("stale.edn", STALE))
    assert code == 1
    assert "model: register (guessed from its functions" in out
    assert "lost write: process 1 read 1" in out
    assert "      5  process 1    ok     read 1\n" in out
    assert out.endswith("verdict: invalid\n")
    assert "the file has no times" in err


def test_several_files_the_worst_counts_and_each_is_told(harness, write):
    fresh, stale, text = write("a.edn", FRESH), write("b.edn", STALE), write("c.csv", "a,b\n1,2\n")
    empty = write("d.edn", "")
    code, out, err = harness("check", "--model", "register", "--jobs", "2", fresh, text, stale, empty)
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("verdict")] == [
        "verdict: valid",
        "verdict: invalid",
        "verdict: unknown",
    ]
    assert "failed: " in err
    assert "c.csv is in none of the formats" in err
    assert harness("check", "--model", "register", fresh, text)[0] == 4
    assert harness("check", "--model", "register", fresh, empty)[0] == 3
    assert harness("check", "--model", "bank", fresh)[0] == 2


def test_json_is_one_document_and_nothing_else(harness, write):
    code, out, _ = harness(
        "check", "--json", write("a.edn", FRESH), write("b.edn", STALE), write("c.edn", "7")
    )
    document = json.loads(out)
    assert code == document["exit_code"] == 1
    assert [(one["outcome"], one["exit_code"]) for one in document["files"]] == [
        ("valid", 0),
        ("invalid", 1),
        (None, 4),
    ]
    assert document["files"][1]["verdict"]["anomalies"][0]["type"] == "lost write"
    assert "events are maps" in document["files"][2]["errors"][0]["text"]


def test_a_report_of_a_file(harness, write, tmp_path):
    hostile = STALE.replace(":value 2", ':value "</script><img src=x onerror=alert(1)>"')
    code, out, _ = harness("check", "--report", tmp_path / "out.html", write("<b>.edn", hostile))
    assert code == 1
    page = (tmp_path / "out.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;b&gt;.edn" in page
    assert "report: " in out
    (tmp_path / "pages").mkdir()
    harness("check", "--report", tmp_path / "pages", write("a.edn", FRESH), write("b.edn", STALE))
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["1-a.edn.html", "2-b.edn.html"]


def test_a_report_that_cannot_be_written_hides_no_verdict(harness, write, tmp_path):
    where = tmp_path / "nowhere" / "out.html"
    code, _, err = harness("check", "--report", where, write("a.edn", FRESH))
    assert (code, "cannot write the report" in err) == (4, True)
    assert harness("check", "--report", where, write("b.edn", STALE))[0] == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--model", "registre", "FILE"), "there is no model 'registre'; models are register"),
        (("--isolation", "strong", "FILE"), "'strong' is no consistency model"),
        (("--format", "csv", "FILE"), "'csv' is no format of histories"),
        (("--model", "register"), "--model is for history files, and there is no file the latest run"),
        (("--model", "register", "FOLDER"), "is a folder: a run is judged by its own workload"),
        (("--report", "x.html", "FILE", "FILE"), "for several files name a folder"),
        (("--check-memory-limit", "1", "FILE"), "1 is not in the range"),
        (("FILE", "nowhere.edn"), "nowhere.edn is not a run folder"),
    ],
)
def test_wrong_usage(harness, write, tmp_path, words, complaint):
    names = {"FILE": write("a.edn", FRESH), "FOLDER": tmp_path}
    code, _, err = harness("check", *(names.get(word, word) for word in words))
    assert code == 2
    assert complaint in " ".join(err.split())


def test_a_file_that_is_not_there_hides_no_other(harness, write):
    stale = "{:process 0 :type :invoke :f :read}{:process 0 :type :ok :f :read :value 7}"
    code, out, err = harness("check", "--model", "register", write("a.edn", stale), "nowhere.edn")
    assert code == 1
    assert "verdict: invalid" in out
    assert "nowhere.edn cannot be read" in out + err
    assert harness("check", "--model", "register", "nowhere.edn")[0] == 4


def test_initial_values(harness, write):
    text = "{:process 0 :type :invoke :f :read}{:process 0 :type :ok :f :read :value 7}"
    assert harness("check", write("a.edn", text))[0] == 1
    assert harness("check", "--initial", "7", write("a.edn", text))[0] == 0


# What nobody should do to a checker


def event(type_: str, value: str, f: str = "write") -> str:
    return f"{{:process 0 :type :{type_} :f :{f} :value {value}}}\n"


LONG = '"' + "x" * 1_000_000 + '"'


def kept(value: str) -> str:
    """A register that keeps a value."""
    return (
        event("invoke", value)
        + event("ok", value)
        + event("invoke", "nil", "read")
        + event("ok", value, "read")
    )


HOSTILE = {
    "empty": ("", 3),
    "blank": (" \n\n", 3),
    "only a byte order mark": (b"\xef\xbb\xbf \n", 3),
    "lists": (kept("[[1] [2 [3]]]"), 0),
    "long": (kept(LONG), 0),
    "not a number": (kept("##NaN"), 0),
    "huge number": (event("invoke", "9" * 900) + event("ok", "9" * 900) + event("invoke", "nil", "read")
                    + event("ok", "9" * 899, "read"), 1),
    "control characters": (event("invoke", '"\x1b[2J\\u0007"') + event("invoke", "1"), 4),
    "only written": (event("invoke", "1") + event("ok", "1"), 0),
    "cut": (STALE[:100], 4),
    "no UTF-8": (event("invoke", '"?"').encode().replace(b"?", b"\xc3\x28"), 4),
    "deep": (event("invoke", "[" * 100_000 + "]" * 100_000), 4),
    "deep JSON": ('{"process":0,"type":"invoke","f":"write","value":' + "[" * 100_000 + "]" * 100_000 + "}", 4),
    "binary": (bytes(range(256)) * 100, 4),
    "table": ("time,process\n1,2\n", 4),
    "no list": ("7", 4),
    "half a character": (kept('"\\ud83d"'), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_a_verdict_or_a_clear_error(harness, write, tmp_path, name):
    text, expected = HOSTILE[name]
    path = write("hostile.edn", text)
    code, out, err = harness("check", "--model", "register", "--report", tmp_path / "r.html", path)
    assert code == expected, out + err
    assert "Traceback" not in out + err
    assert len(out + err) < 10_000
    assert harness("check", "--model", "register", "--json", path)[0] == expected


# Limits


@pytest.mark.slow
def test_a_limit_makes_the_verdict_unknown_with_the_reason(harness, write, monkeypatch):
    import harness.file_check as file_check

    def endless(history, question, limits):
        while True:
            pass

    monkeypatch.setattr(file_check, "judge", endless)
    code, out, _ = harness("check", "--check-time-limit", "2", write("a.edn", FRESH))
    assert code == 3
    assert "the time allowed (2 s) ran out while checking; allow more with --check-time-limit" in out

    def greedy(history, question, limits):
        held = []
        while True:
            held.append(b"x" * 10_000_000)

    monkeypatch.setattr(file_check, "judge", greedy)
    code, out, _ = harness("check", "--check-memory-limit", "300", write("a.edn", FRESH))
    assert code == 3
    assert "the memory allowed (300 MB) ran out" in out


def test_a_checker_that_breaks_down_is_an_error_and_no_verdict(harness, write, monkeypatch):
    import os

    import harness.file_check as file_check

    monkeypatch.setattr(file_check, "judge", lambda *arguments: os._exit(3))
    code, out, err = harness("check", write("a.edn", FRESH))
    assert (code, "verdict" in out) == (4, False)
    assert "ended with exit code 3 before it had a verdict" in err
    monkeypatch.setattr(file_check, "judge", lambda *arguments: [][1])
    code, out, err = harness("check", write("a.edn", FRESH))
    assert (code, "verdict" in out, "Traceback" in err) == (4, False, False)
    assert "an unexpected IndexError in the harness (list index out of range); please report it" in err


def test_the_page_about_it_names_every_model_format_and_option():
    from pathlib import Path

    from checkers.registry import REGISTRY
    from harness.cli.check import command
    from results.interchange.formats import FORMATS

    page = (Path(__file__).resolve().parents[3] / "docs" / "checking-files.md").read_text()
    names = [f"| `{name}` |" for name in [*REGISTRY, *(one.name for one in FORMATS)]]
    hidden = {"--runs-dir", "--total", "--bound", "--linearizable", "--allow-negative", "--not-keyed"}
    options = [f"`{name}" for one in command.params for name in one.opts if name.startswith("--")]
    missing = [name for name in [*names, *options] if name not in page and name.strip("`") not in hidden]
    assert not missing


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_a_limit_that_is_no_time_is_wrong_usage(harness, write, seconds):
    code, out, err = harness("check", "--check-time-limit", seconds, write("a.edn", FRESH))
    assert code == 2
    assert "--check-time-limit" in out + err
