"""Transactions straight from the bytes are those of the history that the same bytes make, or this way is not taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import kernels
from results.history import HistoryError
from results.interchange import columns_kernel, straight
from results.interchange.formats import read_text
from results.interchange.straight import read_transactions
from results.operation import Operation, encode_lines
from results.transaction_columns import transactions_of

INTERPRETED = kernels.load_interpreted(columns_kernel)


def told(transactions) -> list:
    """Everything that the columns say, in words; numbers of keys and values may differ."""
    return [
        (
            int(transactions.process[t]),
            int(transactions.start[t]),
            int(transactions.end[t]),
            int(transactions.outcome[t]),
            repr(transactions.spelt(t)),
            transactions.known[transactions.first[t] : transactions.first[t + 1]].tolist(),
        )
        for t in range(len(transactions))
    ]


def same(text: bytes, format_: str, of_registers: bool) -> bool:
    """Whether the straight way was taken; both ways must then say the same."""
    reading = read_transactions(text, format_, of_registers=of_registers)
    if reading is None:
        return False
    history = read_text(text, format_).history
    expected = transactions_of(history, of_registers=of_registers)
    assert told(reading.transactions) == told(expected)
    assert (reading.events, reading.transactions.of_registers) == (len(history), of_registers)
    return True


LISTS = """{:index 0 :process 0 :type :invoke :f :txn :value [[:append 1 1] [:r :x nil] [:r "a b" nil]]}
{:index 1 :process 1 :type :invoke :f :txn :value [[:append 1 -2] [:append 12345678901234567890 1.5]]}
{:index 2 :process 0 :type :ok :f :txn :value [[:append 1 1], [:r :x []], [:r "a b" [1 2 "\\n" nil]]]}
{:index 3 :process :nemesis :type :info :f :start :value "anything"}
{:index 4 :process 1 :type :info :f :txn :value [[:append 1 -2] [:append 12345678901234567890 1.5]]}
{:index 5 :process 1 :type :invoke :value [[:r {:a [1]} nil]]}
{:index 6 :process 2 :type :invoke :value []}
{:index 7 :process 2 :type :fail :value []}
{:index 8 :process 1 :type :ok :value [[:r {:a [1]} [1.0 1 true]]]}
"""


def test_lists_of_all_kinds_of_values():
    assert same(LISTS.encode(), "edn", of_registers=False)
    assert same(f"[{LISTS}]".encode(), "edn", of_registers=False)


def test_registers():
    text = b"""{"process":0,"type":"invoke","value":[["w","x",1],["r","y",null]]}
{"process":0,"type":"ok","value":[["w","x",1] , ["r","y",[1,2]]]}
{"process":0,"type":"invoke","value":[["w","x",null],["r","y",null]]}
{"process":0,"type":"ok","value":[["w","x",null],["r","y",null]]}
{"process":0,"type":"invoke","value":[["r","y",null]]}
{"process":0,"type":"ok"}
"""
    assert same(text, "json", of_registers=True)


@pytest.mark.parametrize(
    "text",
    [
        LISTS.replace(":index 5", ":index 50"),
        LISTS.replace(":value []}\n{:index 8", ":value 7}\n{:index 8").replace(
            "2 :type :fail", "2 :type :ok"
        ),
        LISTS.replace(":f :txn", ":f :read", 1),
        LISTS.replace(":process 2 :type :invoke", ":process 2 :type :ok"),
        LISTS.replace(":process 2 :type :invoke", ":process 0 :type :info"),
        LISTS.replace("[:append 1 1]", "[:scan 1 1]"),
        LISTS.replace("[:append 1 1]", "[:append 1]"),
        LISTS + "{:process 3 :type :invoke :value [[:r 1 nil]] ",
        "",
        "; nothing",
    ],
)
def test_whatever_is_different_takes_the_other_way(text):
    assert read_transactions(text.encode(), "edn", of_registers=False) is None


@pytest.mark.parametrize(
    "value",
    [
        '[["r",1,[1,,2]]]',
        '[["r",1,[,1]]]',
        '[["r",1,[1,]]]',
        '[["r",1,[1 2]]]',
        '[["append",,1,2]]',
        '[["append",1,,2]]',
        '[["append",1,2,]]',
        '[["append",1,2],]',
    ],
)
def test_json_with_a_comma_too_many_or_too_few_takes_the_other_way(value):
    """In EDN a comma is a blank; in JSON such a text is damaged, and the other way says where."""
    asked = b'"append",1,2' if "append" in value else b'"r",1,null'
    invoked = b'{"index":0,"time":0,"process":0,"type":"invoke","f":"txn","value":[[' + asked + b"]]}\n"
    answered = f'{{"index":1,"time":1,"process":0,"type":"ok","f":"txn","value":{value}}}\n'.encode()
    assert not straight.read_transactions(invoked + answered, "json", of_registers=False)
    with pytest.raises(HistoryError):
        read_text(invoked + answered, "json")
    right = value.replace(",,", ",").replace("[,", "[").replace(",]", "]").replace("1 2", "1,2")
    assert same(invoked + answered.replace(value.encode(), right.encode()), "json", of_registers=False)


@pytest.mark.parametrize(
    "elements",
    [
        "1,2,3",
        "1,-2,3",
        "7, 8,9",
        "7 ,8,9",
        '1,2,"a",3',
        "1,null,2",
        "1,16385,1,32769,16385",  # Numbers that share a place in the cache.
        "123456789012345678,1",
        "1,12345678901234567890123,2",
        "1,2.5,3",
        "0,10,0",
    ],
)
def test_elements_of_a_list_are_what_they_are_wherever_they_stand(elements):
    invoked = '{"index":0,"time":0,"process":0,"type":"invoke","f":"txn","value":[["r",1,null]]}\n'
    answered = '{"index":1,"time":1,"process":0,"type":"ok","f":"txn","value":[["r",1,[ELEMENTS]]]}\n'
    answered = answered.replace("ELEMENTS", elements)
    assert same((invoked + answered).encode(), "json", of_registers=False)
    edn = elements.replace(",", " ").replace("null", "nil")
    answered = "{:process 0 :type :ok :f :txn :value [[:r 1 [" + edn + "]]]}"
    invoked = "{:process 0 :type :invoke :f :txn :value [[:r 1 nil]]}"
    assert same(f"{invoked}\n{answered}".encode(), "edn", of_registers=False)


def test_a_read_of_thousands_of_elements():
    elements = ",".join(map(str, range(5000)))
    text = '{"process":0,"type":"invoke","value":[["r",1,null]]}\n{"process":0,"type":"ok","value":[["r",1,[%s]]]}'
    assert same((text % elements).encode(), "json", of_registers=False)
    assert not read_transactions((text % f"{elements},01").encode(), "json", of_registers=False)
    assert not read_transactions((text % f"01,{elements}").encode(), "json", of_registers=False)


def test_damage_in_a_value_is_not_passed_over():
    for damage in (
        '["r",1 null]',
        '["r",1,null',
        '["r",01,null]',
        '["r",1,nil]',
        '["append",1,null]x',
        '["r",1,[1 2]]',
        '["r",1,[1,:a]]',
        '["r",:a,null]',
        '["append",1,:a]',
    ):
        text = (
            '{"process":0,"type":"invoke","value":[["r",1,null]]}\n{"process":0,"type":"ok","value":[%s]}\n'
        )
        text = (text + '{"process":1,"type":"invoke","value":[]}') % damage
        assert read_transactions(text.encode(), "json", of_registers=False) is None, damage
        with pytest.raises(HistoryError):
            read_text(text.encode(), "json")


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        '[["r","x",[]]]',
        '[["append",1,3],["r","x",[]]]',
        '[["append",2,2],["r","x",[]]]',
        '[["r",1,[]],["r","x",[]]]',
        '[["append",1,2],["r","y",[]]]',
        '[["append",1,2],["r","x",[]],["r","x",[]]]',
    ],
)
def test_an_answer_about_something_else_than_was_asked_is_refused_with_both(answer):
    """An append that was acknowledged without being in the answer would be forgotten, and whoever lost it excused."""
    asked = '{"process":0,"type":"invoke","f":"txn","value":[["append",1,2],["r","x",null]]}\n'
    right = asked.replace("invoke", "ok").replace("null", "[7]")
    assert same((asked + right).encode(), "json", of_registers=False)
    text = (asked + '{"process":0,"type":"ok","f":"txn","value":' + answer + "}\n").encode()
    assert read_transactions(text, "json", of_registers=False) is None
    with pytest.raises(HistoryError, match=r"event 1 holds no transaction: .* which event 0 asked"):
        transactions_of(read_text(text, "json").history)


LINES = """invoke 7 a 9 1 r 8 - r x -
invoke 5 r 9 -

ok 7 a 9 1 r 8 - r x a-b,-3,2
fail 5 r 9 -
invoke 5 r 9 - a y z
info 5 r 9 1 a y z
invoke 5 r 9 -
ok 5 r 9 1,2
invoke 6
ok 6
"""
SESSIONS = "w 0 1\nw k -2\n-----\nr 0 1\nr 1 -\n=====\n-----\nr k a\n====\nw 0 nil\n"


def test_texts_of_lines():
    assert same(LINES.encode(), "micro-operations", of_registers=False)
    assert same(
        b"invoke 0 w x 1 r x -\nok 0 w x 1 r x 1\ninvoke 0 r x -\nok 0 r x -", "micro-operations", True
    )
    assert same(SESSIONS.encode(), "sessions", of_registers=True)
    assert same(SESSIONS.replace("\n", "\r\n").encode(), "sessions", of_registers=True)


WORDS = st.sampled_from(
    ["0", "1", "-1", "a", "-", "--", "1-2", "nil", "b.c", "12345678901234567890", "ä", "1,2", "01"]
)


@given(
    st.lists(
        st.sampled_from(["-----", "=====", "", "r 0 1", "w 0 1", "w", "r 1 2 3"])
        | st.tuples(st.sampled_from(["r", "w"]), WORDS, WORDS).map(" ".join),
        max_size=8,
    )
)
def test_sessions_are_read_alike(lines):
    text = "\n".join(lines).encode()
    try:
        read_text(text, "sessions")
    except HistoryError:
        assert read_transactions(text, "sessions", of_registers=True) is None
        return
    same(text, "sessions", of_registers=True)


@given(
    st.lists(st.tuples(st.sampled_from(["r", "w", "a"]), WORDS, WORDS).map(" ".join), max_size=3),
    st.sampled_from(["ok", "fail", "info", "OK"]),
    st.booleans(),
)
def test_micro_operations_are_read_alike(steps, end, of_registers):
    steps = " ".join(steps)
    text = f"invoke 3 {steps}\n{end} 3 {steps}\n".encode()
    try:
        read_text(text, "micro-operations")
    except HistoryError:
        assert read_transactions(text, "micro-operations", of_registers=of_registers) is None
        return
    if of_registers or "w " not in steps:
        same(text, "micro-operations", of_registers)


VALUES = st.integers(-3, 3) | st.sampled_from(
    ["a", "b c", "", "ä", 1.5, True, None, [1], 1 << 70, -(1 << 62), {"a": 1}]
)
MICRO = st.one_of(
    st.tuples(st.just("append"), VALUES, VALUES),
    st.tuples(st.just("w"), VALUES, VALUES),
    st.tuples(st.just("r"), VALUES, st.none() | VALUES | st.lists(VALUES, max_size=3)),
)
TRANSACTIONS = st.lists(MICRO.map(list), max_size=3)


@st.composite
def histories(draw) -> list[Operation]:
    """Events of three processes that keep the rules, mostly of transactions."""
    events: list[Operation] = []
    open_: dict[int, bool] = {}
    for _ in range(draw(st.integers(1, 12))):
        process = draw(st.integers(0, 2))
        if open_.pop(process, False):
            type_ = draw(st.sampled_from(["ok", "ok", "fail", "info"]))
            value = draw(st.none() | TRANSACTIONS)
        else:
            open_[process], type_ = True, "invoke"
            value = draw(TRANSACTIONS)
        events.append(Operation(len(events), 7 * len(events), process, type_, "txn", value))
    return events


@given(histories(), st.booleans())
def test_both_ways_say_the_same_of_any_transactions(events, of_registers):
    text = encode_lines(events)
    taken = same(text, "json", of_registers)
    kept = straight.TransactionColumns
    try:
        straight.TransactionColumns = INTERPRETED.TransactionColumns
        assert same(text, "json", of_registers) == taken
    finally:
        straight.TransactionColumns = kept


class WithoutOwnLines(columns_kernel.TransactionColumns):
    """Columns that leave every event to the reader that expects anything."""

    def own_lines(self, data: bytes, at: int) -> int:
        return at


OWN = [
    b'{"index":0,"time":0,"process":0,"type":"invoke","f":"txn","value":[["w",1,10],["r",2,null]]}\n',
    b'{"index":1,"time":1000,"process":1,"type":"invoke","f":"txn","value":[["r","x",null]]}\n',
    b'{"index":2,"time":2000,"process":0,"type":"ok","f":"txn","value":[["w",1,10],["r",2,11]]}\n',
    b'{"index":3,"time":3000,"process":1,"type":"fail","f":"txn","value":null}\n',
]
CHANGES = {
    "nothing": (b"", b""),
    "blanks": (b'"index":2,', b'"index": 2 ,'),
    "another order": (b'"index":2,"time":2000', b'"time":2000,"index":2'),
    "a field more": (b"11]]}", b'11]],"error":"slow"}'),
    "a field twice": (b"11]]}", b'11]],"time":5}'),
    "no time": (b'"time":2000,', b""),
    "an index that goes back": (b'"index":2', b'"index":0'),
    "an index with a zero before it": (b'"index":2', b'"index":02'),
    "a sign": (b'"process":0,"type":"ok"', b'"process":-0,"type":"ok"'),
    "an observer": (b'"process":0,"type":"ok"', b'"process":"nemesis","type":"ok"'),
    "a client that waits for nothing": (b'"process":0,"type":"ok"', b'"process":7,"type":"ok"'),
    "another type": (b'"ok"', b'"okay"'),
    "another function": (b'"type":"ok","f":"txn"', b'"type":"ok","f":"read"'),
    "a value of another kind": (b'["r",2,11]', b'["r",2,{"a":1}]'),
    "a value that is cut off": (b'["r",2,11]]}\n', b'["r",2,11]]\n'),
    "no end of the line": (b'["r",2,11]]}\n', b'["r",2,11]]}'),
    "an empty line": (b'["r",2,11]]}\n', b'["r",2,11]]}\n\n'),
    "nothing after a comma": (b'["r",2,11]]}', b'["r",2,11],]}'),
    "a null that goes on": (b'"value":null}', b'"value":nullable}'),
    "a file that is cut off": (b'"value":null}\n', b'"value":nu'),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("in_list", [False, True])
def test_our_own_lines_are_read_as_any_others(change, in_list, monkeypatch):
    """What is different in one of them is left to the reader of any JSON, and the next ones are taken again."""
    text = (b"[" + b",".join(OWN) + b"]" if in_list else b"".join(OWN)).replace(*change)
    quick = read_transactions(text, "json", of_registers=True)
    monkeypatch.setattr(straight, "TransactionColumns", WithoutOwnLines)
    plain = read_transactions(text, "json", of_registers=True)
    assert (quick is None) == (plain is None)
    if quick is not None and plain is not None:
        assert told(quick.transactions) == told(plain.transactions)
        assert (quick.events, quick.notes) == (plain.events, plain.notes)


def test_a_file_of_another_hand_is_not_looked_at_forever(monkeypatch):
    """After fifty events that others wrote, lines of our own are read like theirs."""
    looks = []

    class Counted(WithoutOwnLines):
        def own_lines(self, data: bytes, at: int) -> int:
            looks.append(at)
            return at

    monkeypatch.setattr(straight, "TransactionColumns", Counted)
    line = b'{"process": %d, "type": "invoke", "value": []}\n{"process": %d, "type": "ok", "value": []}\n'
    text = b"".join(line % (process, process) for process in range(100))
    assert read_transactions(text, "json", of_registers=True) is not None
    assert len(looks) == 50


def test_commit_timestamps_are_left_to_the_way_over_a_history():
    """The columns have no place for them, and without them the order of versions would be lost."""
    lines = [
        b'{"index":0,"time":0,"process":0,"type":"invoke","f":"txn","value":[["w","x",1]]}',
        b'{"index":1,"time":1,"process":0,"type":"ok","f":"txn","value":[["w","x",1]]}',
    ]
    assert read_transactions(b"\n".join(lines), "json", of_registers=True) is not None
    lines[1] = lines[1].replace(b"}", b',"committed_at":7}')
    assert read_transactions(b"\n".join(lines), "json", of_registers=True) is None
