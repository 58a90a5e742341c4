"""Read committed, read atomic and causal: each violation at its smallest beside its innocent twin, and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.isolation import order_kernel, orders, reads_from, reads_from_kernel, weak_kernel, weak_levels
from checkers.isolation.lattice import ruled_out
from checkers.isolation.read_anomalies import find_read_anomalies
from checkers.isolation.weak_levels import CAUSAL, LEVELS, READ_ATOMIC, READ_COMMITTED, check_weak
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results.kernels import load_interpreted
from results.verdict import INVALID, UNKNOWN, VALID
from tests.checkers.isolation.brute_weak import satisfies
from tests.checkers.isolation.play import reachable
from tests.checkers.isolation.registers import columns, drawn, history, parsed
from tests.checkers.linearizability.recorded import recorded

LIMITS = Limits(time_s=600)


def strongest(transactions):
    """The strongest level that holds, None if none does; levels below it must hold, and those above it not."""
    outcomes = [check_weak(transactions, level, LIMITS).outcome for level in LEVELS]
    holds = outcomes.count(VALID)
    assert outcomes == [VALID] * holds + [INVALID] * (len(LEVELS) - holds)
    return LEVELS[holds - 1] if holds else None


NAMED = {
    "all sees all": (("x=1 y=1", "x?1 y?1 x=2"), CAUSAL),
    "an empty history": (("",), CAUSAL),
    "absent keys": (("x? y?", "x=1"), CAUSAL),
    "a lost update is causal": (("x=1", "x?1 x=2", "x?1 x=3"), CAUSAL),
    "write skew is causal": (("x? y=1", "y? x=1"), CAUSAL),
    "a long fork is causal": (("x=1", "y=1", "x?1 y?", "y?1 x?"), CAUSAL),
    "half of a transaction": (("x=1 y=1", "x?1 y?"), None),
    "half of a transaction that came between": (("x=1 y=1", "y? x?1"), READ_COMMITTED),
    "the new half first, then the old": (("x=1 y=1 | x=2 y=2", "y?2 x?1"), None),
    "the old half first, then the new": (("x=1 y=1 | x=2 y=2", "x?1 y?2"), READ_COMMITTED),
    "reads that are not repeatable": (("x=1 | x=2", "x?1 x?2"), READ_COMMITTED),
    "reads that are not repeatable, before all else": (("x?1 x?2", "x=1 | x=2"), READ_COMMITTED),
    "time goes back within a transaction": (("x=1 | x=2", "x?2 x?1"), None),
    "nor after what it wrote beside": (("x=2 | x=1 w=1", "w?1 x?1 x?2"), None),
    "it goes on, after what it wrote beside": (("x=1 w=1 | x=2", "w?1 x?1 x?2"), READ_COMMITTED),
    "without an order it doesn't": (("x=1", "x=2", "x?2 x?1"), READ_COMMITTED),
    "two readers disagree": (("x=1", "x=2", "x?1 x?2", "x?2 x?1"), None),
    "own session's write overlooked": (("x=1 | x=2 | x?1",), READ_COMMITTED),
    "own session's write overlooked, absent": (("x=1 | x?",), READ_COMMITTED),
    "an effect without its cause": (("x=1", "x?1 y=1", "y?1 x?"), READ_ATOMIC),
    "an effect with its cause": (("x=1", "x?1 y=1", "y?1 x?1"), CAUSAL),
    "an effect without its cause, overwritten": (("x=1 | x=2", "x?2 y=1", "y?1 x?1"), READ_ATOMIC),
    "an effect before its cause": (("y?1 | x=1", "x?1 | y=1"), None),
    "one of three keys overlooked, before": (("x=1 y=1 z=1", "y? z?1"), READ_COMMITTED),
    "one of three keys overlooked, after": (("x=1 y=1 z=1", "x?1 z?"), None),
    "one of three keys overlooked, in between": (("x=1 y=1 z=1 | x=2 y=2 z=2", "z?2 x?1"), None),
    "other keys than the three": (("b=1 d=1 f=1", "a? b?1", "d?1 c?", "e? f?1", "f?1 g?"), CAUSAL),
    "two sessions order the same writes differently": (("x=1 | x?2", "x=2 | x?1"), READ_COMMITTED),
    "a session's reads go back": (("x=1 | x=2", "x?2 | x?1"), READ_ATOMIC),
    "two sessions' reads go opposite ways": (("x=1", "x=2", "x?1 | x?2", "x?2 | x?1"), READ_ATOMIC),
    "a session's reads go back, after what failed": (("!z=1", "x=1 | x=2", "x?2 | x?1"), READ_ATOMIC),
    "an effect without its cause, after what failed": (("!z=1", "x=1", "x?1 y=1", "y?1 x?"), READ_ATOMIC),
    "a session's reads go on": (("x=1 | x=2", "x?1 | x?2"), CAUSAL),
    "read from what failed": (("!x=1", "x?1"), None),
    "did not read from what failed": (("!x=1", "x?"), CAUSAL),
    "read from what may have failed": (("~x=1", "x?1"), CAUSAL),
    "what may have failed is not whole": (("~x=1 y=1", "y? x?1"), READ_COMMITTED),
    "read from nobody": (("x=1", "x?2"), None),
    "read what was overwritten in the same transaction": (("x=1 x=2", "x?1"), None),
    "read what was not": (("x=1 x=2", "x?2"), CAUSAL),
    "own write missed": (("x=1", "x=2 x?1"), None),
    "own write seen": (("x=1", "x=2 x?2"), CAUSAL),
    "own write from the future": (("x?1 x=1",), None),
    "own deletion seen": (("x=1", "x= x?"), CAUSAL),
    "own write that the other overwrote": (("x=1 y=1", "x=2 y?1 x?2"), CAUSAL),
}


@pytest.mark.parametrize(("sessions", "level"), NAMED.values(), ids=list(NAMED))
def test_each_named_history_satisfies_what_it_does(sessions, level):
    transactions = parsed(*sessions)
    assert strongest(columns(transactions)) == level
    for one in LEVELS:
        assert satisfies(transactions, one) == (
            level is not None and LEVELS.index(one) <= LEVELS.index(level)
        )


def verdict_on(level, *sessions):
    return check_weak(history(*sessions), level, LIMITS)


def test_a_fractured_read_is_told_in_one_sentence():
    verdict = verdict_on(READ_ATOMIC, "x=1 y=1 | x=2 y=2", "x?2 y?1")
    assert verdict.outcome == INVALID
    [anomaly] = verdict.anomalies
    assert anomaly.type == "fractured-read"
    assert anomaly.sentence == (
        "T1 (process 1, events 2 and 5) read 'y' = 1 of T2 (process 0, events 0 and 3) and not 2 of "
        "T3 (process 0, events 7 and 10), though T1 read 'x' = 2 of T3, so T3 committed before T2; "
        "but T3 came after T2 in its session, so T2 committed before T3: no order of commits fits"
    )
    assert anomaly.key == "y"
    assert anomaly.operations == [0, 2, 3, 5, 7, 10]


def test_causes_are_followed_over_several_steps():
    verdict = verdict_on(CAUSAL, "x=1", "x?1 y=1", "y?1 | x?")
    [anomaly] = verdict.anomalies
    assert anomaly.type == "causality-violation"
    assert anomaly.sentence == (
        "T1 (process 2, events 11 and 15) read 'x' = nil and not 1 of T2 (process 0, events 0 and 4), though "
        "T3 (process 1, events 1 and 5) read 'x' = 1 of T2 and T4 (process 2, events 2 and 6) read 'y' = 1 of T3 "
        "and T1 came after T4 in its session"
    )


@pytest.mark.parametrize(
    ("sessions", "type_", "says"),
    [
        (("!x=1", "x?1"), "G1a", "wrote, and that failed"),
        (("x=1 x=2", "x?1"), "G1b", "which itself overwrote it with 2"),
        (("x=1", "x?2"), "garbage-read", "which nobody ever wrote"),
        (("x=1", "x=2 x?1"), "internal", "after it had itself written 2 there"),
        (("x?1 x=1",), "future-read", "which it wrote itself only later"),
        (("x?1 x=1 x=2",), "future-read", "which it wrote itself only later"),
        (
            ("y=1", "x=2", "x?1", "!x=1", "y=3"),
            "G1a",
            "which T2 (process 3, events 3 and 8) wrote, and that failed",
        ),
        (("y?1 | x=1", "x?1 | y=1"), "G1c-process", "no order of commits fits"),
        (("y?1 x=1", "x?1 y=1"), "G1c", "no order of commits fits"),
        (
            ("x=1 | x=2", "x?2 x?1"),
            "G-monotonic",
            "of T3 (process 0, events 7 and 10), though T1 read 'x' = 2 of T3",
        ),
    ],
)
def test_what_is_wrong_at_every_level_has_its_name(sessions, type_, says):
    for level in LEVELS[:1]:
        verdict = verdict_on(level, *sessions)
        assert verdict.outcome == INVALID
        assert {anomaly.type for anomaly in verdict.anomalies} == {type_}
        assert says in verdict.anomalies[0].sentence


def test_what_is_wrong_with_causality_rules_that_out():
    for level, sessions in [(CAUSAL, ("x=1", "x?1 y=1", "y?1 x?")), (READ_ATOMIC, ("x=1 y=1", "x?1 y?"))]:
        [anomaly] = verdict_on(level, *sessions).anomalies
        assert level in ruled_out([anomaly.type])


def test_a_value_written_twice_is_not_guessed():
    """Whichever of the two was read, nothing is wrong: unknown. What is wrong all the same is invalid."""
    for level in LEVELS:
        verdict = verdict_on(level, "x=1", "x=1", "x?1")
        assert verdict.outcome == UNKNOWN
        assert "1 read may have seen any of several writes" in verdict.sentence
        assert verdict_on(level, "x=1", "x=1", "x?1 y?2").outcome == INVALID
        assert verdict_on(level, "x=1 x=1", "x?1").outcome == VALID
        assert verdict_on(level, "!x=1", "x=1", "x?1").outcome == VALID
        assert verdict_on(level, "x=1 | x=", "x?").outcome == UNKNOWN


def test_a_level_of_another_page_is_refused():
    with pytest.raises(ValueError, match="'serializable' is no level that is judged here"):
        verdict_on("serializable", "x=1")


def test_limits_make_it_unknown():
    transactions = history("x=1 | x=2", "x?1 | x?2")
    times = iter(range(100))
    verdict = check_weak(transactions, CAUSAL, Limits(time_s=0.5, clock=lambda: float(next(times))))
    assert verdict.outcome == UNKNOWN
    assert "the time allowed (0.5 s) ran out" in verdict.sentence


def test_who_comes_before_itself_makes_a_cycle_alone_or_among_others():
    source, target = np.array([0, 1, 1, 2, 3], np.int32), np.array([1, 0, 1, 2, 0], np.int32)
    graph = orders.make_order(4, source, target)
    assert orders.find_cycles(graph, 8) == [[3], [2]]
    assert orders.find_cycles(graph, 1) == [[3]]
    for without in ([0, 1, 2, 4], [0, 2, 4]):
        assert orders.find_cycles(orders.make_order(4, source[without], target[without]), 8) == [
            [without.index(2)]
        ]


def test_a_cycle_that_is_too_long_to_be_sought_from_many_nodes_is_found_all_the_same(monkeypatch):
    """What demands many edges must not end in a broken checker."""
    sessions = ("a?3 b=1", "b?1 c=2", "c?2 a=3", "b?1 c?2")
    shortest = verdict_on(READ_COMMITTED, *sessions)
    monkeypatch.setattr("checkers.isolation.orders.MOST_LOOKED_AT", 0)
    assert shortest.outcome == INVALID
    assert verdict_on(READ_COMMITTED, *sessions) == shortest


@pytest.mark.parametrize(("again", "outcome"), [("", VALID), (" | x?7", INVALID)])
def test_a_session_that_reads_what_many_crashed_writers_wrote_demands_one_edge_each_time(again, outcome):
    """Each was alone in its session, and all before had been heard of: these follow from the edges that are there."""
    reader = " | ".join(f"x?{number}" for number in range(300)) + again
    verdict = check_weak(history(*(f"~x={number}" for number in range(300)), reader), CAUSAL, LIMITS)
    assert verdict.outcome == outcome
    assert verdict.details["demanded"] <= 300


@settings(max_examples=200, deadline=None)
@given(drawn(), st.sampled_from(LEVELS))
def test_brute_force_says_the_same(transactions, level):
    assert (check_weak(columns(transactions), level, LIMITS).outcome == VALID) == satisfies(
        transactions, level
    )


@settings(max_examples=200, deadline=None)
@given(drawn(most=4, unique=False), st.sampled_from(LEVELS))
def test_what_may_have_several_writers_is_never_judged_wrongly(transactions, level):
    outcome = check_weak(columns(transactions), level, LIMITS).outcome
    if outcome != UNKNOWN:
        assert (outcome == VALID) == satisfies(transactions, level)


@settings(max_examples=100, deadline=None)
@given(drawn(sessions=4, most=12), st.sampled_from(LEVELS))
def test_both_forms_of_the_kernels_say_the_same(transactions, level):
    found = columns(transactions)
    compiled = check_weak(found, level, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("checkers.isolation.reads_from.reads_from_kernel", load_interpreted(reads_from_kernel))
        patch.setattr("checkers.isolation.orders.order_kernel", load_interpreted(order_kernel))
        patch.setattr(weak_levels, "weak_kernel", load_interpreted(weak_kernel))
        assert check_weak(found, level, LIMITS) == compiled


@pytest.mark.parametrize("seed", range(8))
def test_few_sessions_at_a_time_demand_the_same_order(seed, monkeypatch):
    """What was heard of is held for as many sessions as there is room for, and edges are sought in parts."""
    shape = Shape(transactions=300, clients=7, kind="rw-register", keys=4, writes_per_key=0)
    store = ("strict-serializable", "causal", "read-committed")[seed % 3]
    transactions = run_store(shape, store, seed).transactions
    found = reads_from.find_reads_from(transactions)
    edges = weak_levels.happened_before(found)
    demanded = []
    for width, at_once in ((7, 1_000), (3, 1_000), (2, 17), (1, 5)):
        monkeypatch.setattr(weak_levels, "MOST_HEARD", 0)
        monkeypatch.setattr(weak_levels, "LEAST_WIDTH", width)
        monkeypatch.setattr(weak_levels, "AT_ONCE", at_once)
        rows = weak_levels._causal(found, edges, LIMITS, LIMITS.deadline())
        demanded.append(sorted(map(tuple, rows.tolist())))
    assert demanded[0]
    assert demanded == demanded[:1] * 4


def demanded_by_definition(found, level, happened):
    """Every `t2 -> t1` that the definition of a level demands."""
    session = np.zeros(found.initial + 1, int)
    session[found.sessions] = np.repeat(np.arange(len(found.session_first) - 1), np.diff(found.session_first))
    writers = {}
    for number in found.sessions.tolist():
        for write in range(found.write_first[number], found.write_first[number + 1]):
            writers.setdefault(found.write_key[write], []).append(number)
    pairs = set()
    for t3 in found.sessions.tolist():
        reads = range(found.read_first[t3], found.read_first[t3 + 1])
        for read in reads:
            earlier = reads if level == READ_ATOMIC else range(reads.start, read)
            seen = set(found.read_source[earlier].tolist())
            for t2 in writers.get(found.read_key[read], []):
                if level == CAUSAL:
                    must = happened[t2, t3]
                else:
                    must = t2 in seen or (
                        level == READ_ATOMIC and session[t2] == session[t3] and happened[t2, t3]
                    )
                if must and t2 not in (t3, found.read_source[read]):
                    pairs.add((t2, int(found.read_source[read])))
    return pairs


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("store", "keys", "clients", "micro_operations"),
    [
        ("strict-serializable", 3, 3, 2),
        ("snapshot-isolation", 30, 5, 8),
        ("read-committed", 4, 12, 3),
        ("read-uncommitted", 2, 2, 2),
        ("causal", 5, 4, 3),
    ],
)
def test_what_is_demanded_is_what_the_definition_demands_or_follows_from_it(
    store, keys, clients, micro_operations, level
):
    """Long sessions, large transactions, and stores that keep less than the level."""
    shape = Shape(
        transactions=90,
        clients=clients,
        kind="rw-register",
        keys=keys,
        writes_per_key=0,
        micro_operations=micro_operations,
        crash_share=0.05,
    )
    found = reads_from.find_reads_from(run_store(shape, store, 1).transactions)
    before = weak_levels.happened_before(found)
    if len(find_read_anomalies(found, unrepeatable=level == READ_ATOMIC)):
        pytest.skip("told before anything is demanded")
    edges = list(zip(before.source.tolist(), before.target.tolist(), strict=True))
    happened = reachable(edges, found.initial + 1)
    after = weak_levels._with_demanded(found, before, level, LIMITS, LIMITS.deadline())
    all_edges = list(zip(after.source.tolist(), after.target.tolist(), strict=True))
    wanted = demanded_by_definition(found, level, happened)
    assert set(all_edges[after.demanded_from :]) <= wanted
    assert wanted
    initial_first = [(found.initial, number) for number in range(found.initial)]
    ways = reachable([*all_edges, *initial_first], found.initial + 1)
    assert all(ways[pair] for pair in wanted)


def read_awdit(path):
    """Sessions between lines of `=`, transactions between lines of `-`, `w key value` and `r key value`."""
    sessions = [[[]]]
    for line in path.read_text().splitlines():
        if line.startswith("="):
            sessions.append([[]])
        elif line.startswith("-"):
            sessions[-1].append([])
        elif line.strip():
            kind, key, value = line.split()
            sessions[-1][-1].append(f"{key}{'=' if kind == 'w' else '?'}{value}")
    return [" | ".join(" ".join(one) for one in session) for session in sessions]


@pytest.mark.parametrize("folder", ["none", READ_COMMITTED, READ_ATOMIC, CAUSAL])
def test_the_recorded_histories_satisfy_what_their_folder_says(folder):
    for path in sorted(recorded(f"awdit/{folder}").rglob("*.txt")):
        assert strongest(history(*read_awdit(path))) == (None if folder == "none" else folder), path.name
