"""What is exported says the same: histories go out in the notations of other tools and come back with their verdict."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers import check
from results.export import EXPORTS, ExportError, export
from results.export.edn import value as edn_value
from results.export.formats import only_key
from results.history import History, HistoryBuilder
from results.interchange.events_kernel import Reader
from results.interchange.formats import read_history

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def stale_register() -> History:
    """A write ends, and a later read still sees the value before: not linearizable."""
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1)
    builder.ok(0)
    builder.invoke(0, "write", 2)
    builder.ok(0)
    builder.invoke(1, "read")
    builder.ok(1, 1)
    builder.invoke(2, "cas", [2, 3])
    builder.info(2, ["timeout", "no answer"])
    return builder.done()


def crossed_transactions(second_read: list[int]) -> History:
    """T1 appends to both lists; T2 sees the one append, and the other only if `second_read` says so."""
    builder = HistoryBuilder()
    builder.invoke(0, "txn", [["append", "x", 1], ["append", "y", 2]])
    builder.ok(0, [["append", "x", 1], ["append", "y", 2]])
    builder.invoke(1, "txn", [["r", "x", None], ["r", "y", None]])
    builder.ok(1, [["r", "x", [1]], ["r", "y", second_read]])
    return builder.done()


def exported(history: History, name: str, folder: Path) -> Path:
    path = folder / "exported"
    export(history, name, path)
    return path


@given(VALUES)
def test_every_value_comes_back_from_edn_as_it_was(value: Any) -> None:
    (read,) = Reader(edn_value(value).encode(), False).values()
    assert read == value


@given(st.floats(allow_nan=False))
def test_every_float_comes_back_from_edn_as_it_was(number: float) -> None:
    (read,) = Reader(edn_value(number).encode(), False).values()
    assert float(read) == number


@pytest.mark.parametrize("name", ["edn", "porcupine"])
def test_a_stale_read_is_still_one_in_the_notation_of_others(name: str, tmp_path: Path) -> None:
    path = exported(stale_register(), name, tmp_path)
    assert check(str(path), model="cas-register").outcome == "invalid"
    assert len(read_history(path).history) == 8


@pytest.mark.parametrize("name", ["edn", "elle-json"])
@pytest.mark.parametrize(("second_read", "outcome"), [([2], "valid"), ([], "invalid")])
def test_transactions_keep_their_verdict(
    name: str, second_read: list[int], outcome: str, tmp_path: Path
) -> None:
    path = exported(crossed_transactions(second_read), name, tmp_path)
    assert check(str(path), model="list-append", isolation="serializable").outcome == outcome


def test_a_completion_that_repeats_nothing_is_written_out_for_porcupine(tmp_path: Path) -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1)
    builder.event(0, "ok", "write", None)
    builder.invoke(2, "cas", [2, 3])
    builder.info(2, ["timeout", "no answer"])
    lines = exported(builder.done(), "porcupine", tmp_path).read_text().splitlines()
    assert lines[1] == "INFO  jepsen.util - 0\t:ok\t:write\t1"
    assert lines[-1] == "INFO  jepsen.util - 2\t:info\t:cas\t:timed-out"


def test_a_key_value_log_has_a_map_a_line(tmp_path: Path) -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "put", ["k", "a"])
    builder.ok(0)
    builder.invoke(1, "get", ["k", None])
    builder.ok(1, ["k", "b"])
    path = exported(builder.done(), "porcupine", tmp_path)
    assert path.read_text().splitlines()[1] == '{:process 0, :type :ok, :f :put, :key "k", :value "a"}'
    assert check(str(path), model="kv").outcome == "invalid"


@pytest.mark.parametrize(("name", "why"), [("elle-json", "is a write"), ("porcupine", "has the functions")])
def test_a_history_without_such_a_form_is_refused_and_leaves_nothing(
    name: str, why: str, tmp_path: Path
) -> None:
    history = stale_register() if name == "elle-json" else crossed_transactions([])
    with pytest.raises(ExportError, match=why):
        exported(history, name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_key_of_many_is_chosen_and_stands_for_itself(tmp_path: Path) -> None:
    builder = HistoryBuilder()
    for process, key in ((0, 7), (1, 8)):
        builder.invoke(process, "write", [key, 1])
        builder.ok(process)
        builder.invoke(process, "read", [key, None])
        builder.ok(process, [key, 1 if key == 7 else 5])
    with pytest.raises(ExportError, match="--key"):
        exported(builder.done(), "porcupine", tmp_path)
    verdicts = {}
    for key in (7, 8):
        path = exported(only_key(builder.done(), key), "porcupine", tmp_path)
        verdicts[key] = check(str(path), model="register").outcome
    assert verdicts == {7: "valid", 8: "invalid"}
    with pytest.raises(ExportError, match="keys of this history: 7, 8"):
        only_key(builder.done(), 9)


def test_a_trace_has_a_bar_for_each_operation_and_each_fault(tmp_path: Path) -> None:
    builder = HistoryBuilder()
    builder.event("harness", "info", "phase", "main")
    builder.event("nemesis", "invoke", "start", {"step": 0, "fault": "kill", "targets": ["n1"]})
    builder.event(
        "nemesis", "info", "start", {"step": 0, "fault": "kill", "targets": ["n1"], "took_effect": True}
    )
    builder.invoke(0, "read")
    builder.invoke(1, "write", 4)
    builder.ok(0, 3)
    trace = json.loads(exported(builder.done(), "perfetto", tmp_path).read_bytes())["traceEvents"]
    bars = {event["name"]: event for event in trace if event["ph"] == "X"}
    assert set(bars) == {"read", "write", "kill"}
    assert bars["read"]["dur"] == 2000
    assert bars["write"]["args"]["ended"] == "info"
    assert bars["kill"]["args"]["targets"] == "n1"
    counts = [event["args"]["operations"] for event in trace if event["ph"] == "C"]
    assert counts[-1] == 0
    assert max(counts) == 2


def test_a_parquet_table_has_a_row_an_event(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(exported(stale_register(), "parquet", tmp_path)).to_pylist()
    assert len(rows) == 8
    assert rows[6] | {"time": 0} == {
        "index": 6,
        "time": 0,
        "process": "2",
        "is_client": True,
        "type": "invoke",
        "f": "cas",
        "value": "[2,3]",
        "error": None,
        "intended": None,
        "node": None,
        "phase": None,
        "pair": 7,
    }


def test_where_pyarrow_is_missing_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match="pip install pyarrow"):
        exported(stale_register(), "parquet", tmp_path)


def test_each_notation_has_a_name_of_its_own() -> None:
    assert len({one.name for one in EXPORTS}) == len(EXPORTS) == 5
