"""Orders of appends that nobody observed: one that parallel snapshot isolation allows is found, or none is proved."""

import random
from collections import Counter

import pytest

from checkers.checker import Limits
from checkers.isolation.list_append import ListAppendChecker
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results.transaction_columns import TransactionsBuilder
from results.verdict import INVALID, UNKNOWN, VALID
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
