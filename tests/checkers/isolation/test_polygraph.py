"""Snapshot isolation and serializability with no order of versions known: named histories, and brute force."""

from __future__ import annotations

import inspect
import re
import sys
from functools import partial
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.isolation import (
    order_kernel,
    polygraph_checker,
    pruning,
    pruning_kernel,
    reads_from_kernel,
    sat,
    weak_levels,
)
from checkers.isolation.lattice import ruled_out
from checkers.isolation.orders import is_acyclic
from checkers.isolation.polygraph import LEVELS, make_polygraph
from checkers.isolation.reads_from import find_reads_from
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.isolation.versions import find_versions
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import RULES, run_store
from results.kernels import load_interpreted
from results.verdict import INVALID, UNKNOWN, VALID
from tests.checkers.isolation.brute_serial import satisfies
from tests.checkers.isolation.play import reachable
from tests.checkers.isolation.registers import columns, drawn, history, parsed
from tests.checkers.isolation.test_weak_levels import read_awdit
from tests.checkers.linearizability.recorded import recorded

LIMITS = Limits(time_s=600)
check_polygraph = partial(polygraph_checker.check_polygraph, sessions=False)
SI, SER, SESSION_SI, SESSION_SER, STRICT = (
    "snapshot-isolation",
    "serializable",
    "strong-session-snapshot-isolation",
    "strong-session-serializable",
    "strict-serializable",
)
UNTIMED = (SI, SER, SESSION_SI, SESSION_SER)

NAMED = {
    "one after the other": (("x=1 y=1", "x?1 y?1 x=2", "x?2 y?1"), UNTIMED),
    "an empty history": (("",), UNTIMED),
    "write skew": (("x? y=1", "y? x=1"), (SI, SESSION_SI)),
    "no write skew": (("x? y=1", "y?1 x=1"), UNTIMED),
    "lost update": (("x? x=1", "x? x=2"), ()),
    "no lost update": (("x? x=1", "x?1 x=2"), UNTIMED),
    "long fork": (("x=1", "y=1", "x?1 y?", "y?1 x?"), ()),
    "short fork": (("x=1", "y=1", "x?1 y?", "y?1 x?1"), UNTIMED),
    "read skew": (("x=1 y=1", "x? y?1"), ()),
    "a stale session": (("x=1 | x?",), (SI, SER)),
    "a session that goes back": (("x=1", "x=2", "x?1 | x?2 | x?1"), (SI, SER)),
    "a session whose order is open": (("x=1", "x=2", "x?1 | x?2"), UNTIMED),
    "two readers of blind writes disagree": (("x=1 y=1", "x=2 y=2", "x?1 y?2"), ()),
    "two readers of blind writes agree": (("x=1 y=1", "x=2 y=2", "x?1 y?1", "x?2 y?2"), UNTIMED),
    "read-only anomaly (Fekete 2004)": (("x? y? x=1", "y? y=20", "x? y?20"), (SI, SESSION_SI)),
    "without its reader": (("x? y? x=1", "y? y=20"), UNTIMED),
    "aborted read": (("!x=1", "x?1"), ()),
}


@pytest.mark.parametrize(("sessions", "levels"), NAMED.values(), ids=list(NAMED))
def test_each_named_history_satisfies_what_it_does(sessions, levels):
    transactions = parsed(*sessions)
    for level in UNTIMED:
        verdict = check_polygraph(columns(transactions), level, LIMITS)
        assert verdict.outcome == (VALID if level in levels else INVALID), level
        assert satisfies(transactions, level) == (level in levels), level


@settings(max_examples=100, deadline=None)
@given(drawn(most=5), st.sampled_from([SER, SESSION_SER, "repeatable-read"]))
def test_brute_force_says_the_same_of_serializability(transactions, level):
    assert (check_polygraph(columns(transactions), level, LIMITS).outcome == VALID) == satisfies(
        transactions, level
    )


@settings(max_examples=80, deadline=None)
@given(drawn(most=4), st.sampled_from([SI, SESSION_SI]))
def test_brute_force_says_the_same_of_snapshot_isolation(transactions, level):
    assert (check_polygraph(columns(transactions), level, LIMITS).outcome == VALID) == satisfies(
        transactions, level
    )


def without_suggestions(patch):
    """The order that the transactions suggest is not tried, but still told."""

    def suggested(graph, edges, details):
        return np.arange(graph.nodes)[::-1].copy()

    patch.setattr(polygraph_checker, "_suggested", suggested)


def without_pruning(patch):
    """Nothing follows from anything: the solver has to choose every order."""

    def prune(graph, choices, deadline):
        none = np.empty(0, dtype=np.int32)
        reach = pruning.Reachability(graph.nodes, graph.helpers, graph.known, deadline)
        count = len(graph.known)
        return pruning.Pruned(
            graph.known,
            np.zeros(count, dtype=np.int32),
            np.full(count, -1),
            pruning.Choices(none, none),
            choices,
            None,
            reach,
        )

    patch.setattr(polygraph_checker, "prune", prune)


@settings(max_examples=60, deadline=None)
@given(drawn(sessions=4, most=7), st.sampled_from([SI, SER, SESSION_SER]))
def test_every_way_to_decide_says_the_same(transactions, level):
    """Suggested orders, pruning, and the solver alone, with and without cycles of two that are found beforehand."""
    pytest.importorskip("pysat")
    found = columns(transactions)
    quick = check_polygraph(found, level, LIMITS)
    for ways in ([without_suggestions], [without_pruning], [without_suggestions, without_pruning]):
        with pytest.MonkeyPatch.context() as patch:
            for way in ways:
                way(patch)
            slow = check_polygraph(found, level, LIMITS)
            assert slow.outcome == quick.outcome, (ways, quick.sentence, slow.sentence)
            patch.setattr(sat, "COMPARED", 0)
            assert check_polygraph(found, level, LIMITS).outcome == quick.outcome


@settings(max_examples=60, deadline=None)
@given(drawn(sessions=4, most=10), st.sampled_from(sorted(LEVELS)))
def test_both_forms_of_the_kernels_say_the_same(transactions, level):
    found = columns(transactions)
    compiled = check_polygraph(found, level, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("checkers.isolation.reads_from.reads_from_kernel", load_interpreted(reads_from_kernel))
        patch.setattr("checkers.isolation.orders.order_kernel", load_interpreted(order_kernel))
        patch.setattr("checkers.isolation.pruning.pruning_kernel", load_interpreted(pruning_kernel))
        assert check_polygraph(found, level, LIMITS) == compiled


@pytest.mark.parametrize("length", range(2, 8))
def test_the_end_of_a_chain_of_versions_is_found_however_long_it_is(length):
    """0 comes before the chain, as its writer was seen by who read its end, and after its first, whose w it read."""
    chain = [f"x?{number} x={number + 1}" for number in range(1, length)]
    for end, outcome in ((f"x?{length} z?1", INVALID), (f"x?{length} z?", VALID), ("x?0 z?1", VALID)):
        sessions = ("x=1 w=7", *chain, "x=0 z=1 w?7", f"x?{length}", end)
        for level in UNTIMED:
            assert verdict_on(level, *sessions).outcome == outcome, (level, end)


@pytest.mark.parametrize("first", ["", "x? x=50", "x? x=49 | x?49 x=50"])
@pytest.mark.parametrize("key", ["x", "y"])
def test_many_readers_of_the_oldest_versions_come_before_many_writers_of_others(first, key):
    """Of two keys; y and x are exchanged, so that it is not always the first that matters."""
    seen = "50" if first else ""
    others = [f"{one}={number} {one}{number}=1" for one in "xy" for number in range(1, 12)]
    chain = first.split(" | ") if first else []

    def outcomes(*sessions, chain=chain):
        readers = [f"x?{seen}"] * 12 + ["y?"] * 12
        whole = ("x? y?", *others[:14], *chain, *readers, *others[14:], *sessions)
        turned = [one.translate(str.maketrans("xy", "yx")) if key == "y" else one for one in whole]
        return {verdict_on(level, *turned).outcome for level in UNTIMED}

    for number in (1, 6, 11):
        assert outcomes(f"x?{seen} x{number}?1") == {INVALID}
        assert outcomes(f"x?{seen} y{number}?1") == {VALID}
        assert outcomes(f"y? y{number}?1") == {INVALID}
        assert outcomes(f"y? x{number}?1") == {VALID}
    if chain:
        *before, last = chain
        for end, outcome in (("x6?1", INVALID), ("x6?", VALID), ("y6?1", VALID)):
            assert outcomes(chain=[*before, f"{last} {end}"]) == {outcome}
        # Whoever overwrites what others have read, blindly, began after who wrote that was done.
        for end, outcome in (("z?", INVALID), ("z?1", VALID)):
            assert outcomes(f"x=40 {end}", chain=[*before, f"{last} z=1"]) == {outcome}


@pytest.mark.parametrize(
    ("sessions", "intervals", "outcome"),
    [
        (("x=1", "x?"), [(0, 1), (2, 3)], INVALID),
        (("x=1", "x?"), [(0, 2), (1, 3)], VALID),
        (("y=1", "x=1", "y=2", "x?"), [(0, 1), (2, 3), (4, 5), (6, 7)], INVALID),
        (("y=1", "x=1", "y=2", "x?"), [(0, 1), (2, 5), (3, 6), (4, 7)], VALID),
        # A crashed write was not over before anything, but who saw it was.
        (("~x=1", "x?1", "x?"), [(0, 0), (1, 2), (3, 4)], INVALID),
        (("~x=1", "x?1", "x?"), [(0, 0), (1, 4), (3, 5)], VALID),
        (("~x=1", "y=1", "x?"), [(0, 0), (1, 2), (3, 4)], VALID),
    ],
)
def test_what_was_over_comes_before_what_begins_later(sessions, intervals, outcome):
    transactions = columns(parsed(*sessions), intervals=intervals)
    for level in (STRICT, "strong-snapshot-isolation"):
        assert check_polygraph(transactions, level, LIMITS).outcome == outcome, level
    for level in UNTIMED:
        assert check_polygraph(transactions, level, LIMITS).outcome == VALID


def test_skew_at_one_time_is_allowed_by_snapshots_alone():
    transactions = columns(parsed("x? y=1", "y? x=1"), intervals=[(0, 2), (1, 3)])
    for level in LEVELS:
        outcome = VALID if "snapshot" in level else INVALID
        assert check_polygraph(transactions, level, LIMITS).outcome == outcome, level


def test_a_value_written_twice_is_not_guessed():
    """Whichever of the two was read, nothing is wrong: unknown. What is wrong all the same is invalid."""
    for level in UNTIMED:
        verdict = verdict_on(level, "x=1", "x=1", "x?1")
        assert verdict.outcome == UNKNOWN
        assert "1 read may have seen any of several writes" in verdict.sentence
        assert verdict_on(level, "x=1", "x=1", "x?1", "y? z=1", "y=1 z?1", "y?1 z?").outcome == INVALID


@pytest.mark.parametrize("level", [SER, SI])
@pytest.mark.parametrize(
    ("store", "keys", "seed"),
    [
        ("strict-serializable", 2, 1),
        ("serializable", 3, 1),
        ("snapshot-isolation", 5, 2),
        ("prefix", 8, 1),
        ("prefix", 8, 2),
        ("causal", 5, 2),
    ],
)
def test_what_is_pruned_is_what_follows_and_nothing_else_does(store, keys, seed, level, monkeypatch):
    """Round by round, also where few choices are looked at together."""
    shape = Shape(transactions=50, kind="rw-register", keys=keys, clients=4, writes_per_key=0, read_share=0.7)
    found = find_reads_from(run_store(shape, store, seed).transactions)
    versions = find_versions(found)
    graph = make_polygraph(found, versions, LEVELS[level])
    if not is_acyclic(graph.nodes, graph.known.source, graph.known.target):
        pytest.skip("told before")
    choices = pruning.all_choices(graph, 10_000)
    pairs = list(zip(choices.one.tolist(), choices.other.tolist(), strict=True))
    heads = sorted(versions.heads.tolist())
    assert pairs
    assert sorted(map(sorted, pairs)) == [
        [one, other] for one, other in combinations(heads, 2) if versions.key[one] == versions.key[other]
    ]
    pruned = pruning.prune(graph, choices, LIMITS.deadline())
    ways = reachable(zip(pruned.edges.source, pruned.edges.target, strict=True), graph.nodes)

    def edges_of(one, other):
        edges, which = graph.following(versions.tail[[one]], np.array([other]))
        assert not which.any()
        return list(zip(edges.source.tolist(), edges.target.tolist(), strict=True))

    def is_impossible(one, other):
        return any(ways[target, source] or source == target for source, target in edges_of(one, other))

    decided = list(zip(pruned.decided.one.tolist(), pruned.decided.other.tolist(), strict=True))
    left = list(zip(pruned.open.one.tolist(), pruned.open.other.tolist(), strict=True))
    for one, other in decided:
        assert all(ways[edge] for edge in edges_of(one, other))
    assert sorted(map(sorted, decided + left)) == sorted(map(sorted, pairs))
    if pruned.refuted:
        one, other = pruned.refuted
        assert is_impossible(one, other)
        assert is_impossible(other, one)
    elif pruned.reach is None:
        assert ways.diagonal().any()
    else:
        for one, other in left:
            assert not is_impossible(one, other)
            assert not is_impossible(other, one)
        source, target = (one.ravel().astype(np.int32) for one in np.indices((graph.nodes, graph.helpers)))
        assert (pruned.reach.reaches(source, target) == (ways[source, target] | (source == target))).all()
    monkeypatch.setattr(pruning, "CHUNK", 3)
    again = pruning.prune(graph, choices, LIMITS.deadline())
    assert again.refuted == pruned.refuted
    for one, other in ((again.decided, pruned.decided), (again.open, pruned.open)):
        assert (one.one.tolist(), one.other.tolist()) == (other.one.tolist(), other.other.tolist())


def test_orders_of_two_keys_that_follow_from_others_are_made_no_edges():
    found = find_reads_from(history(*(f"{key}={number}" for number in range(5) for key in "xyz")))
    versions = find_versions(found)
    heads = [np.flatnonzero(versions.key[: versions.written] == key).tolist() for key in range(3)]
    orders = pruning._Orders(make_polygraph(found, versions, LEVELS[SER]))
    for chains in (heads[0][:3], heads[2][::-1], heads[0]):
        pairs = np.array(list(combinations(chains, 2)), dtype=np.int32)
        covers = orders.add(pruning.Choices(pairs[:, 0], pairs[:, 1]))
        assert list(map(tuple, pairs[covers].tolist())) == list(pairwise(chains))


@pytest.mark.parametrize("level", UNTIMED)
@pytest.mark.parametrize("others", [(), ("w=1", "w=2"), ("w=1", "w=2", "w=3", "v=1", "v=2")])
def test_an_order_that_is_suggested_is_one_of_every_key(others, level):
    """Who saw y saw x = 1, so 2 came before; and who saw z saw 2, so it came after. Blind writes of others fit."""
    wrong = ("x=1", "x=2 y=1", "y?1 x?1", "x?1 z=1", "z?1 x?2")
    for before, after in ((others, ()), ((), others)):
        assert verdict_on(level, *before, *wrong, *after).outcome == INVALID
        for left_out in ("y?1 x?1", "z?1 x?2"):
            right = [one for one in wrong if one != left_out]
            assert verdict_on(level, *before, *right, *after).outcome == VALID


def test_an_update_that_was_lost_is_told_with_both_that_made_it():
    [anomaly] = verdict_on(SER, "x=1", "y? y=1", "x?1 x=2", "x?1 x=3", "y?1 y=2").anomalies
    assert anomaly.type == "lost-update"
    assert "(process 2, " in anomaly.sentence
    assert "(process 3, " in anomaly.sentence


@st.composite
def timed(draw):
    """Transactions with times of their own, and the intervals of these."""
    transactions = draw(drawn(most=4))
    events = draw(st.permutations([number for number in range(len(transactions)) for _ in range(2)]))
    # Transactions of one session follow one another in the order in which they stand.
    at = [
        [place for place, number in enumerate(events) if number == which]
        for which in range(len(transactions))
    ]
    places: dict[int, int] = {}
    intervals = []
    for number, one in enumerate(transactions):
        shift = places.get(one.session, 0)
        intervals.append((2 * (at[number][0] + shift), 2 * (at[number][1] + shift) + 1))
        places[one.session] = shift + 2 * len(events)
    return transactions, intervals


@settings(max_examples=100, deadline=None)
@given(timed(), st.sampled_from([STRICT, "strong-snapshot-isolation"]))
def test_brute_force_says_the_same_of_real_time(case, level):
    transactions, intervals = case
    verdict = check_polygraph(columns(transactions, intervals=intervals), level, LIMITS)
    assert (verdict.outcome == VALID) == satisfies(transactions, level, intervals)


@given(st.permutations(range(7)), st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))))
@example(range(7), {(a, a + 1) for a in range(6)})
def test_orders_of_which_others_follow_are_told_from_those_that_do(places, drawn_pairs):
    """Of a partial order those pairs are left from which it can be made again; of what is no order, all."""
    closed = {(a, b) for a, b in drawn_pairs if places[a] < places[b]}
    for _ in range(7):
        closed |= {(a, d) for a, b in closed for c, d in closed if b == c}
    begin, end = 5, 5 + 49
    before = np.full(end + 7, 7, dtype=np.uint8)  # Those around the two keys are left alone.
    before[begin:end] = 0

    def known(pairs):
        for a, b in pairs:
            before[begin + 7 * a + b] = 1
        before[:4] = 0, 1, 0, 0
        scratch = [np.full(8, 7, dtype=np.int32) for _ in range(4)]
        pruning_kernel.mark_covers(np.array([1, 0]), np.array([2, 7]), np.array([0, begin]), before, *scratch)
        assert before[:begin].tolist() == [0, 2, 0, 0, 7]
        assert set(before[end:]) == {7}
        return {divmod(place, 7) for place in np.flatnonzero(before[begin:end] == 2).tolist()}

    assert known(closed) == {
        (a, b) for a, b in closed if not any((a, c) in closed and (c, b) in closed for c in range(7))
    }
    if closed:
        a, b = sorted(closed)[0]
        assert known([(b, a)]) == {*closed, (b, a)}


@pytest.mark.parametrize("store", sorted(RULES))
def test_what_a_store_keeps_is_never_called_violated(store):
    """Simulated stores that keep a level, with crashed and aborted transactions: hot keys, and many keys."""
    for seed, keys in [(1, 4), (2, 30)]:
        shape = Shape(
            transactions=120,
            kind="rw-register",
            keys=keys,
            clients=6,
            writes_per_key=0,
            crash_share=0.03,
            abort_share=0.05,
        )
        made = run_store(shape, store, seed)
        for level in LEVELS:
            verdict = check_polygraph(made.transactions, level, LIMITS)
            assert verdict.outcome == VALID or level not in made.satisfies, (level, verdict.sentence)
            assert verdict.outcome == INVALID or level not in made.violates, (level, verdict.sentence)
        for level in weak_levels.LEVELS:
            verdict = weak_levels.check_weak(made.transactions, level, LIMITS)
            assert verdict.outcome == VALID or level not in made.satisfies, (level, verdict.sentence)


def verdict_on(level, *sessions, **limits):
    return check_polygraph(history(*sessions), level, Limits(time_s=600, **limits))


def test_a_cycle_is_told_step_by_step():
    verdict = verdict_on(SER, "x? y=1", "y? x=1")
    [anomaly] = verdict.anomalies
    assert anomaly.type == "G2-item"
    assert anomaly.sentence == (
        "T1 (process 0, events 0 and 2) came before T2 (process 1, events 1 and 3) (T1 read 'x' = nil, not T2's "
        "later 1); but T2 came before T1 (T2 read 'y' = nil, not T1's later 1): a contradiction"
    )
    assert anomaly.operations == [0, 1, 2, 3]


FORKED = ("x=1", "x=2", "y=1", "y=2", "x?1 y?2", "x?2 y?1", "x?1 y?1", "x?2 y?2")
"""Blind writes, and readers that saw every combination: no read tells an order, but none fits."""


def test_orders_that_follow_from_each_other_are_told_however_many_they_are():
    """Of each key, who read the older version comes before the newer one, from which the order of the next key follows;
    the last one has to be the other way round. A reason within a reason would take two calls each."""
    pairs = 200
    sessions = []
    for i in range(pairs):
        older, newer, reader = [f"k{i}=1"], [f"k{i}=2", f"b{i}=1"], [f"k{i}?1"]
        if i:
            older.append(f"a{i - 1}=1")
            newer.insert(0, f"b{i - 1}?1")
        else:
            newer.insert(0, "k0?1")
        if i < pairs - 1:
            reader.append(f"a{i}?1")
        sessions += [older, newer, reader]
    in_order = [" ".join(steps) for steps in sessions]
    assert verdict_on(SER, *in_order).outcome == VALID
    sessions[-2].append("c=1")
    sessions[-3].insert(0, "c?1")
    against = [" ".join(steps) for steps in sessions]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + pairs // 2)
    try:
        verdict = verdict_on(SER, *against)
    finally:
        sys.setrecursionlimit(before)
    assert verdict.outcome == INVALID
    assert f"{pairs - 13} orders of versions follow from the rest" in verdict.anomalies[0].sentence


def test_orders_that_are_excluded_are_told_with_their_cycles():
    for level, type_ in [(SER, "G2-item"), (SI, "G-nonadjacent-item")]:
        verdict = verdict_on(level, *FORKED)
        assert verdict.outcome == INVALID
        [anomaly] = verdict.anomalies
        assert anomaly.type == type_
        assert level in ruled_out([anomaly.type])
        assert "cannot be together: then" in anomaly.sentence
        assert verdict.details["decided_by"] == "SAT solver"


@pytest.mark.parametrize("compared", [0, 1000])
def test_the_solver_finds_an_order_or_learns_that_there_is_none(compared, monkeypatch):
    """With and without the cycles that are found beforehand."""
    pytest.importorskip("pysat")
    monkeypatch.setattr(sat, "COMPARED", compared)
    without_suggestions(monkeypatch)
    for left_out in (0, *range(5, 9)):
        sessions = [one for number, one in enumerate(FORKED, 1) if number != left_out]
        for level in (SER, SI):
            verdict = verdict_on(level, *sessions)
            assert verdict.details["decided_by"] == "SAT solver"
            assert verdict.outcome == (VALID if left_out else INVALID), (level, left_out)


@pytest.mark.parametrize("others", [0, 40])
def test_what_follows_from_reads_is_told_before_what_it_leads_to(others):
    """One reader puts x = 2 before x = 1 and another the opposite, each by what else it saw; others tell nothing."""
    readers = ["x?1", "x?2"] * others
    verdict = verdict_on(SER, "x=1", "x=2 y=1", *readers, "y?1 x?1", "x?1 z=1", "z?1 x?2")
    assert verdict.outcome == INVALID
    [anomaly] = verdict.anomalies
    assert "cannot be: then" in anomaly.sentence
    assert verdict.details["decided_by"] == "pruning"


def test_without_a_solver_it_is_unknown_and_says_how_to_get_one():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sat, "is_available", lambda: False)
        verdict = verdict_on(SER, *FORKED)
    assert verdict.outcome == UNKNOWN
    assert "pip install python-sat" in verdict.sentence


def test_limits_make_it_unknown():
    times = iter(range(100))
    verdict = check_polygraph(history(*FORKED), SER, Limits(time_s=0.5, clock=lambda: float(next(times))))
    assert verdict.outcome == UNKNOWN
    assert "the time allowed ran out" in verdict.sentence
    verdict = verdict_on(SER, *FORKED, memory_mb=0)
    assert verdict.outcome == UNKNOWN
    assert "0 MB allowed" in verdict.sentence


def test_transactions_that_read_what_they_write_never_need_a_solver():
    """Mini-transactions: each update makes the next version of its key, so no order is open, right or wrong."""
    sessions = [
        " | ".join(f"{key}?{number or ''} {key}={number + 1}" for number in range(30)) for key in "xyz"
    ]
    skewed = [*sessions, "x?3 y?5", "y?4 x?4"]
    for level in LEVELS:
        for found, outcome in [(sessions, VALID), (skewed, INVALID)]:
            verdict = verdict_on(level, *found)
            assert verdict.outcome == outcome
            assert verdict.details.get("chains") == 0
            assert verdict.details["decided_by"] in ("suggested order", "certain edges")


def test_a_level_of_another_page_is_refused():
    with pytest.raises(ValueError, match="'causal' is no level that is judged here"):
        verdict_on("causal", "x=1")


def test_sessions_count_where_there_are_no_times():
    """What violates read committed because of sessions violates all above it, though all orders be known."""
    known = history("y?1 y=2 | x? x=1", "x?1 x=2 | y? y=1")
    for level in ("read-committed", "causal", SI, SER, SESSION_SER):
        assert RwRegisterChecker(level).check_transactions(known, LIMITS).outcome == INVALID, level
    transactions = history("y?1 | x=1", "x?1 | y=1")
    for level in ("read-committed", "read-atomic", "causal", SI, SER, SESSION_SER):
        assert RwRegisterChecker(level).check_transactions(transactions, LIMITS).outcome == INVALID, level
    assert polygraph_checker.check_polygraph(transactions, SER, LIMITS).outcome == INVALID
    assert check_polygraph(transactions, SER, LIMITS).outcome == VALID


def test_where_there_are_no_times_the_sentence_says_that_sessions_count():
    """And no model about real time is said to be left."""
    for level in (SER, SI):
        verdict = RwRegisterChecker(level).check_transactions(history("x=1 | y?", "y=1 | x?"), LIMITS)
        assert verdict.outcome == INVALID
        assert (
            "; sessions count at every level, as the history records no times; what these" in verdict.sentence
        )
        assert not [name for name in verdict.details["strongest"] if name.startswith("strong-snapshot")]
        assert all(
            name.startswith("strong-session") or not name.startswith("strong")
            for name in verdict.details["strongest"]
        )
    verdict = RwRegisterChecker(SER).check_transactions(history("x=1 y=1", "x?1 y?"), LIMITS)
    assert "sessions count" not in verdict.sentence, "no session has two transactions"


def test_a_recorded_long_fork_is_no_snapshot_isolation():
    sessions = read_awdit(recorded("awdit/causal/long-fork.txt"))
    for level in UNTIMED:
        assert verdict_on(level, *sessions).outcome == INVALID
    for level in UNTIMED:
        assert verdict_on(level, *read_awdit(recorded("awdit/causal/fully-ser.txt"))).outcome == VALID


def read_isovista(path):
    """A line for each operation: `r(key,value,session,transaction)` or `w(...)`."""
    sessions: dict[str, dict[str, list[str]]] = {}
    for kind, key, value, session, number in re.findall(
        r"([rw])\((\d+),(\d+),(\d+),(\d+)\)", path.read_text()
    ):
        steps = sessions.setdefault(session, {}).setdefault(number, [])
        steps.append(f"{key}{'=' if kind == 'w' else '?'}{value}")
    return [" | ".join(" ".join(steps) for steps in session.values()) for session in sessions.values()]


def test_a_recorded_bug_of_postgres_violates_serializability():
    assert verdict_on(SER, *read_isovista(recorded("isovista/pg_ser_bug.txt"))).outcome == INVALID
