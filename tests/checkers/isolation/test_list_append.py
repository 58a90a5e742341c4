"""List-append: each anomaly at its smallest beside an innocent twin, and agreement with brute force."""

import itertools
import re
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.isolation import (
    append_kernel,
    components_kernel,
    cycles,
    cycles_kernel,
    decide,
    dependencies,
    dependencies_kernel,
    grouping,
    grouping_kernel,
    list_append,
    list_versions,
)
from checkers.isolation.arrays import Arrays
from checkers.isolation.lattice import implied_anomalies
from checkers.isolation.list_append import ListAppendChecker
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results import kernels
from results.history import HistoryBuilder
from results.interchange import jepsen
from results.transaction_columns import TransactionsBuilder, transactions_of
from results.verdict import UNKNOWN, VALID
from tests.checkers.isolation.play import (
    direct_dependencies,
    is_serializable,
    is_snapshot_isolated,
    play,
    reachable,
    sees_consistently,
)
from tests.checkers.linearizability.recorded import recorded


def judged(text_or_history, isolation="strict-serializable"):
    history = play(text_or_history) if isinstance(text_or_history, str) else text_or_history
    return ListAppendChecker(isolation).check(history, Limits())


SMALLEST = {
    "G0": (
        # Two transactions whose appends to x and y are in opposite orders.
        "ax1 ay1 | ax2 ay2 \n rx12 ry21",
        "ax1 ay1 | ax2 ay2 \n rx12 ry12",
    ),
    "G1a": ("! ax1 | rx1", "? ax1 | rx1"),
    "G1b": ("ax1 ax2 | rx1 \n rx12", "ax1 ax2 | rx12"),
    "G1c": ("ax1 ry2 | ay2 rx1", "ax1 ry2 | ay2 rx"),
    "G-single-item": ("ax1 ay1 | rx1 ry", "ax1 ay1 | rx1 ry1"),
    "G-nonadjacent-item": (
        # A long fork: two readers that see two independent appends in opposite orders.
        "ax1 | ay1 | rx1 ry | rx ry1",
        "ax1 | ay1 | rx1 ry | rx1 ry1",
    ),
    "G2-item": ("rx ay1 | ry ax1", "rx ay1 | ry1 ax1"),
    "G0-process": (
        # Process 0 appends to x and later to y; a third transaction comes before the one and after the other.
        "0: ax1 | 1: ax2 ay2 \n 0: ay1 \n rx21 ry12",
        "0: ax1 | 1: ax2 ay2 \n 0: ay1 \n rx12 ry21",
    ),
    "G1c-process": ("0: rx1 \n 0: ax1", "0: rx \n 0: ax1 \n rx1"),
    "G-single-item-process": ("0: ax1 \n 0: rx", "0: ax1 \n 0: rx1"),
    "G-single-item-realtime": ("0: ax1 \n 1: rx", "0: ax1 | 1: rx"),
    "G0-realtime": ("0: ax1 \n 1: ax2 \n rx21", "0: ax1 | 1: ax2 \n rx21"),
    "G1c-realtime": ("0: rx1 \n 1: ax1", "0: rx1 | 1: ax1"),
    "G2-item-process": ("0: ax1 | 1: rx ay1 \n 0: ry", "0: ax1 | 1: rx ay1 \n 0: ry1"),
    "internal": ("ax1 rx", "ax1 rx1"),
    "incompatible-order": ("ax1 | ax2 | rx1 | rx2", "ax1 | ax2 | rx1 | rx12"),
    "duplicate-elements": ("ax1 | rx11", "ax1 | rx1"),
    "garbage-read": ("ax1 | rx12", "ax1 | ax2 | rx12"),
    "future-read": ("rx1 ax1", "rx ax1"),
    "dirty-update": ("! ax1 | ax2 | rx12", "? ax1 | ax2 | rx12"),
    "lost-update": ("ax1 | rx1 ax2 | rx1 ax3", "ax1 | rx1 ax2 | rx12 ax3"),
    "write-skew": ("rx ry ax1 | rx ry ay1", "rx ry ax1 | rx1 ry ay1"),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_each_anomaly_at_its_smallest_and_its_innocent_twin(name):
    guilty, innocent = SMALLEST[name]
    verdict = judged(guilty)
    assert verdict.outcome == "invalid"
    assert name in verdict.details["anomaly_types"], verdict.details
    assert verdict.details["not"], "an anomaly rules out something"
    assert all(anomaly.sentence.startswith(anomaly.type) for anomaly in verdict.anomalies)
    twin = judged(innocent)
    assert twin.outcome == "valid", twin.sentence


def test_the_sentence_says_who_did_not_see_what():
    verdict = judged("0: rx ay1 | 1: ry ax1")
    (anomaly,) = verdict.anomalies
    assert anomaly.sentence == (
        'G2-item (write skew): T1 did not observe T2\'s append of 1 to key "x", so T1 came before T2; but T2 did not '
        'observe T1\'s append of 1 to key "y", so T2 came before T1: a contradiction. Here T1 = r "x" [], append '
        '"y" 1 (process 0, events 0–2); T2 = r "y" [], append "x" 1 (process 1, events 1–3)'
    )
    assert anomaly.operations == [0, 1, 2, 3]
    assert [edge["kind"] for edge in anomaly.evidence["cycle"]] == ["rw", "rw"]
    assert [(edge["key"], edge["value"]) for edge in anomaly.evidence["cycle"]] == [("x", 1), ("y", 1)]
    assert anomaly.evidence["transactions"][0]["micro_operations"] == [["r", "x", []], ["append", "y", 1]]


@pytest.mark.parametrize(
    "huge", [10**400, [[[list(range(9))] * 9] * 9] * 9, "m" * 10**6, {"of": "m" * 10**6}]
)
def test_a_sentence_bears_values_of_any_size(huge):
    history = HistoryBuilder()
    for value in ([1, huge], [huge, 1]):
        history.invoke(0, "txn", [["append", "x", value[0]]])
        history.ok(0)
        history.invoke(0, "txn", [["r", "x", None]])
        history.ok(0, [["r", "x", value]])
    verdict = judged(history.done())
    assert "incompatible-order" in verdict.details["anomaly_types"]
    assert len(verdict.sentence) < 2500
    assert "…" in verdict.sentence


@pytest.mark.parametrize("seen", ["rx21", "rx2"])
def test_what_a_transaction_appended_first_is_seen_first(seen):
    verdict = judged(f"ax1 ax2 | {seen}", "read-committed")
    assert verdict.details["anomaly_types"]["incompatible-order"] == 1
    (told,) = (one for one in verdict.anomalies if one.type == "incompatible-order")
    assert 'T1 appended 1 to key "x" before 2, and T2 observed the second' in told.sentence


def test_real_time_and_sessions_are_told_as_reasons():
    (anomaly,) = judged("0: ax1 \n 1: rx").anomalies
    assert "T2 was over (event 1) before T1 began (event 2)" in anomaly.sentence
    anomaly = judged("0: ax1 \n 0: rx").anomalies[-1]
    assert "process 0 ran T2 before T1" in anomaly.sentence


@pytest.mark.parametrize(
    ("text", "isolation", "outcome"),
    [
        ("rx ay1 | ry ax1", "snapshot-isolation", "valid"),
        ("rx ay1 | ry ax1", "repeatable-read", "invalid"),
        ("ax1 | ay1 | rx1 ry | rx ry1", "consistent-view", "valid"),
        ("ax1 | ay1 | rx1 ry | rx ry1", "cursor-stability", "unknown"),
        ("ax1 | ay1 | rx1 ry | rx ry1", "snapshot-isolation", "invalid"),
        ("0: ax1 \n 1: rx", "serializable", "valid"),
        ("0: ax1 \n 1: rx", "strong-snapshot-isolation", "invalid"),
        ("ax1 ay1 | rx1 ry", "read-atomic", "invalid"),
        ("ax1 | ay1 | rx1 ry | rx ry1", "causal", "valid"),
        # T3 saw T2's append to y, which came after T2 saw T1's append to x, but not that: causality, no fracture.
        ("ax1 | rx1 ay2 | ry2 rx", "read-atomic", "valid"),
        ("ax1 | rx1 ay2 | ry2 rx", "causal", "invalid"),
        ("0: ax1 \n 0: rx", "causal", "invalid"),
        ("ax1 ry2 | ay2 rx1", "read-uncommitted", "valid"),
        ("ax1 ry2 | ay2 rx1", "read-committed", "invalid"),
        ("ax1 rx", "read-committed", "valid"),
        ("ax1 rx", "read-atomic", "invalid"),
    ],
)
def test_what_a_level_allows_is_told_but_does_not_make_it_invalid(text, isolation, outcome):
    verdict = judged(text, isolation)
    assert verdict.outcome == outcome
    if outcome != "invalid":
        assert verdict.details["allowed"]
        assert not verdict.anomalies


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("! ax1 | ? ay1", "none of 2 transactions is known to have committed"),
        ("ax1 | ay1", "nothing was observed"),
        ("ax1 | ax1 | rx1", "appends are not unique"),
    ],
)
def test_a_history_that_shows_nothing_is_unknown(text, reason):
    verdict = judged(text)
    assert verdict.outcome == "unknown"
    assert reason in verdict.sentence


def test_registers_are_refused():
    builder = TransactionsBuilder(of_registers=True)
    builder.invoke(0, 0, [["r", "x", None], ["w", "x", 1]])
    builder.complete(0, 1, "ok", [["r", "x", None], ["w", "x", 1]])
    verdict = ListAppendChecker().check_transactions(builder.done(), Limits())
    assert verdict.outcome == UNKNOWN
    assert "this is no history of list-append: it holds ['w', 'x', 1]" in verdict.sentence


@pytest.mark.parametrize("reads", ["rx11", "rx1 | rx1", "rx", "rx21"])
def test_nothing_is_said_of_a_list_to_which_one_value_was_appended_twice(reads):
    verdict = judged(f"ax1 | ax1 | ax2 \n {reads}", "read-committed")
    assert verdict.outcome == UNKNOWN
    assert not verdict.anomalies


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("ax1 | ax2 \n rx1 rx2", True),
        ("ax1 | ax2 \n rx1 rx12", True),
        ("ax1 | ax2 \n rx1 ax3 rx23", True),
        ("ax1 | ax2 \n rx1 ax3 rx123", True),
        ("ax1 \n rx1 ax3 rx13", False),
        ("ax1 \n ax3 rx13 ax4 rx134", False),
        ("ax1 \n ax3 rx13 ax4 rx14", True),
    ],
)
def test_what_a_transaction_reads_again_is_the_same_and_its_own(text, is_wrong):
    assert ("internal" in judged(text, "read-atomic").details["anomaly_types"]) == is_wrong


def test_each_of_two_reads_of_a_list_in_one_transaction_depends_on_what_it_saw():
    """The first of T2's saw nothing, the second what T1 appended, who saw what T2 did."""
    verdict = judged("ax1 ry5 | rx rx1 ay5", "read-committed")
    assert verdict.outcome == "invalid"
    assert "G1c" in verdict.details["anomaly_types"]
    assert "G1c" not in judged("ax1 ry | rx rx1 ay5", "read-committed").details["anomaly_types"]


def test_all_that_is_wrong_is_counted_and_a_part_of_it_told():
    number = 3 * list_append.FINDINGS_TOLD
    verdict = judged("! ax1 \n " + " \n ".join(["rx1"] * number), "read-committed")
    assert verdict.details["anomaly_types"] == {"G1a": number}
    assert len(verdict.anomalies) == list_append.FINDINGS_TOLD


@pytest.mark.parametrize("level", ["serializable", "snapshot-isolation", "causal", "read-uncommitted"])
def test_a_component_that_there_was_no_time_for_may_hold_any_cycle(level):
    for text in ("ax1 ay1 | ax2 ay2 \n rx12 ry21", "rx ay1 | ry ax1"):
        verdict = ListAppendChecker(level).check(play(text), Limits(time_s=0))
        assert verdict.outcome == UNKNOWN
        assert "1 component could not be searched to the end: 2 transactions (any cycle)" in verdict.sentence
        assert verdict.details["undecided"] == [{"component": 0, "transactions": 2, "cycles": None}]


@pytest.mark.parametrize(
    ("kind", "seen", "level", "outcome"),
    [
        ("G2-item", None, "serializable", UNKNOWN),
        ("G2-item", None, "snapshot-isolation", VALID),
        ("G0", None, "read-committed", UNKNOWN),
        ("G-single-item", None, "read-committed", VALID),
        ("G-single-item", None, "snapshot-isolation", UNKNOWN),
        ("G2-item", "G2-item", "snapshot-isolation", VALID),
        ("G0", "G2-item", "snapshot-isolation", UNKNOWN),
    ],
)
def test_a_kind_of_cycle_that_was_not_decided_leaves_open_what_forbids_it(kind, seen, level, outcome):
    found = decide.Observations(undecided=[cycles.Undecided(0, 5, kind)])
    if seen is not None:
        found.counts[seen] = 1
    transactions = transactions_of(play("ax1 | rx1"), of_registers=False)
    verdict = decide.verdict_on("list-append", level, transactions, found)
    assert verdict.outcome == outcome
    assert (f"5 transactions ({kind})" in verdict.sentence) == (outcome == UNKNOWN)


def test_without_real_time_a_strict_level_cannot_be_decided():
    builder = TransactionsBuilder(has_real_time=False)
    for number, steps in enumerate([[["append", "x", 1]], [["r", "x", []]]]):
        builder.complete(builder.invoke(number, number, steps), number, "ok")
    transactions = builder.done()
    assert ListAppendChecker("serializable").check_transactions(transactions, Limits()).outcome == "valid"
    verdict = ListAppendChecker().check_transactions(transactions, Limits())
    assert verdict.outcome == "unknown"
    assert "does not record when transactions ran" in verdict.sentence


def test_the_micro_operations_of_each_key_stand_together_in_their_order():
    """Counted by the kernel as sorted by NumPy."""
    transactions = transactions_of(play("ax1 ay1 ax2 \n ry1 | rx12 ay3 \n \n az1"))
    owner, key_first, by_key = [0, 0, 0, 1, 2, 2, 3], [0, 3, 6, 7], [0, 2, 4, 1, 3, 5, 6]
    for kernel in (append_kernel, kernels.load_interpreted(append_kernel)):
        found = grouping.group(transactions, Arrays(kernel))
        assert [*map(list, (found.owner, found.key_first, found.by_key)), found.most] == [
            owner,
            key_first,
            by_key,
            3,
        ]
    counted = np.full(7, -1, np.int32), np.zeros(4, np.int32), np.full(7, -1, np.int32)
    grouping_kernel.owners(transactions.first, counted[0])
    grouping_kernel.group_by_key(transactions.key, counted[1], counted[2], 3)
    assert [one.tolist() for one in counted] == [owner, key_first, by_key]


def test_an_unobserved_append_comes_after_all_that_was_observed():
    """T3's append to x is never seen: whoever read all of x came before T3."""
    verdict = judged("ax1 | rx1 ry3 | ay3 ax2")
    assert verdict.details["anomaly_types"]["G-single-item"] == 1
    assert judged("ax1 | rx1 ry3 | ay3").outcome == "valid"
    assert judged("ax1 | rx1 | ? ax2 ry3 | ay3").outcome == "valid", (
        "an append that may not have happened binds nobody"
    )


def test_many_readers_of_a_version_before_many_unobserved_appends():
    """Where edges would be as many as readers times appends, they go through further nodes; nobody precedes himself."""
    guilty = " | ".join(["rx ry1", *["rx"] * 20, *[f"ax{digit}" for digit in range(9)], "ax9 ay1"])
    verdict = judged(guilty)
    (anomaly,) = (one for one in verdict.anomalies if one.type == "G-single-item")
    assert [edge["value"] for edge in anomaly.evidence["cycle"]] in ([9, 1], [1, 9])
    assert judged(guilty.replace("rx ry1", "rx ry")).outcome == "valid"
    updaters = " | ".join(["rx ax1", *["rx"] * 20, *[f"ax{digit}" for digit in range(2, 9)]])
    assert judged(updaters).outcome == "valid"


# -- Brute force -------------------------------------------------------------------------------------------------------


def depending(transactions):
    """Who depends on whom directly, and how, as Adya defines it; of lists that are right."""
    n = len(transactions)
    ok = [number for number in range(n) if transactions.outcome[number] == 1]
    steps = [transactions.spelt(number) for number in range(n)]
    reads = [(number, key, tuple(seen)) for number in ok for f, key, seen in steps[number] if f == "r"]
    order = {
        key: max((seen for _, one, seen in reads if one == key), key=len, default=()) for _, key, _ in reads
    }
    writer = {(key, value): number for number in range(n) for f, key, value in steps[number] if f == "append"}
    observed = {writer[key, value] for key, seen in order.items() for value in seen}
    found = set()
    for key in transactions.keys:
        versions = [writer[key, value] for value in order.get(key, ())]
        later = [
            number
            for (one, value), number in writer.items()
            if one == key and value not in order.get(key, ()) and (number in ok or number in observed)
        ]
        found |= {(a, b, "ww") for a, b in itertools.pairwise(versions)}
        found |= {(versions[-1], b, "ww") for b in later if versions}
        for reader, _, seen in (read for read in reads if read[1] == key):
            found |= {(writer[key, value], reader, "wr") for value in seen[-1:]}
            found |= {(reader, b, "rw") for b in (versions[len(seen) :][:1] or later)}
    return {(a, b, dependencies.KINDS.index(kind)) for a, b, kind in found if a != b}


@pytest.mark.parametrize("seed", range(3))
def test_dependencies_of_large_histories_are_those_of_the_definition(seed):
    shape = Shape(
        transactions=100, clients=5, keys=5, writes_per_key=6 * seed, crash_share=0.2, abort_share=0.1
    )
    transactions = run_store(
        shape, ("strict-serializable", "prefix", "serializable")[seed], seed
    ).transactions
    for form in (lambda kernel: kernel, kernels.load_interpreted):
        versions = list_versions.list_versions(transactions, form(append_kernel), form(dependencies_kernel))
        assert direct_dependencies(versions) == depending(transactions)


@pytest.mark.parametrize(
    "text",
    [
        "ax1 ay1 \n rx1" + "".join(f" | rx1 ry1 ax{one} ay{one}" for one in range(2, 10)) + " | ry1",
        "rx | ry"
        + "".join(f" | rx ax{one} | ry ay{one}" for one in range(2, 9))
        + " | ? ax1 az1 | rz1 | ax9 ay9",
        "rx | " + " | ".join(f"ax{one}" for one in range(9)) + " | rx" * 9,
    ],
)
def test_many_readers_before_many_unobserved_appends_but_none_before_its_own(text):
    transactions = transactions_of(play(text))
    for form in (lambda kernel: kernel, kernels.load_interpreted):
        versions = list_versions.list_versions(transactions, form(append_kernel), form(dependencies_kernel))
        assert versions.dependencies.nodes > len(transactions)
        assert direct_dependencies(versions) == depending(transactions)


def graph_of(random):
    """Edges between transactions and further nodes, with orders of sessions and real time; and all pairs that are in
    these orders."""
    count = random.randint(1, 6)
    nodes = count + random.randint(0, 2)
    pairs = list(itertools.permutations(range(nodes), 2))
    edges = sorted(random.sample(pairs, min(len(pairs), random.randint(0, random.choice((6, 12))))))
    places = random.sample([*range(count), *range(count)], 2 * count)
    begun = list(dict.fromkeys(places))
    start = [places.index(one) for one in begun]
    end = [2 * count - 1 - places[::-1].index(one) for one in begun]
    session = random.choices(range(3), k=count)
    over = [number for number in range(count) if random.random() < 0.7] if random.random() < 0.7 else []
    by_end = sorted(over, key=end.__getitem__)
    after = [
        [other for other in range(one + 1, count) if session[other] == session[one]] for one in range(count)
    ]
    order = dependencies.Orders(
        successor=np.array([min(others, default=-1) for others in after], np.int32),
        rank=np.array([by_end.index(one) if one in over else -1 for one in range(count)], np.int32),
        by_end=np.array(by_end, np.int32),
        invoked_first=np.array([*(sum(at < end[one] for at in start) for one in by_end), count], np.int32),
        session=np.array(session, np.int32),
        sessions=3,
    )
    if by_end:
        known = [(one, other) for one in over for other in range(count) if end[one] < start[other]]
    else:
        known = [(one, other) for one in range(count) for other in after[one]]
    return count, nodes, edges, order, known


def test_components_are_what_lies_on_cycles_together():
    interpreted = kernels.load_interpreted(components_kernel)
    for seed in range(500):
        _look_at_components(*graph_of(Random(seed)), interpreted)


def _look_at_components(count, nodes, edges, order, known, interpreted):
    columns = (
        [np.array(column, np.int32) for column in zip(*edges, strict=True)]
        if edges
        else [np.empty(0, np.int32)] * 2
    )
    kind, via = np.arange(len(edges), dtype=np.int8), np.arange(len(edges), dtype=np.int32)
    found = dependencies.sorted_dependencies(nodes, *columns, kind, via, interpreted)
    first, target, kinds, vias = (
        np.zeros(nodes + 1, np.int64),
        *(one.copy() for one in (columns[1], kind, via)),
    )
    components_kernel.sort_edges(nodes, len(edges), *columns, kind, via, first, target, kinds, vias)
    for one, other in (
        (first, found.edge_first),
        (target, found.target),
        (kinds, found.kind),
        (vias, found.via),
    ):
        assert one.tolist() == other.tolist()

    ways = reachable([*edges, *known], nodes)
    together = [frozenset(np.flatnonzero(ways[one] & ways[:, one]).tolist()) for one in range(nodes)]
    wanted = {one for one in together if len([node for node in one if node < count]) > 1}
    for kernel in (components_kernel, interpreted):
        number, component = dependencies.components(range(count), found, order, kernel)
        assert number == len(wanted)
        assert {frozenset(np.flatnonzero(component == one).tolist()) for one in range(number)} == wanted
        assert set(component.tolist()) <= {-1, *range(number)}
    given_lists = (
        one.tolist()
        for one in (found.edge_first, found.target, order.successor, order.rank, order.invoked_first)
    )
    is_acyclic = interpreted._is_acyclic(count, nodes, *given_lists, len(order.by_end))
    assert is_acyclic == (not ways.diagonal().any())


def kinds_of_cycles(count, pairs):
    """Which kinds of cycles some transactions have by the definition, as (kind, variant) in the order of `CYCLES` and
    `VARIANTS`; of those that a stronger one implies only this one. `pairs` are triples with the kind of the edge."""
    found = set()
    least_information, least_anti = 2, 5
    for variant in range(3):
        allowed = {dependencies.WW, dependencies.WR, dependencies.RW}
        if variant:
            allowed |= {dependencies.PROCESS, dependencies.WW_BY_PROCESS, dependencies.RW_BY_PROCESS}
        if variant == 2:
            allowed |= {dependencies.REALTIME, dependencies.WW_BY_REALTIME, dependencies.RW_BY_REALTIME}
        edges = [pair for pair in pairs if pair[2] in allowed]
        anti = [(a, b) for a, b, kind in edges if kind in dependencies.ANY_RW]
        ww, wr = ((dependencies.WW, dependencies.WW_BY_PROCESS, dependencies.WW_BY_REALTIME), dependencies.WR)
        rest = reachable([(a, b) for a, b, kind in edges if kind not in dependencies.ANY_RW], count)
        without_reads = [(a, b) for a, b, kind in edges if kind != wr and kind not in dependencies.ANY_RW]
        writes = reachable(without_reads, count)
        apart = reachable([(a, c) for a, b in anti for c in range(count) if rest[b, c]], count)
        whole = reachable([(a, b) for a, b, _ in edges], count)
        exists = (
            any(writes[b, a] for a, b, kind in edges if kind in ww),
            any(rest[b, a] for a, b, kind in edges if kind == wr),
            any(rest[b, a] for a, b in anti),
            apart.diagonal().any(),
            any(whole[b, a] for a, b in anti),
        )
        for kind in range(5):
            if exists[kind] and kind < (least_information if kind < 2 else least_anti):
                found.add((kind, variant))
                least_information, least_anti = (kind, least_anti) if kind < 2 else (least_information, kind)
    return found


def kind_of_cycle(kinds):
    anti = [kind in dependencies.ANY_RW for kind in kinds]
    if sum(anti) < 2:
        kind = 2 if any(anti) else 1 if dependencies.WR in kinds else 0
    else:
        kind = 4 if any(one and other for one, other in zip(anti, anti[1:] + anti[:1], strict=True)) else 3
    if any(one in dependencies.BY_REALTIME for one in kinds):
        return kind, 2
    return kind, int(any(one in dependencies.BY_PROCESS for one in kinds))


def test_cycles_of_every_kind_are_found_where_they_are():
    interpreted = kernels.load_interpreted(cycles_kernel)
    for seed in range(300):
        random = Random(seed)
        count, nodes, edges, order, known = graph_of(random)
        edges = [(a, b) for a, b in edges if a < count and (b < count or random.random() < 0.9)]
        lists = [
            (a, b, random.choice((0, 1, 2, 2, 6, 7, 8, 9)) if b < count else dependencies.RW)
            for a, b in edges
        ]
        for node in range(count, nodes):
            lists += [
                (node, other, dependencies.FREE)
                for other in random.sample(range(count), random.randint(0, min(2, count)))
            ]
        if nodes == count + 2:
            lists.append((count, count + 1, dependencies.FREE))
        free = reachable([(a, b) for a, b, kind in lists if kind == dependencies.FREE], nodes)
        lists = sorted(
            one for one in lists if one[0] >= count or not free[one[1], one[0]]
        )  # None before itself.
        columns = [np.array([one[place] for one in lists], np.int32) for place in range(3)]
        via = np.arange(len(lists), dtype=np.int32)
        graph = dependencies.sorted_dependencies(nodes, *columns[:2], columns[2].astype(np.int8), via)
        pairs = [(a, b, kind) for a, b, kind in lists if a < count and b < count]
        pairs += [(a, c, kind) for a, b, kind in lists if a < count <= b for c in range(count) if free[b, c]]
        pairs += [(a, b, dependencies.REALTIME) for a, b in known if len(order.by_end)]
        session = order.session.tolist()
        pairs += [
            (a, b, dependencies.PROCESS)
            for a, b in itertools.combinations(range(count), 2)
            if session[a] == session[b]
        ]
        number, component = dependencies.components(range(count), graph, order)
        # Without patience those with one rw are decided by following all at once.
        for kernel, patience in itertools.product((cycles_kernel, interpreted), (cycles.PATIENCE, -1_000)):
            found = cycles.find_cycles(
                count, graph, order, number, component, kernel=kernel, patience=patience
            )
            assert not found.undecided
            for one in range(number):
                kinds = set()
                for cycle in (cycle for cycle in found.cycles if cycle.component == one):
                    after = (*cycle.transactions[1:], cycle.transactions[0])
                    steps = set(zip(cycle.transactions, after, cycle.kinds, strict=True))
                    assert steps <= set(pairs), (seed, cycle)
                    kinds.add(kind_of_cycle(cycle.kinds))
                members = np.flatnonzero(component[:count] == one).tolist()
                inside = [pair for pair in pairs if {pair[0], pair[1]} <= set(members)]
                wanted = kinds_of_cycles(count, inside)
                assert kinds == wanted, seed


@pytest.mark.parametrize("shift", range(9))
def test_a_long_cycle_with_one_rw_is_not_hidden_by_a_short_one_with_two(shift):
    """Also where it is one of many rw that it needs, and nobody has the patience to try them all."""
    short = [(0, 6, 2)] * 70 + [(6, 7, 0), (7, 8, 2), (8, 0, 0)]
    long = [(0, 1, 2), (1, 2, 0), (2, 3, 1), (3, 4, 0), (4, 5, 1), (5, 0, 0)]
    none = np.full(9, -1, np.int32)
    order = dependencies.Orders(
        none, none, np.empty(0, np.int32), np.array([9], np.int32), np.arange(9, dtype=np.int32), 9
    )
    for edges, kind in ((short + long, 2), (short, 3), (short + long[1:], 3)):
        turned = sorted(((a + shift) % 9, (b + shift) % 9, how) for a, b, how in edges)
        source, target, how = (np.array([one[place] for one in turned], np.int32) for place in range(3))
        graph = dependencies.sorted_dependencies(9, source, target, how.astype(np.int8), source)
        number, component = dependencies.components(range(9), graph, order)
        for kernel in (cycles_kernel, kernels.load_interpreted(cycles_kernel)):
            for patience in (cycles.PATIENCE, -1_000_000):
                found = cycles.find_cycles(
                    9, graph, order, number, component, kernel=kernel, patience=patience
                )
                assert {
                    kind_of_cycle(cycle.kinds) for cycle in found.cycles if kind_of_cycle(cycle.kinds)[0] > 1
                } == {(kind, 0)}


@st.composite
def small_histories(draw, most=4):
    """Transactions on two keys whose reads see what some order of the appends, cut anywhere, would show."""
    count = draw(st.integers(2, most))
    plans = [
        [(draw(st.sampled_from("ra")), draw(st.sampled_from("xy"))) for _ in range(draw(st.integers(1, 3)))]
        for _ in range(count)
    ]
    numbers = itertools.count(1)
    steps = [[(f, key, next(numbers) if f == "a" else None) for f, key in plan] for plan in plans]
    endings = [draw(st.sampled_from(["ok", "ok", "ok", "ok", "info", "fail"])) for _ in range(count)]
    orders = {}
    for key in "xy":
        appended = [
            value
            for plan, ending in zip(steps, endings, strict=True)
            for f, k, value in plan
            if f == "a" and k == key and (ending != "fail" or draw(st.integers(0, 9)) == 0)
        ]
        orders[key] = draw(st.permutations(appended)) if draw(st.booleans()) else appended
    builder = HistoryBuilder()
    answers = []
    for plan in steps:
        answer = []
        for f, key, value in plan:
            if f == "a":
                answer.append(["append", key, value])
            else:
                answer.append(["r", key, list(orders[key][: draw(st.integers(0, len(orders[key])))])])
        answers.append(answer)
    waiting = list(range(count))
    running = []
    sessions = draw(st.booleans())
    free = [0, 1] if sessions else list(range(count))
    while waiting or running:
        if waiting and free and (not running or draw(st.booleans())):
            number = waiting.pop(0)
            process = free.pop(0)
            running.append((number, process))
            builder.invoke(process, "txn", [[f, k, None if f == "r" else v] for f, k, v in answers[number]])
        elif running:
            number, process = running.pop(draw(st.integers(0, len(running) - 1)))
            if endings[number] == "ok":
                builder.ok(process, answers[number])
                free.append(process)
            elif endings[number] == "fail":
                builder.fail(process)
                free.append(process)
            else:
                builder.info(process)
                free.append(process + 50)
        else:
            break
    return builder.done()


def levels(history):
    return {
        isolation: judged(history, isolation).outcome
        for isolation in (
            "strict-serializable",
            "strong-session-serializable",
            "serializable",
            "snapshot-isolation",
        )
    }


@settings(max_examples=250)
@given(small_histories())
def test_serializability_agrees_with_trying_every_order(history):
    found = levels(history)
    truth = {
        "strict-serializable": is_serializable(history, strict=True),
        "strong-session-serializable": is_serializable(history, sessions=True),
        "serializable": is_serializable(history),
    }
    for isolation, holds in truth.items():
        if found[isolation] != "unknown":
            assert (found[isolation] == "valid") == holds, isolation


@settings(max_examples=250)
@given(small_histories())
def test_snapshot_isolation_agrees_with_trying_all_snapshots(history):
    """What is undecided has several appends to one key that nobody observed."""
    outcome = judged(history, "snapshot-isolation").outcome
    if outcome != "unknown":
        assert (outcome == "valid") == is_snapshot_isolated(history)


@settings(max_examples=250)
@given(small_histories(), st.sampled_from(["parallel-snapshot-isolation", "prefix", "causal"]))
def test_levels_of_visibility_agree_with_trying_every_order(history, level):
    """By the axioms of Cerone, Bernardi and Gotsman: some transactions see others, and some order of commits fits."""
    verdict = judged(history, level)
    if verdict.outcome != "unknown":
        assert (verdict.outcome == "valid") == sees_consistently(history, level), verdict.sentence


PREFIXES = {
    # Two readers see x and y in opposite orders: a long fork, that no one order of commits explains.
    "ax1 | ay1 | rx1 ry | rx ry1": "invalid",
    "ax1 | ay1 | rx1 ry | rx1 ry1": "valid",
    # An update is lost, which is none of a prefix's business; and so is write skew.
    "rx ax1 | rx ax2 \n rx12": "valid",
    "rx ay1 | ry ax1": "valid",
    # Who reads z saw the append to y that came after that to x, by the order of the versions of y.
    "ax1 ay1 | ay2 az1 | rz1 rx \n ry12": "invalid",
    "ax1 ay1 | ay2 az1 | rz1 rx1 \n ry12": "valid",
    # And so who reads z saw, by the one who appended to y first, what that had read.
    "rx1 ay1 | ax1 aw1 | ay2 az1 | rz1 rw \n ry12": "invalid",
    "rx1 ay1 | ax1 aw1 | ay2 az1 | rz1 rw1 \n ry12": "valid",
    # One of many who read x before many appends that nobody observed, and saw what had seen one of these.
    "ax1 az1 | rz1 ay1"
    + " | ".join(["", *(f"ax{one}" for one in range(2, 10))])
    + " | ry1 rx" * 9: "invalid",
    "ax1 az1 | rz ay1" + " | ".join(["", *(f"ax{one}" for one in range(2, 10))]) + " | ry1 rx" * 9: "valid",
}


@pytest.mark.parametrize("text", PREFIXES)
def test_prefix_consistency(text):
    verdict = judged(text, "prefix")
    assert verdict.outcome == PREFIXES[text], verdict.sentence
    if verdict.outcome == "invalid":
        assert "not prefix" in verdict.sentence
        for edge in verdict.anomalies[0].evidence["cycle"]:
            assert edge["kind"] in ("ww", "wr", "rw")
            assert edge["key"] is not None
        assert "prefix" in verdict.details["not"]


CAUSAL = {
    # Who saw the append of 1 saw what its transaction had seen or done: 5. Nobody saw more of x first.
    "ay5 | ry5 ax1 | rx1 ry": "invalid",
    "ay5 | ry5 ax1 | rx1 ry5": "valid",
    "ry5 ax1 | ay5 | rx1 ry": "invalid",
    "ry5 ax1 | ay5 | rx1 ry5": "valid",
    # The same where 1 is not the last element that was seen.
    "ay5 | ry5 ax1 | ax2 | rx12 ry": "invalid",
    "ay5 | ry5 ax1 | ax2 | rx12 ry5": "valid",
    "ax1 ay5 | ax2 | rx12 ry": "invalid",
    "ax1 ay5 | ax2 | rx12 ry5": "valid",
    # Whoever it was that began first, and where in the list 1 stands.
    "rx1 ry | ay5 | ry5 ax1": "invalid",
    "rx1 ry5 | ay5 | ry5 ax1": "valid",
    "rx312 ry | ax3 | ay5 | ry5 ax1 | ax2": "invalid",
    "rx312 ry5 | ax3 | ay5 | ry5 ax1 | ax2": "valid",
    # Whoever appended 2 need not have seen 1.
    "ax1 ay5 | ax2 ry | rx12": "valid",
    # Who saw what a session did has seen what it had done before, and appends after that.
    "0: ax1 \n 0: ay5 | ax2 ry5 | rx21": "invalid",
    "0: ax1 \n 0: ay5 | ax2 ry5 | rx12": "valid",
    "0: ax1 \n 0: ay5 | ax2 ry | rx21": "valid",
    # What a session has seen or done, it goes on seeing.
    "ax1 \n 0: rx1 \n 0: rx": "invalid",
    "ax1 \n 0: rx \n 0: rx1": "valid",
    "ax1 \n 0: rx1 \n 1: rx": "valid",
}


@pytest.mark.parametrize("text", CAUSAL)
def test_causal_consistency(text):
    verdict = judged(text, "causal")
    assert verdict.outcome == CAUSAL[text], verdict.sentence
    assert (verdict.outcome == "valid") == sees_consistently(play(text), "causal")


def test_a_long_fork_is_parallel_snapshot_isolation():
    text = "ax1 | ay1 | rx1 ry | rx ry1"
    assert judged(text, "parallel-snapshot-isolation").outcome == "valid"
    assert judged(text, "snapshot-isolation").outcome == "invalid"
    assert judged("rx ax1 | rx ax2 \n rx12", "parallel-snapshot-isolation").outcome == "invalid"


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        ("ww ww", "G0"),
        ("ww wr", "G1c"),
        ("wr rw", "G-single-item"),
        ("rw wr rw ww", "G-nonadjacent-item"),
        ("wr rw rw", "G2-item"),
        ("rw wr rw", "G2-item"),
        ("wr process", "G1c-process"),
        ("process ww realtime", "G0-realtime"),
        # The order of versions may be the opposite of what was derived: at least one rw is there then.
        ("ww-process wr", "G-single-item-process"),
        ("ww-realtime ww", "G-single-item-realtime"),
        ("rw-process wr", "G-single-item-process"),
        ("rw-realtime wr rw wr", "G-nonadjacent-item-realtime"),
        ("rw-process rw-realtime", "G2-item-realtime"),
    ],
)
def test_the_name_of_a_cycle_says_what_it_is_made_of(kinds, name):
    number = {
        **{kind: at for at, kind in enumerate(("ww", "wr", "rw", "process", "realtime"))},
        "ww-process": dependencies.WW_BY_PROCESS,
        "rw-process": dependencies.RW_BY_PROCESS,
        "ww-realtime": dependencies.WW_BY_REALTIME,
        "rw-realtime": dependencies.RW_BY_REALTIME,
    }
    edges = tuple(number[kind] for kind in kinds.split())
    members = tuple(range(len(edges)))
    assert cycles.Cycle(0, members, edges, members).name == name
    indirect = cycles.Cycle(0, members, edges, members, is_indirect=True)
    assert indirect.name == "G2-item-realtime"


def test_every_component_has_the_real_time_of_its_own_transactions():
    verdict = judged("0: ax1 \n 1: rx \n 2: ay1 \n 3: ry \n 4: az1 \n 5: rz")
    assert verdict.details["anomaly_types"] == {"G-single-item-realtime": 3}


@pytest.mark.parametrize("between", ["", "1: ay1 \n", "1: ay1 \n 2: ay2 \n"])
def test_who_was_over_comes_before_who_began_after_all_that_are_known_to_be(between):
    """T1 saw what was begun after it, and crashed."""
    verdict = judged(f"0: rx1 \n {between} ? ax1")
    assert verdict.outcome == "invalid"
    assert "G1c-realtime" in verdict.details["anomaly_types"]
    assert judged(f"0: rx1 | ? ax1 \n {between} rx1").outcome == "valid"


@settings(max_examples=120)
@given(small_histories())
def test_cycles_are_what_they_are_called(history):
    """Every edge of every cycle leads on, ends where the next begins, and has a reason."""
    verdict = judged(history)
    for anomaly in verdict.anomalies:
        edges = anomaly.evidence.get("cycle", [])
        for edge, following in zip(edges, edges[1:] + edges[:1], strict=True):
            assert edge["target"] == following["source"]
            assert edge["reason"] in anomaly.sentence
        if edges:
            kinds = [edge["kind"] for edge in edges]
            assert ("realtime" in kinds) == anomaly.type.endswith("-realtime")
            assert anomaly.type.startswith(
                {0: "G0" if "wr" not in kinds else "G1c", 1: "G-single"}.get(kinds.count("rw"), "G")
            )
    names = [name for name in verdict.details.get("anomaly_types", {}) if name in dict.fromkeys(SMALLEST)]
    assert implied_anomalies(names) >= set(names)


@settings(max_examples=60)
@given(small_histories())
def test_both_forms_of_the_kernels_say_the_same(history):
    transactions = transactions_of(history, of_registers=False)
    results = []
    for form in (lambda kernel: kernel, kernels.load_interpreted):
        versions = list_versions.list_versions(transactions, form(append_kernel), form(dependencies_kernel))
        order = dependencies.orders(transactions)
        count, component = dependencies.components(
            transactions, versions.dependencies, order, form(components_kernel)
        )
        found = cycles.find_cycles(
            len(transactions), versions.dependencies, order, count, component, kernel=form(cycles_kernel)
        )
        results.append(
            (
                versions.findings,
                versions.position.tolist(),
                versions.dependencies.target.tolist(),
                count,
                found,
            )
        )
    assert results[0] == results[1]


@settings(max_examples=120)
@given(small_histories())
def test_the_exhaustive_search_finds_the_same_kinds_of_cycles(history):
    """Where no effort is left for short cycles, what exists is still decided."""
    transactions = transactions_of(history, of_registers=False)
    versions = list_versions.list_versions(transactions)
    order = dependencies.orders(transactions)
    count, component = dependencies.components(transactions, versions.dependencies, order)
    patient, hasty = (
        cycles.find_cycles(
            len(transactions), versions.dependencies, order, count, component, patience=patience
        )
        for patience in (cycles.PATIENCE, -(10**12))
    )
    assert [cycle.name for cycle in patient.cycles] == [cycle.name for cycle in hasty.cycles]
    assert not patient.undecided
    assert not hasty.undecided


# -- Recorded histories ------------------------------------------------------------------------------------------------


def read_edn(name):
    text = (recorded("elle") / name).read_text()
    return jepsen.read(text if ":f :txn" in text else re.sub(r"(:type +:\w+)(?!.*:f )", r"\1 :f :txn", text))


def read_lines(name):
    """`invoke|ok|fail PROCESS`, then `a k v` or `r k v,v,..` a micro-operation."""
    builder = HistoryBuilder()
    for line in (recorded("list-append") / name).read_text().splitlines():
        type_, process, *words = line.split()
        steps = []
        for f, key, value in zip(words[::3], words[1::3], words[2::3], strict=True):
            if f == "a":
                steps.append(["append", int(key), int(value)])
            else:
                steps.append(["r", int(key), [] if value == "-" else [int(one) for one in value.split(",")]])
        if type_ == "invoke":
            builder.invoke(int(process), "txn", steps)
        elif type_ == "ok":
            builder.ok(int(process), steps)
        else:
            builder.fail(int(process))
    return builder.done()


@pytest.mark.parametrize(
    ("name", "isolation", "outcome", "types"),
    [
        ("si-without-g-single.edn", "snapshot-isolation", "valid", {"G2-item", "G-single-item-realtime"}),
        ("si-without-g-single.edn", "serializable", "invalid", {"G2-item", "G-single-item-realtime"}),
        ("si-without-g-single.edn", "strict-serializable", "invalid", {"G2-item", "G-single-item-realtime"}),
        ("list-append-gh-30.edn", "snapshot-isolation", "valid", {"G2-item"}),
        ("list-append-gh-30.edn", "serializable", "invalid", {"G2-item"}),
        ("paper-example.edn", "snapshot-isolation", "invalid", {"G-single-item"}),
        ("paper-example.edn", "strict-serializable", "invalid", {"G-single-item"}),
        ("la-perfect-10000.txt", "strict-serializable", "valid", set()),
        ("la-ssi-10000.txt", "strict-serializable", "valid", set()),
        ("la-prefix-10000.txt", "read-uncommitted", "invalid", {"G0", "lost-update", "incompatible-order"}),
    ],
)
def test_recorded_histories_keep_their_verdicts(name, isolation, outcome, types):
    history = read_lines(name) if name.endswith(".txt") else read_edn(name)
    verdict = judged(history, isolation)
    assert verdict.outcome == outcome, verdict.sentence
    assert types <= verdict.details["anomaly_types"].keys()
