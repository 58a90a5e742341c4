"""Histories of other tools, in all the shapes they come in, and how what is no history is refused."""

from __future__ import annotations

import gzip

import pytest

from results.history import History, HistoryError
from results.interchange.formats import FORMATS, read_history, read_text


def events(text: str | bytes, format: str | None = None) -> list[tuple]:
    """Index, process, type, function and value of each event."""
    reading = read_text(text.encode() if isinstance(text, str) else text, format)
    return [(o.index, o.process, o.type, o.f, o.value) for o in reading.history.operations]


MAPS = """{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process :nemesis, :type :info, :f :start, :value nil}"""
TAGGED = MAPS.replace("{:", "#jepsen.history.Op{:")
WRITTEN = [(0, 0, "invoke", "write", 1), (1, 0, "ok", "write", 1), (2, "nemesis", "info", "start", None)]


@pytest.mark.parametrize(
    "text",
    [
        MAPS,
        f"[{MAPS}]",
        f"({MAPS})",
        f"; why\n[{MAPS}]",
        TAGGED,
        f"[{TAGGED}]",
        f"^{{:source 1}} [{MAPS}]",
        f"#jepsen/history [{MAPS}]",
        "\ufeff" + MAPS,
        MAPS.replace("\n", "\r\n"),
        MAPS.replace("{:process 0", '#_ {:gone [1 2]} {:more #{1 2}, "text" 7, :process 0'),
    ],
)
def test_maps_come_in_a_vector_a_list_or_line_by_line(text):
    assert events(text) == WRITTEN


@pytest.mark.parametrize(
    "text",
    [
        '[{"process":0,"type":"invoke","f":"write","value":1},\n{"process":0,"type":"ok","f":"write","value":1},'
        '{"process":"nemesis","type":"info","f":"start","value":null}]',
        '{"process":0,"type":"invoke","f":"write","value":1}\n{"process":0,"type":"ok","f":"write","value":1}\n'
        '{"process":"nemesis","type":"info","f":"start"}\n',
        '{"process":"0","type":":invoke","f":"write","value":1}\n{"process":0.0,"type":"ok","f":"write","value":1}\n'
        '{"process":":nemesis","type":"info","f":"start"}\n',
    ],
)
def test_json_comes_as_a_list_or_line_by_line(text):
    assert events(text) == WRITTEN


def test_an_event_without_a_function_is_of_a_transaction():
    text = "{:process 1 :type :invoke :value [[:append 253 1] [:r 2 nil]]}"
    assert events(text) == [(0, 1, "invoke", "txn", [["append", 253, 1], ["r", 2, None]])]


def test_a_key_beside_the_value_belongs_to_it():
    text = '{:process 3, :type :invoke, :f :get, :key "9", :value nil}'
    assert events(text) == [(0, 3, "invoke", "get", ["9", None])]


def test_the_console_log_and_processes_that_go_on_after_info():
    text = (
        "INFO  jepsen.util - 0\t:invoke\t:cas\t[2 4]\n"
        "INFO  jepsen.core - something else\n"
        "INFO  jepsen.util - 0\t:info\t:cas\t:timed-out\n"
        "2026-01-02 03:04:05,678{GMT}\tINFO\t[jepsen worker 0] jepsen.util: 0\t:invoke\t:read\tnil\n"
        'INFO  jepsen.util - 0\t:ok\t:read\t4\t[:why "not"]\n'
    )
    history = read_text(text.encode()).history
    assert [(pair.process, pair.value) for pair in history.pairs()] == [(0, [2, 4]), (1, 4)]
    assert history.operations[3].error == ["why", "not"]


def test_jepsens_history_txt():
    assert events("0\t:invoke\t:read\tnil\n0\t:ok\t:read\t3\n:nemesis\t:info\t:start\tnil\n") == [
        (0, 0, "invoke", "read", None),
        (1, 0, "ok", "read", 3),
        (2, "nemesis", "info", "start", None),
    ]


def test_sessions_of_transactions():
    reading = read_text(b"w 0 0\nw 1 0\n=====\nw 0 1\n-----\nr 0 1\n-----\n-----\n")
    assert [(o.process, o.type, o.value) for o in reading.history.operations] == [
        (0, "invoke", [["w", 0, 0], ["w", 1, 0]]),
        (0, "ok", [["w", 0, 0], ["w", 1, 0]]),
        (1, "invoke", [["w", 0, 1]]),
        (1, "ok", [["w", 0, 1]]),
        (1, "invoke", [["r", 0, None]]),
        (1, "ok", [["r", 0, 1]]),
    ]
    assert not reading.history.has_real_time


def test_isovista_transactions_need_not_stand_together():
    reading = read_text(b"w(1,0,0,0)\nw(9,1,1,1)\nr(1,0,0,0)\nr(x,y,1,2)")
    assert [(o.process, o.value) for o in reading.history.operations if o.type == "ok"] == [
        (0, [["w", 1, 0], ["r", 1, 0]]),
        (1, [["w", 9, 1]]),
        (1, [["r", "x", "y"]]),
    ]
    assert not reading.history.has_real_time


def test_events_with_micro_operations():
    text = (
        "invoke 7 a 9 1 r 8 -\ninvoke 5 r 9 -\nok 7 a 9 1 r 8 -\nfail 5 r 9 -\ninvoke 5 r 9 -\nok 5 r 9 1,2\n"
    )
    assert [(o.type, o.value) for o in read_text(text.encode()).history.operations] == [
        ("invoke", [["append", 9, 1], ["r", 8, None]]),
        ("invoke", [["r", 9, None]]),
        ("ok", [["append", 9, 1], ["r", 8, []]]),
        ("fail", [["r", 9, None]]),
        ("invoke", [["r", 9, None]]),
        ("ok", [["r", 9, [1, 2]]]),
    ]
    registers = read_text(b"invoke 0 w x 1 r x -\nok 0 w x 1 r x 1\n").history
    assert registers.operations[1].value == [["w", "x", 1], ["r", "x", 1]]


def test_an_empty_file_is_an_empty_history():
    assert events("\n") == []
    assert events("[]") == []


def test_packed_files(tmp_path):
    path = tmp_path / "history.edn.gz"
    path.write_bytes(gzip.compress(MAPS.encode()))
    assert len(read_history(path).history) == 3
    path.write_bytes(gzip.compress(MAPS.encode())[:-9])
    with pytest.raises(HistoryError, match=r"history.edn.gz is packed with gzip and damaged"):
        read_history(path)


# The order of events


def indexed(*indexes: int | str) -> str:
    """An event a process; an index that is a text is left out."""
    return "\n".join(
        f"{{:process {number} :type :invoke :f :write :value {number}"
        + (f" :index {index}}}" if isinstance(index, int) else "}")
        for number, index in enumerate(indexes)
    )


def test_gaps_in_indexes_are_closed():
    assert [e[:2] for e in events(indexed(10, 20, 21))] == [(0, 0), (1, 1), (2, 2)]


def test_events_out_of_order_are_sorted_by_their_indexes():
    reading = read_text(indexed(5, 1, 3).encode())
    assert [o.process for o in reading.history.operations] == [1, 2, 0]
    assert "sorted by index" in reading.notes[0]


def test_where_an_index_is_missing_the_order_of_the_file_counts():
    assert [e[1] for e in events(indexed(5, "none", 3))] == [0, 1, 2]


def test_equal_indexes_out_of_order_are_an_error():
    with pytest.raises(HistoryError, match="two events have the index 3"):
        events(indexed(5, 3, 3))
    assert [e[1] for e in events(indexed(3, 3, 5))] == [0, 1, 2]


def test_a_file_of_completions_knows_the_order_in_each_process_only():
    reading = read_text(
        b'{"process":0,"type":"ok","f":"txn","value":[["r",1,[2]]]}\n{"process":1,"type":"info"}'
    )
    assert [(o.process, o.type, o.f) for o in reading.history.operations] == [
        (0, "invoke", "txn"),
        (0, "ok", "txn"),
        (1, "invoke", "txn"),
        (1, "info", "txn"),
    ]
    assert not reading.history.has_real_time


def test_a_completion_of_nothing_is_an_error():
    with pytest.raises(
        HistoryError, match="event 2: process 1 completes write with ok, but has nothing open"
    ):
        events(MAPS.replace("{:process :nemesis, :type :info, :f :start", "{:process 1 :type :ok :f :write"))


# What is refused, and where


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{:process 0, :type :invoke, :f :read", r"line 1, column 1 .*never closed: the text was cut off"),
        (MAPS[:60], r"line 2, column 1 .*cut off \(the event before it could be read"),
        (f"[{MAPS[:-3]}", r"line 3, column 1 .*cut off \(the 2 events before it could be read"),
        (f"[{MAPS}", r"never closed, after 3 events"),
        (MAPS + "\n[1 2]", r"line 4, column 1.*a list follows events"),
        (MAPS + "\n7", r"line 4, column 1.*events are maps, and this is none: '7'"),
        ("{:process 0, :f :read}", "line 1, column 1 .*the event has no type"),
        ("{:type :ok, :f :read}", "the event has no process"),
        ("{:process 0 :type :what}", "the event's type is 'what'; types are"),
        ("{:process 0 :type [:ok]}", r"the event's type is \['ok'\]; types are"),
        ("{:process [0] :type :ok}", r"the event's process is \[0\]"),
        ("{:process 0 :process 1 :type :ok}", "the event has its process twice"),
        ("{:process 0 :type :ok :value [1 2}}", r"column 34 .*'}' where '\]' has to come"),
        ("{:process 0 :type :ok :value {:a}}", "a map has a key without a value"),
        ("{:process 0 :type :ok :value {1 2 1.0 3}}", "a map has a key twice"),
        ('{:process 0 :type :ok :value "abc', "a text is never closed"),
        ("{:process 0 :type :ok :value 1.2.3}", "no number: '1.2.3"),
        ("{:process 0 :type :ok :value " + "[" * 100_000, "nested deeper than 200 levels"),
        ("#_ " * 100_000, "nested deeper than 200 levels"),
        ('{"process":0,"type":"ok","value":' + "[" * 100_000, "nested deeper than 200 levels"),
        ('[{"process":0,"type":"ok"} {"process":1,"type":"ok"}]', "a comma is missing"),
        ('[{"process":0,"type":"ok"},]', "a comma with nothing after it"),
        (
            '{"process":0,"type":"ok","value":[{"a":1,"b":2,"a":9}]}',
            "column 35 .*a map has the key 'a' twice",
        ),
        ('{"process":0,"type":"ok","value":01}', "no number: '01"),
        ('{"process":0,"type":"ok","value":nil}', "no value of JSON: 'nil"),
        ("r 1 2\nw 3\n", r"line 2, column 1.*a line is `r KEY VALUE`"),
        ("r(1,2,3,4)\nr(1,2,3)\n", r"line 2, column 1.*a line is `r\(KEY,VALUE,SESSION,TRANSACTION\)`"),
        ("ok 1 a 2\n", r"line 1, column 1.*a line is `invoke"),
        ("ok 1 a 2 3 w 2 3\n", "lists or registers, not both"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text, complaint):
    with pytest.raises(HistoryError, match=complaint):
        events(text)


def test_bytes_that_are_no_text_are_told_with_their_place():
    with pytest.raises(HistoryError, match=r"line 1, column 31 \(byte 30\): bytes that are no UTF-8"):
        events(b'{:process 0 :type :ok :value "\xff\xfe"}')


def test_the_last_of_the_lines_may_be_torn():
    """As in run folders: a crash in the middle of a write costs that line and no other."""
    whole = '{"process":0,"type":"invoke","f":"read"}\n{"process":0,"type":"ok","f":"read","value":1}\n'
    reading = read_text(whole[:-5].encode())
    assert len(reading.history) == 1
    assert "the last line (line 2, column 1" in (reading.history.torn or "")
    with pytest.raises(HistoryError, match="line 2, column 1 "):
        events(whole.replace("}", "", 1))
    for damaged in (whole.replace("1}\n", '1,"value":2}\n'), whole[:-3] + "\n"):
        with pytest.raises(HistoryError, match=r"the event before it could be read; cut the file there"):
            events(damaged)


def test_a_text_in_no_format_says_what_was_tried():
    with pytest.raises(HistoryError) as caught:
        read_text(b"time,process,f\n1,2,read\n", where="runs.csv")
    said = str(caught.value)
    assert said.startswith("runs.csv is in none of the formats that can be read:")
    assert all(f"\n  {one.name}: line 1, column 1" in said for one in FORMATS)


def test_binary_files_and_folders_are_told(tmp_path):
    with pytest.raises(HistoryError, match="is no text"):
        read_text(b"\x7fELF\x00\x01")
    with pytest.raises(HistoryError, match="is a folder"):
        read_history(tmp_path)
    with pytest.raises(HistoryError, match="cannot be read: No such file"):
        read_history(tmp_path / "nothing")


def test_a_format_can_be_named():
    with pytest.raises(HistoryError, match=r"column 1 .*a line is .r\(KEY.*--format isovista"):
        events("r 1 2\n", "isovista")
    with pytest.raises(HistoryError, match="'csv' is no format of histories; there are json, edn"):
        events("r 1 2\n", "csv")


def test_our_own_lines_are_read_as_they_were_written():
    from results.operation import Operation, encode_lines

    operations = [
        Operation(0, 5, 0, "invoke", "write", {"a": [1, None, True]}, intended=3, node="n1", phase="final"),
        Operation(1, 9, 0, "info", "write", error=["timeout", "later"]),
    ]
    assert read_text(encode_lines(operations)).history.operations == History(operations).operations
