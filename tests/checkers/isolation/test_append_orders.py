"""Orders of appends that nobody observed: one that parallel snapshot isolation allows is found, or none is proved."""

import random
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from checkers.checker import Limits
from checkers.isolation.append_orders import Impossible, OpenOrders
from checkers.isolation.dependencies import RW, WW
from checkers.isolation.list_append import ListAppendChecker
from checkers.isolation.list_versions import list_versions
from checkers.isolation.unobserved import as_registers, in_order_of_ends
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results.transaction_columns import TransactionsBuilder, transactions_of
from results.verdict import INVALID, UNKNOWN, VALID
from tests.checkers.isolation.play import direct_dependencies, play, reachable
from tests.checkers.synthetic import axioms

LIMITS = Limits(time_s=600)
LEVEL = "parallel-snapshot-isolation"


def ran(*transactions):
    """Transactions of one session each, all at once."""
    builder = TransactionsBuilder(of_registers=False)
    for number, steps in enumerate(transactions):
        builder.invoke(
            number, number, [[f, key, value if f == "append" else None] for f, key, value in steps]
        )
    for number, steps in enumerate(transactions):
        builder.complete(number, len(transactions) + number, "ok", steps)
    return builder.done()


def judged(transactions, level=LEVEL, limits=LIMITS):
    return ListAppendChecker(level).check_transactions(transactions, limits)


def drawn(stream):
    """Up to four transactions over two keys, most of whose appends nobody reads."""
    fresh = Counter()
    shapes = []
    for _ in range(stream.randint(2, 4)):
        steps = []
        for _ in range(stream.randint(1, 3)):
            key = stream.choice("xxyz")
            if stream.random() < 0.6:
                fresh[key] += 1
                steps.append(["append", key, fresh[key]])
            else:
                steps.append(["r", key, None])
        shapes.append(steps)
    order = {key: stream.sample(range(1, fresh[key] + 1), fresh[key]) for key in "xyz"}
    shown = {key: stream.randint(0, min(1, fresh[key])) for key in "xyz"}
    for steps in shapes:
        own = {key: [] for key in "xyz"}
        seen = {key: order[key][: stream.randint(0, shown[key])] for key in "xyz"}
        for step in steps:
            if step[0] == "append":
                own[step[1]].append(step[2])
            else:
                step[2] = [one for one in seen[step[1]] if one not in own[step[1]]] + own[step[1]]
    return shapes


def test_trying_every_order_says_the_same():
    stream = random.Random(5)
    said = Counter()
    for _ in range(300):
        shapes = drawn(stream)
        transactions = ran(*shapes)
        verdict = judged(transactions)
        if "observed" in verdict.sentence and verdict.outcome == UNKNOWN:
            assert "nothing was observed" in verdict.sentence, (shapes, verdict.sentence)
            continue
        assert (verdict.outcome == VALID) == axioms.holds(transactions, LEVEL), (shapes, verdict.sentence)
        said[verdict.outcome] += 1
    assert min(said[VALID], said[INVALID]) > 50, said


def test_appends_that_nobody_observed_follow_one_another_as_their_transactions_were_over():
    steps = [
        [["append", "x", 1], ["append", "y", 1]],
        [["append", "y", 2], ["append", "y", 3]],
        [["append", "x", 2]],
        [["append", "x", 9]],
        [["append", "x", 3]],
        [["append", "x", 8]],
        [["append", "x", 7]],
        [["r", "x", [7]]],
    ]
    ended = {2: "ok", 1: "ok", 5: "fail", 4: "ok", 0: "ok", 7: "ok", 6: "ok"}  # Nobody knows of the fourth.
    for last, wanted in ((0, {(2, 4, WW), (4, 0, WW), (1, 0, WW)}), (1, None)):
        builder = TransactionsBuilder()
        for number, plan in enumerate(steps):
            builder.invoke(number, number, plan)
        for at, (number, outcome) in enumerate(ended.items()):
            if last == 0 or number in (1, 2):
                builder.complete(number, 10 + at, outcome, steps[number])
        versions = list_versions(builder.done())
        ordered = in_order_of_ends(versions)
        assert (ordered is None) == (wanted is None)
        if ordered is not None:
            found = direct_dependencies(replace(versions, dependencies=ordered))
            assert found - direct_dependencies(versions) == wanted


def test_lists_as_registers_hold_their_last_elements():
    """Who appends to what was observed later has seen what was there; a crashed one that was observed committed."""
    lists = transactions_of(play("ax1 ay1 | rx1 ax2 | ? ry ax3 | rx123 ry | ! ax9 | ? ay5"))
    registers = as_registers(list_versions(lists))
    assert [registers.spelt(number) for number in range(6)] == [
        [["r", "x", None], ["w", "x", 1], ["w", "y", 1]],
        [["r", "x", 1], ["r", "x", 1], ["w", "x", 2]],
        [["r", "x", 2], ["w", "x", 3]],
        [["r", "x", 3], ["r", "y", None]],
        [["w", "x", 9]],
        [["w", "y", 5]],
    ]
    assert registers.outcome.tolist() == [1, 1, 1, 1, 2, lists.outcome[5]]
    assert registers.start.tolist() == lists.start.tolist()
    assert registers.end.tolist() == lists.end.tolist()


def allowed_orders(versions, pairs):
    """How many ways there are to order the appends of all pairs, so that no cycle has one rw or none; and whether what
    is known without them makes one."""
    graph, owner = versions.dependencies, versions.owner.tolist()
    source = np.repeat(np.arange(graph.nodes), np.diff(graph.edge_first)).tolist()
    edges = list(zip(source, graph.target.tolist(), graph.kind.tolist(), strict=True))
    anti = [(a, b) for a, b, kind in edges if kind == RW]
    rest = [(a, b) for a, b, kind in edges if kind != RW]

    def fits(chosen):
        ways = reachable([*rest, *chosen], graph.nodes)
        return not ways.diagonal().any() and not any(a == b or ways[b, a] for a, b in anti)

    both = [((owner[one], owner[other]), (owner[other], owner[one])) for one, other in pairs]
    return sum(map(fits, product(*both))), fits([])


def crowded(stream):
    """Transactions that append to x, which nobody reads, and to y or z, of which others see a part."""
    count = stream.randint(3, 4)
    by = {key: stream.sample(range(count), 2) for key in "yz"}
    shapes = []
    for number in range(count):
        steps = [["append", "x", number + 1]] if stream.random() < 0.9 else []
        for key in "yz":
            if number in by[key]:
                steps.append(["append", key, by[key].index(number) + 1])
            elif stream.random() < 0.7:
                steps.append(["r", key, [1, 2][: stream.randint(0, 2)]])
        stream.shuffle(steps)
        shapes.append(steps)
    return shapes


def test_orders_are_found_exactly_where_there_are_some():
    stream = random.Random(7)
    said = Counter()
    for _ in range(800):
        transactions = ran(*crowded(stream))
        versions = list_versions(transactions)
        orders = OpenOrders(versions)
        if not 0 < len(orders.pairs) < 7:
            continue
        for one, other in orders.pairs:
            assert transactions.key[one] == transactions.key[other]
            assert versions.owner[one] != versions.owner[other]
        ways, fits = allowed_orders(versions, orders.pairs)
        decided = orders.decide(LIMITS.deadline())
        said[type(decided)] += 1
        assert (decided is None) == (not fits)
        if fits:
            assert (decided is True) == (ways > 0)
        if isinstance(decided, Impossible) and decided.cycles is not None:
            look_at_cycles(versions, decided)
    assert min(said[bool], said[Impossible]) > 20, said


def look_at_cycles(versions, decided):
    """Each begins with one order of the two, and leads back with one rw at most, by dependencies or other orders."""
    graph, owner = versions.dependencies, versions.owner
    known = set(
        zip(
            np.repeat(np.arange(graph.nodes), np.diff(graph.edge_first)).tolist(),
            graph.target.tolist(),
            graph.kind.tolist(),
            graph.via.tolist(),
            strict=True,
        )
    )
    first, second = int(owner[decided.first]), int(owner[decided.second])
    for cycle, ends in zip(decided.cycles, ((first, second), (second, first)), strict=True):
        assert cycle[0][:2] == ends
        assert [edge[1] for edge in cycle] == [edge[0] for edge in [*cycle[1:], cycle[0]]]
        assert sum(edge[2] == RW for edge in cycle) < 2
        others = [edge for edge in cycle if edge not in known]
        assert all(kind == WW and owner[via] == target for _, target, kind, via in others)


NEITHER = (
    # Whoever of b and d appended to x last came after the other, and one of them overlooked what that had done.
    [["append", "y", 1], ["append", "z", 1], ["r", "x", []]],
    [["append", "x", 1], ["r", "z", []]],
    [["r", "z", []], ["append", "z", 2], ["append", "x", 2]],
)


def test_two_appends_neither_of_which_can_have_come_first_are_told():
    verdict = judged(ran(*NEITHER))
    assert verdict.outcome == INVALID
    assert verdict.anomalies[0].type == "G-single-item"
    assert "nobody observed which came first" in verdict.anomalies[0].sentence
    assert verdict.anomalies[0].sentence.count("; if T") == 2


def test_levels_above_say_the_same_and_one_below_does_not_ask():
    for level in ("snapshot-isolation", "strong-snapshot-isolation", "consistent-view"):
        assert judged(ran(*NEITHER), level).outcome == INVALID, level
    verdict = judged(ran(*NEITHER), "read-committed")
    assert verdict.outcome == VALID
    assert verdict.details["anomaly_types"].keys() == {"G2-item", "write-skew"}, "no order was looked for"


def test_the_innocent_twin_read_one_more_element():
    twin = [list(steps) for steps in NEITHER]
    twin[2] = [["r", "z", [1]], ["append", "z", 2], ["append", "x", 2]]
    assert judged(ran(*twin)).outcome == VALID


def test_an_order_that_is_neither_that_of_the_ends_nor_of_snapshots_is_found():
    """Two readers saw a long fork, and who appended to x first was over last: it overlooked what the other did."""
    fork = (
        [["append", "p", 1]],
        [["append", "q", 1]],
        [["r", "p", [1]], ["r", "q", []]],
        [["r", "p", []], ["r", "q", [1]]],
    )
    last, first, seen = (
        [["append", "x", 1], ["append", "w", 1]],
        [["append", "x", 2], ["r", "w", []]],
        [["r", "w", [1]]],
    )
    assert judged(ran(*fork, last, first, seen)).outcome == VALID
    assert judged(ran(*fork, last, first, seen), "snapshot-isolation").outcome == INVALID
    assert judged(ran(*fork, *NEITHER)).outcome == INVALID


@pytest.mark.parametrize("level", ["consistent-view", LEVEL])
def test_a_store_that_keeps_the_level_is_decided(level):
    """Few reads, so that hundreds of appends are observed by nobody."""
    for seed in range(4):
        shape = Shape(300, 8, keys=8, writes_per_key=8, read_share=0.25)
        history = run_store(shape, LEVEL, seed).transactions
        assert judged(history, level).outcome == VALID, seed


def test_limits_are_kept_with_a_reason():
    history = run_store(Shape(300, 8, keys=8, writes_per_key=8, read_share=0.25), LEVEL, 1).transactions
    verdict = judged(history, limits=Limits(time_s=600, memory_mb=0))
    assert verdict.outcome in (VALID, UNKNOWN)
    if verdict.outcome == UNKNOWN:
        assert "memory" in verdict.sentence or "MB allowed" in verdict.sentence
