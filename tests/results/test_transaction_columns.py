"""Transactions as columns: what is laid out reads back as it was, and no two different values share a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import kernels, transaction_columns, transaction_kernel
from results.history import HistoryBuilder, HistoryError
from results.transaction_columns import TransactionsBuilder, transactions_of
from results.transactions import FOREVER, NIL


def test_a_history_becomes_columns_and_reads_back():
    """Three transactions: one ok, one that failed, one whose outcome nobody knows."""
    history = HistoryBuilder()
    history.invoke(0, "txn", [["r", "x", None], ["append", "x", 1]])
    history.invoke(1, "txn", [["append", "y", 2]])
    history.ok(0, [["r", "x", []], ["append", "x", 1]])
    history.fail(1)
    history.invoke(2, "txn", [["append", "x", 3], ["r", "x", None]])
    transactions = transactions_of(history.done())

    assert transactions.process.tolist() == [0, 1, 2]
    assert transactions.start.tolist() == [0, 1, 4]
    assert transactions.end.tolist() == [2, 3, FOREVER]
    assert transactions.outcome.tolist() == [1, 2, 3]
    assert transactions.known.tolist() == [True, True, True, True, False]
    assert [transactions.spelt(number) for number in range(3)] == [
        [["r", "x", []], ["append", "x", 1]],
        [["append", "y", 2]],
        [["append", "x", 3], ["r", "x", None]],
    ]
    assert transactions.events(2) == [4]


def test_processes_may_have_numbers_of_any_size():
    """As threads have in some tools. Small ones are a column of 32 bits."""
    history = HistoryBuilder()
    for process in (140_737_353_000_000, 1 << 64, -(1 << 31)):
        history.invoke(process, "txn", [["append", "x", process]])
        history.ok(process)
    assert transactions_of(history.done()).process.tolist() == [140_737_353_000_000, 1 << 64, -(1 << 31)]
    history = HistoryBuilder()
    history.invoke(7, "txn", [["append", "x", 1]])
    assert transactions_of(history.done()).process.dtype == "int32"


def test_registers_answer_one_value_even_if_it_is_a_list():
    history = HistoryBuilder()
    history.invoke(0, "txn", [["w", "x", [1, 2]], ["w", "y", None], ["r", "z", None], ["r", "x", None]])
    history.ok(0, [["w", "x", [1, 2]], ["w", "y", None], ["r", "z", None], ["r", "x", [1, 2]]])
    transactions = transactions_of(history.done())
    assert transactions.of_registers
    assert transactions.value.tolist() == [0, NIL, NIL, NIL]
    assert transactions.elements.tolist() == [0]
    assert transactions.spelt(0) == [
        ["w", "x", [1, 2]],
        ["w", "y", None],
        ["r", "z", None],
        ["r", "x", [1, 2]],
    ]


def test_scans_answer_pairs():
    builder = TransactionsBuilder()
    number = builder.invoke(0, 0, [["scan", ["a", "c"], None], ["w", "a", 1]])
    builder.complete(
        number, 1, "ok", [["scan", ["a", "c"], [["a", 0], ["b", 1]]], ["w", "a", 1]], committed_at=7
    )
    transactions = builder.done()
    assert transactions.spelt(0) == [["scan", ["a", "c"], [["a", 0], ["b", 1]]], ["w", "a", 1]]
    assert transactions.committed_at.tolist() == [7]


def test_reads_and_writes_of_one_register_can_be_taken_as_transactions():
    history = HistoryBuilder()
    history.invoke(0, "write", ["x", 1])
    history.ok(0)
    history.invoke(0, "read", ["x", None])
    history.ok(0, ["x", 1])
    assert len(transactions_of(history.done())) == 0
    transactions = transactions_of(history.done(), functions=("read", "write"))
    assert [transactions.spelt(number) for number in range(2)] == [[["w", "x", 1]], [["r", "x", 1]]]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (3, "3 is no list of micro-operations"),
        ([["r", "x"]], "is no micro-operation"),
        ([["increment", "x", 1]], "'increment' is no micro-operation"),
    ],
)
def test_what_is_no_transaction_is_refused_with_its_event(value, wrong):
    history = HistoryBuilder()
    history.invoke(0, "txn", value)
    with pytest.raises(HistoryError, match=f"event 0 holds no transaction: .*{wrong}"):
        transactions_of(history.done())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(-2, 2, allow_nan=False)
    | st.sampled_from(["", "1", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)


def same(left, right):
    """Whether two values are equal as JSON: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


@given(json_values, json_values)
def test_values_share_a_number_exactly_if_they_are_equal_as_json(left, right):
    builder = TransactionsBuilder(of_registers=True)
    builder.invoke(0, 0, [["append", 0, [left]], ["append", 0, [right]]])
    first, second = builder.done().value.tolist()
    assert (first == second) == same(left, right)


def test_a_value_that_is_no_number_equals_itself():
    builder = TransactionsBuilder()
    builder.invoke(0, 0, [["append", 0, float("nan")], ["append", 0, float("nan")], ["append", 0, "nan"]])
    assert builder.done().value.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("bounds", "answer", "why"),
    [
        (["a", "c"], [["a"]], "is no answer to a scan"),
        (["a", "c"], [[]], "is no answer to a scan"),
        (["a", "c"], ["a"], "is no answer to a scan"),
        (["a", "c"], [["a", 1, 2]], "is no answer to a scan"),
        (["a", "c"], [["a", None]], "is no answer to a scan"),
        (["a", "c"], {"a": 1}, "is no answer to a scan"),
        (["a"], [], "is no range of a scan"),
        (["a", 7], [], "is no range of a scan"),
        ("ac", [], "is no range of a scan"),
        (None, [], "is no range of a scan"),
    ],
)
def test_a_scan_of_another_shape_is_refused_and_never_laid_out(bounds, answer, why, monkeypatch):
    """The kernel trusts what was measured: a pair of one element would be read beyond its end."""
    builder = TransactionsBuilder()
    number = builder.invoke(0, 3, [["scan", bounds, None]])
    builder.complete(number, 4, "ok", [["scan", bounds, answer]])
    with pytest.raises(HistoryError, match=f"event 3 holds no transaction: .* {why}"):
        builder.done()
    monkeypatch.setattr(transaction_columns, "measure", kernels.load_interpreted(transaction_kernel).measure)
    with pytest.raises(HistoryError, match=why):
        builder.done()


def test_both_forms_of_the_kernel_say_the_same(monkeypatch):
    builder = TransactionsBuilder()
    for number in range(4):
        builder.invoke(number, number, [["append", number % 2, [number]], ["r", True, None]])
        builder.complete(number, 10 + number, "ok", [["append", number % 2, [number]], ["r", True, [1, [0]]]])
    one = builder.done()
    interpreted = kernels.load_interpreted(transaction_kernel)
    monkeypatch.setattr(transaction_columns, "lay_out", interpreted.lay_out)
    monkeypatch.setattr(transaction_columns, "measure", interpreted.measure)
    other = builder.done()
    for name in ("first", "kind", "key", "value", "known", "element_first", "elements"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert (one.keys, one.values) == (other.keys, other.values)
