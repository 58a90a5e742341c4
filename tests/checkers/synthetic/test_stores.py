"""Simulated stores keep the level they claim, do not by accident keep a stronger one, and are made by the seed."""

import dataclasses

import numpy as np
import pytest

from checkers.synthetic import schedule_kernel, store_kernel, stores
from checkers.synthetic.histories import history_of
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import RULES, run_store
from results import kernels
from results.transaction_columns import transactions_of
from results.transactions import FOREVER, Transactions
from tests.checkers.synthetic import axioms

KINDS = ("list-append", "rw-register")
TINY = Shape(5, clients=3, keys=2, writes_per_key=3, micro_operations=1.5, crash_share=0.1, abort_share=0.1)


def same(one: Transactions, other: Transactions) -> bool:
    for field in dataclasses.fields(Transactions):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray) and not (a.dtype == b.dtype and np.array_equal(a, b)):
            return False
    return list(one.keys) == list(other.keys) and list(one.values) == list(other.values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", RULES)
def test_small_histories_satisfy_what_they_claim(level, kind):
    """Every level claimed is found to hold by trying all orders of the axioms."""
    for seed in range(12):
        synthetic = run_store(dataclasses.replace(TINY, kind=kind), level, seed)
        claimed = [name for name in axioms.LEVELS if name in synthetic.satisfies]
        for name in claimed:
            assert axioms.holds(synthetic.transactions, name), f"{level}, seed {seed}: {name} does not hold"


@pytest.mark.parametrize(
    ("level", "broken"),
    [
        ("strong-session-serializable", "strict-serializable"),
        ("serializable", "strong-session-serializable"),
        ("snapshot-isolation", "strong-session-snapshot-isolation"),
        ("strong-snapshot-isolation", "serializable"),
        ("strong-session-snapshot-isolation", "strong-snapshot-isolation"),
        ("prefix", "snapshot-isolation"),
        ("causal", "parallel-snapshot-isolation"),
        ("causal", "prefix"),
        ("parallel-snapshot-isolation", "prefix"),
        ("read-committed", "read-atomic"),
        ("read-uncommitted", "read-atomic"),
    ],
)
def test_stores_are_not_better_than_they_claim(level, broken):
    """With enough seeds, each store shows that it does not keep the next stronger level."""
    shape = Shape(5, clients=4, keys=2, micro_operations=2)
    if broken == "prefix":  # A long fork takes more transactions and more sites.
        clients, sites, read_share = (4, 4, 0.65) if level == "causal" else (6, 3, 0.6)
        shape = Shape(6, clients, keys=2, micro_operations=2, read_share=read_share, sites=sites)
    assert any(not axioms.holds(run_store(shape, level, seed).transactions, broken) for seed in range(150))


def shortcomings(columns: Transactions) -> set[str]:
    """What reads of lists missed that they should have seen: the rest of a transaction of which they saw a part,
    or what the writer of something that they saw had seen."""
    steps = [range(columns.first[t], columns.first[t + 1]) for t in range(len(columns))]
    writer = {
        (columns.key[m], columns.value[m]): t
        for t in range(len(columns))
        for m in steps[t]
        if columns.kind[m]
    }
    position = {}
    for m in np.flatnonzero(columns.kind == 0):
        for place, value in enumerate(
            columns.elements[columns.element_first[m] : columns.element_first[m + 1]]
        ):
            position[columns.key[m], value] = place + 1
    length = np.diff(columns.element_first)
    found = set()
    for t in range(len(columns)):
        reads = {columns.key[m]: length[m] for m in steps[t] if columns.kind[m] == 0 and columns.known[m]}
        for m in steps[t]:
            if columns.kind[m] != 0 or not length[m]:
                continue
            seen = writer[columns.key[m], columns.elements[columns.element_first[m + 1] - 1]]
            for other in steps[seen]:
                key = columns.key[other]
                if key not in reads or seen == t:
                    continue
                if columns.kind[other] and reads[key] < position.get((key, columns.value[other]), 0):
                    found.add("fractured")
                if not columns.kind[other] and columns.known[other] and reads[key] < length[other]:
                    found.add("not causal")
    return found


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("read-committed", {"fractured", "not causal"}),
        ("read-atomic", {"not causal"}),
        ("causal", set()),
        ("parallel-snapshot-isolation", set()),
    ],
)
def test_what_sites_miss_is_what_their_level_allows(level, expected):
    assert shortcomings(run_store(Shape(3000), level, 1).transactions) == expected


@pytest.mark.parametrize("level", RULES)
def test_a_seed_makes_one_history_whether_kernels_are_compiled_or_not(level, monkeypatch):
    shape = Shape(300, clients=7, keys=4, crash_share=0.05, abort_share=0.05, distribution="zipf")
    one = run_store(shape, level, seed=5)
    assert same(one.transactions, run_store(shape, level, seed=5).transactions)
    assert not same(one.transactions, run_store(shape, level, seed=6).transactions)
    monkeypatch.setattr(stores, "store_kernel", kernels.load_interpreted(store_kernel))
    monkeypatch.setattr(stores, "schedule_kernel", kernels.load_interpreted(schedule_kernel))
    other = run_store(shape, level, seed=5)
    assert same(one.transactions, other.transactions)
    assert np.array_equal(one.completed, other.completed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_are_those_of_the_history(kind):
    """Making a history of the columns and columns of the history gives the same transactions."""
    synthetic = run_store(Shape(200, kind=kind, crash_share=0.1, abort_share=0.1), "snapshot-isolation", 2)
    history = history_of(synthetic)
    assert len(history) == synthetic.events
    again = transactions_of(history, of_registers=kind == "rw-register")
    direct = synthetic.transactions
    assert np.array_equal(again.start, direct.start)
    assert np.array_equal(again.end, direct.end)
    assert np.array_equal(again.outcome, direct.outcome)
    assert [again.spelt(t) for t in range(len(again))] == [direct.spelt(t) for t in range(len(direct))]


def test_clients_overlap_and_crash_in_every_way():
    """Many transactions are open at once; crashed ones are seen in the history with and without info, some of them
    take effect, and their process is never heard of again."""
    synthetic = run_store(Shape(2000, clients=50, crash_share=0.1, abort_share=0.1), seed=1)
    transactions = synthetic.transactions
    invoked_before = np.searchsorted(transactions.start, synthetic.completed[synthetic.completed >= 0])
    assert (np.diff(np.sort(synthetic.completed[synthetic.completed >= 0])) >= 1).all()
    open_at_most = max(int(invoked_before.max()), 0)
    assert open_at_most > 40
    crashed = transactions.outcome == 3
    assert (transactions.end[crashed] == FOREVER).all()
    assert (synthetic.completed[crashed] >= 0).any()
    assert (synthetic.completed[crashed] < 0).any()
    assert (transactions.outcome == 2).any()
    last = {int(p): t for t, p in enumerate(transactions.process)}
    assert all(last[int(transactions.process[t])] == t for t in np.flatnonzero(crashed))
    # Some of what crashed transactions wrote was read, and some was not.
    key_and_value = transactions.key.astype(np.int64) * 1000 + transactions.value
    owner = np.repeat(np.arange(len(transactions)), np.diff(transactions.first))
    reads = np.repeat(np.arange(len(transactions.kind)), np.diff(transactions.element_first))
    seen = set((transactions.key[reads].astype(np.int64) * 1000 + transactions.elements).tolist())
    written = key_and_value[crashed[owner] & (transactions.kind != 0)].tolist()
    assert 0 < sum(value in seen for value in written) < len(written)


def test_a_shape_is_kept():
    """Writes per key, sizes, shares and the choice of keys are as asked for."""
    columns = run_store(Shape(5000, keys=10, writes_per_key=32, read_share=0.3), seed=1).transactions
    writes = columns.key[columns.kind != 0]
    assert np.bincount(writes).max() == 32
    assert abs(columns.micro_operations / len(columns) - 2.5) < 0.1
    assert abs((columns.kind == 0).mean() - 0.3) < 0.02
    zipf = run_store(Shape(5000, writes_per_key=0, distribution="zipf"), seed=1).transactions
    uses = np.bincount(zipf.key)
    assert len(uses) == 10
    assert uses[0] > 5 * uses[9]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clients": 0}, "clients=0"),
        ({"read_share": 1.5}, "read_share=1.5"),
        ({"crash_share": 0.7, "abort_share": 0.7}, "add up to"),
        ({"micro_operations": 0.5}, "micro_operations=0.5"),
        ({"stale": -1}, "at least 0"),
    ],
)
def test_an_impossible_shape_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Shape(**wrong)


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="'eventual' is no level"):
        run_store(Shape(), "eventual")
