"""Jepsen's histories in all the shapes they come in."""

from __future__ import annotations

import pytest

from results.history import HistoryError
from results.interchange import edn, jepsen


def test_edn_values() -> None:
    text = """
    ; a comment
    {:type :ok, :value [1 -2 3.5 nil true false], "text" "a\\"b\\n", [1 2] #{1}} #_ :gone (a #inst "2026" \\newline 7N)
    """
    assert edn.read_all(text) == [
        {"type": "ok", "value": [1, -2, 3.5, None, True, False], "text": 'a"b\n', (1, 2): [1]},
        ["a", "2026", "\n", 7],
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1 2", "never closed"),
        ("[1 2)", "closes the '\\['"),
        ("{:a}", "key without a value"),
        ("#_", "nothing follows"),
        ("]", "unexpected"),
    ],
)
def test_what_is_not_edn_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(edn.EdnError, match=complaint):
        edn.read_all(text)


MAPS = """{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process :nemesis, :type :info, :f :start, :value nil}"""


@pytest.mark.parametrize("text", [MAPS, f"[{MAPS}]", f"({MAPS})", f"; why\n[{MAPS}]"])
def test_maps_come_in_a_vector_a_list_or_line_by_line(text: str) -> None:
    history = jepsen.read(text)
    assert [(o.index, o.process, o.type, o.f, o.value) for o in history.operations] == [
        (0, 0, "invoke", "write", 1),
        (1, 0, "ok", "write", 1),
        (2, "nemesis", "info", "start", None),
    ]


def test_json_lists() -> None:
    history = jepsen.read('[{"process":3,"type":"invoke","f":"read","time":17}]')
    assert (history.operations[0].process, history.operations[0].time) == (3, 17)


def test_the_console_log_and_processes_that_go_on_after_info() -> None:
    history = jepsen.read(
        "INFO  jepsen.util - 0\t:invoke\t:cas\t[2 4]\n"
        "INFO  jepsen.core - something else\n"
        "INFO  jepsen.util - 0\t:info\t:cas\t:timed-out\n"
        "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n"
        "INFO  jepsen.util - 0\t:ok\t:read\t4\n"
    )
    assert [pair.process for pair in history.pairs()] == [0, 1]
    assert [pair.value for pair in history.pairs()] == [[2, 4], 4]


def test_an_empty_file_is_an_empty_history() -> None:
    assert len(jepsen.read("\n")) == 0


def test_anything_else_is_refused() -> None:
    with pytest.raises(HistoryError, match="neither EDN nor JSON"):
        jepsen.read("hello\n")
    with pytest.raises(HistoryError, match="event 0 has no type"):
        jepsen.read("{:process 0, :f :read}")
