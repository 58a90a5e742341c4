"""Registers: each anomaly at its smallest beside an innocent twin, and agreement with brute force."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.isolation import (
    components_kernel,
    cycles,
    cycles_kernel,
    dependencies,
    dependencies_kernel,
    register_kernel,
    serial_kernel,
)
from checkers.isolation.register_versions import CERTAIN, DERIVED, register_versions
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.isolation.serial_order import NOTHING, REAL_TIME, SESSIONS, find_serial_order, tightened
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results import kernels
from results.history import HistoryBuilder
from results.interchange import jepsen
from results.transaction_columns import TransactionsBuilder, transactions_of
from results.transactions import FOREVER
from tests.checkers.isolation.play import (
    direct_dependencies,
    is_serializable,
    is_snapshot_isolated,
    play,
    reachable,
    sees_consistently,
)
from tests.checkers.isolation.registers import history as columns
from tests.checkers.linearizability.recorded import recorded


def judged(text_or_history, isolation="strict-serializable", **options):
    history = play(text_or_history) if isinstance(text_or_history, str) else text_or_history
    return RwRegisterChecker(isolation, **options).check(history, Limits())


SMALLEST = {
    "G1a": ("! wx1 | rx1", "? wx1 | rx1"),
    "G1b": ("wx1 wx2 | rx1", "wx1 wx2 | rx2"),
    "G1c": ("wx1 ry2 | wy2 rx1", "wx1 ry2 | wy2 rx"),
    "G-single-item": ("wx1 wy1 | rx1 ry", "wx1 wy1 | rx1 ry1"),
    "G-nonadjacent-item": ("wx1 | wy1 | rx1 ry | rx ry1", "wx1 | wy1 | rx1 ry | rx1 ry1"),
    "G2-item": ("rx wy1 | ry wx1", "rx wy1 | ry1 wx1"),
    "write-skew": ("rx wy1 | ry wx1", "rx wy1 | ry1 wx1"),
    "G-single-item-process": ("0: wx1 \n 0: rx", "0: wx1 \n 0: rx1"),
    "G-single-item-realtime": ("0: wx1 \n 1: rx", "0: wx1 | 1: rx"),
    "G1c-process": ("0: rx1 \n 0: wx1", "0: rx \n 0: wx1 \n rx1"),
    "G1c-realtime": ("0: rx1 \n 1: wx1", "0: rx1 | 1: wx1"),
    "internal": ("wx1 rx", "wx1 rx1"),
    "future-read": ("rx1 wx1", "rx wx1 | wy1"),
    "lost-update": ("wx1 | rx1 wx2 | rx1 wx3", "wx1 | rx1 wx2 | rx2 wx3"),
    "dirty-update": ("! wx1 | rx1 wx2", "? wx1 | rx1 wx2"),
    "cyclic-versions": ("rx2 wx1 | rx1 wx2", "rx wx1 | rx1 wx2"),
    "G2-item-realtime": (
        # x was 2 for somebody who began after another, who saw 1, was over; and later it was 1 again.
        "wx1 \n wx2 \n rx1",
        "wx1 \n wx2 \n rx2",
    ),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_each_anomaly_at_its_smallest_and_its_innocent_twin(name):
    guilty, innocent = SMALLEST[name]
    verdict = judged(guilty)
    assert verdict.outcome == "invalid", verdict.sentence
    seen = verdict.details["anomaly_types"].keys()
    assert name in seen or (name.startswith("G2-item-r") and seen & {"G-single-item-realtime"}), (
        verdict.details
    )
    assert all(anomaly.sentence.startswith(anomaly.type) for anomaly in verdict.anomalies)
    twin = judged(innocent)
    assert twin.outcome == "valid", twin.sentence


def test_the_sentence_says_what_was_read_and_what_was_later():
    (anomaly,) = judged("0: rx wy1 | 1: ry wx1").anomalies
    assert anomaly.sentence.startswith(
        'G2-item (write-skew): T1 read null from key "x" and not T2\'s write of 1, which is later, so T1 came before '
        'T2; but T2 read null from key "y" and not T1\'s write of 1, which is later, so T2 came before T1: a '
        "contradiction. Here T1 = "
    )


def test_an_order_that_only_real_time_gives_is_told_with_who_knew_what_when():
    (anomaly, *_) = judged("wx1 \n wx2 \n rx1").anomalies
    assert "whoever knew 1 was over by event" in anomaly.sentence or "was over (event" in anomaly.sentence


@pytest.mark.parametrize(
    ("text", "isolation", "options", "outcome"),
    [
        # x changes from 2 back to 1 for one session: nothing is wrong unless versions are promised to be in order.
        ("0: wx1 | 1: wx2 \n 2: rx2 \n 2: rx1", "serializable", {}, "valid"),
        ("0: wx1 | 1: wx2 \n 2: rx2 \n 2: rx1 \n 2: rx2", "serializable", {}, "valid"),
        (
            "0: wx1 | 1: wx2 \n 2: rx2 \n 2: rx1 \n 2: rx2",
            "serializable",
            {"sequential_keys": True},
            "invalid",
        ),
        (
            "0: wx1 | 1: wx2 \n 2: rx2 \n 3: rx1 \n 4: rx2",
            "serializable",
            {"linearizable_keys": True},
            "invalid",
        ),
        ("0: wx1 | 1: wx2 \n 2: rx2 \n 2: rx1 \n 2: rx2", "strong-session-serializable", {}, "invalid"),
        ("rx wy1 | ry wx1", "snapshot-isolation", {}, "valid"),
        ("rx wy1 | ry wx1", "causal", {}, "valid"),
        ("rx wy1 | ry wx1", "repeatable-read", {}, "invalid"),
        # A read that misses its own transaction's write, whether the order of the versions is known or not.
        ("rx wx1 rx", "repeatable-read", {}, "invalid"),
        ("wx1 \n wx2 wx3 rx2", "repeatable-read", {}, "invalid"),
        ("rx wx1 rx", "read-committed", {}, "valid"),
        ("wx1 wy1 | rx1 ry", "read-atomic", {}, "invalid"),
        ("wx1 wy1 | rx1 ry", "read-committed", {}, "valid"),
        ("wx1 | rx1 wy2 | ry2 rx", "read-atomic", {}, "valid"),
        ("wx1 | rx1 wy2 | ry2 rx", "causal", {}, "invalid"),
    ],
)
def test_each_level_is_judged_by_what_it_promises(text, isolation, options, outcome):
    assert judged(text, isolation, **options).outcome == outcome


def test_commit_timestamps_of_the_database_order_the_versions():
    """By its own timestamps 2 came last, so a reader that saw 1 and wrote y missed it."""
    for times, outcome in (((10, 20, 30), "invalid"), ((20, 10, 30), "valid")):
        builder = TransactionsBuilder(of_registers=True, has_real_time=False)
        steps = [[["w", "x", 1]], [["w", "x", 2], ["w", "y", 2]], [["r", "x", 1], ["r", "y", 2]]]
        for number, (plan, time) in enumerate(zip(steps, times, strict=True)):
            builder.complete(builder.invoke(number, number, plan), number, "ok", plan, committed_at=time)
        verdict = RwRegisterChecker("serializable").check_transactions(builder.done(), Limits())
        assert verdict.outcome == outcome, verdict.sentence


def test_commit_timestamps_of_a_history_that_tie_order_nothing():
    """Recorded with the completions: 2 came after 1, or nobody knows, and then a reader of 1 and y missed nothing."""
    for times, outcome in (
        ((10, 20), "invalid"),
        ((20, 10), "valid"),
        ((10, 10), "valid"),
        ((10, None), "valid"),
    ):
        builder = HistoryBuilder()
        steps = [[["w", "x", 1]], [["w", "x", 2], ["w", "y", 2]], [["r", "x", 1], ["r", "y", 2]]]
        for number, plan in enumerate(steps):
            builder.invoke(number, "txn", [[f, key, None if f == "r" else value] for f, key, value in plan])
        for number, (plan, time) in enumerate(zip(steps, (*times, 30), strict=True)):
            builder.ok(number, plan, committed_at=time)
        verdict = RwRegisterChecker("serializable").check(builder.done(), Limits())
        assert verdict.outcome == outcome, verdict.sentence


def test_a_value_that_nobody_wrote_may_have_been_there_before():
    verdict = judged("wx1 | rx3 \n rx1")
    assert verdict.outcome == "valid"
    assert verdict.details["unwritten_values"] == 1


INITIAL_VALUES = {
    # 9 was there before: whoever sees it missed every write of x. Left guilty, right innocent.
    "strict-serializable": ("0: wx1 \n 1: rx9", "0: wx1 | 1: rx9"),
    "strong-session-serializable": ("0: wx1 \n 0: rx9", "0: wx1 \n 1: rx9"),
    "serializable": ("wx1 wy1 | ry1 rx9", "wx1 wy1 | rx9 ry9"),
    "snapshot-isolation": ("wx1 wy1 | ry1 rx9", "rx9 wy1 | ry9 wx1"),
    "repeatable-read": ("rx9 wy1 | ry9 wx1", "rx9 wy1 | ry1 wx1"),
    "causal": ("wx1 | rx1 wy2 | ry2 rx9", "wx1 | rx9 wy2 | ry2 rx9"),
    "read-atomic": ("wx1 wy1 | ry1 rx9", "wx1 | rx1 wy2 | ry2 rx9"),
    "strong-snapshot-isolation": ("rx9 wx1 | rx9 wx2", "rx9 wx1 | rx1 wx2"),
}


@pytest.mark.parametrize("isolation", INITIAL_VALUES)
def test_a_known_initial_value_is_older_than_every_write(isolation):
    guilty, innocent = INITIAL_VALUES[isolation]
    verdict = judged(guilty, isolation, initial=9)
    assert verdict.outcome == "invalid", verdict.sentence
    assert {anomaly.type for anomaly in verdict.anomalies}.isdisjoint({"garbage-read", "unwritten-value"})
    twin = judged(innocent, isolation, initial=9)
    assert twin.outcome == "valid", twin.sentence
    unsaid = judged(guilty, isolation)
    assert unsaid.outcome != "invalid", f"nobody said that 9 was the initial value: {unsaid.sentence}"


@pytest.mark.parametrize("isolation", ["read-committed", "causal", "serializable", "strict-serializable"])
def test_what_nobody_wrote_is_garbage_where_the_initial_value_is_known(isolation):
    """Registers that were absent hold no 9, and such with a 9 are never found absent unless one is deleted."""
    for text, initial in (("wx1 | rx9", None), ("wx1 | rx", 9), ("wx1 | rx8", 9)):
        verdict = judged(text, isolation, initial=initial)
        assert verdict.outcome == "invalid", (text, verdict.sentence)
        assert {anomaly.type for anomaly in verdict.anomalies} == {"garbage-read"}
        assert f"it held {'null' if initial is None else 9}" in verdict.anomalies[0].sentence
    for text, initial in (("wx1 | rx", None), ("wx1 | rx9", 9)):
        assert judged(text, isolation, initial=initial).outcome == "valid", text


def test_without_an_initial_value_the_sentence_says_what_was_not_used():
    verdict = judged("0: wx1 \n 1: rx9")
    assert verdict.outcome == "valid"
    assert "nothing follows from 1 read of what nobody wrote" in verdict.sentence
    assert "--initial" in verdict.sentence


def test_the_sentence_names_the_initial_value():
    (anomaly,) = judged("0: wx1 \n 1: rx9", initial=9).anomalies
    assert anomaly.type == "G-single-item-realtime"
    assert 'T1 read 9 from key "x" and not T2\'s write of 1, which is later' in anomaly.sentence
    assert 'T1 = r "x" 9' in anomaly.sentence


def test_a_register_that_is_written_its_initial_value_again_may_have_been_read_before_or_after():
    """As with a register that is deleted."""
    for written, seen, initial in (9, 9, 9), (None, None, None):
        builder = HistoryBuilder()
        for process, plan, answer in (
            (0, [["w", "x", 1]], [["w", "x", 1]]),
            (1, [["w", "x", written]], [["w", "x", written]]),
            (2, [["r", "x", None]], [["r", "x", seen]]),
            (3, [["r", "x", None]], [["r", "x", 1]]),
        ):
            builder.invoke(process, "txn", plan)
            builder.ok(process, answer)
        assert judged(builder.done(), "serializable", initial=initial).outcome in ("valid", "unknown")
        builder = HistoryBuilder()
        for plan, answer in (
            ([["w", "x", 1]], [["w", "x", 1]]),
            ([["w", "x", written]], [["w", "x", written]]),
            ([["r", "x", None]], [["r", "x", seen]]),
        ):
            builder.invoke(0, "txn", plan)
            builder.ok(0, answer)
        assert judged(builder.done(), initial=initial).outcome in ("valid", "unknown")


def test_without_times_nothing_was_there_before():
    """Such files come from tools that begin with an empty database; all levels agree."""
    for isolation in ("read-committed", "read-atomic", "causal", "snapshot-isolation", "serializable"):
        verdict = RwRegisterChecker(isolation).check_transactions(columns("x=1", "x?2"), Limits())
        assert verdict.outcome == "invalid", isolation
        assert {anomaly.type for anomaly in verdict.anomalies} == {"garbage-read"}
        twin = RwRegisterChecker(isolation).check_transactions(columns("x=1", "x?1"), Limits())
        assert twin.outcome == "valid"


@pytest.mark.parametrize("text", ["rx \n wx1 | rx3 \n rx1", "rx3 | rx4 | wx1", "rx3 \n rx | wx1"])
def test_only_one_value_can_have_been_there_before(text):
    """Another that nobody wrote is garbage, and so is any where the key was seen absent."""
    verdict = judged(text)
    assert verdict.outcome == "invalid"
    assert {anomaly.type for anomaly in verdict.anomalies} == {"garbage-read"}
    assert "only one can have been there before" in verdict.anomalies[0].sentence


def test_values_written_twice_leave_their_key_undecided():
    verdict = judged("wx1 | wx1 | rx1")
    assert verdict.outcome == "unknown"
    assert "writes are not unique" in verdict.sentence


def depending(transactions, by_session, by_real_time):
    """Who depends on whom directly, of registers that are right, and all that sessions or real time say of the order
    of versions: the kinds of these edges are given, of ww; 0 if they are not asked for."""
    n = len(transactions)
    steps = [transactions.spelt(number) for number in range(n)]
    ok = [number for number in range(n) if transactions.outcome[number] == 1]
    writer = {(key, value): number for number in range(n) for f, key, value in steps[number] if f == "w"}
    observed = {
        writer[key, value]
        for number in ok
        for f, key, value in steps[number]
        if f == "r" and value is not None
    }
    counted = [number for number in range(n) if number in ok or number in observed]
    found = set()
    for key in transactions.keys:
        written, seen = {}, {}
        for number in counted:
            own = [(f, value) for f, one, value in steps[number] if one == key]
            for _, value in (step for step in own if step[0] == "w"):
                written[number] = value
            if number in ok and own and own[0][0] == "r":
                seen[number] = own[0][1]
        writer_of = {value: number for number, value in written.items()}
        readers = {
            value: [number for number in seen if seen[number] == value] for value in (None, *writer_of)
        }

        def put(before, after, ww, writer_of=writer_of, readers=readers):
            rw = dependencies.RW if ww == dependencies.WW else ww + 1
            found.update((number, writer_of[after], rw) for number in readers[before])
            if before is not None:
                found.add((writer_of[before], writer_of[after], ww))

        for number, value in seen.items():
            if value is not None:
                found.add((writer_of[value], number, dependencies.WR))
        times = transactions.committed_at
        if times is not None and all(times[number] >= 0 for number in written):
            order = sorted(written, key=times.__getitem__)
            for one, other in itertools.pairwise([None, *(written[number] for number in order)]):
                put(one, other, dependencies.WW)
            continue
        for number in written:
            found.update((one, number, dependencies.RW) for one in readers[seen.get(number)])
        known = {None: -1}
        used = {}
        for value, number in writer_of.items():
            ends = [transactions.end[one] for one in [*readers[value], number] if one in ok]
            known[value] = min(ends, default=FOREVER)
            used[value] = max(transactions.start[one] for one in [*readers[value], number])
        for before, after in itertools.permutations(writer_of, 2):
            if by_real_time is not None and known[before] < used[after]:
                put(before, after, by_real_time)
        if by_session is None:
            continue
        touched = [number for number in ok if number in written or number in seen]
        for one, other in itertools.combinations(touched, 2):
            before = written.get(one, seen.get(one))
            after = seen.get(other, written.get(other))
            same = transactions.process[one] == transactions.process[other]
            if same and before != after and None not in (before, after):
                put(before, after, by_session)
    return {(a, b, kind) for a, b, kind in found if a != b}


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        # A transaction reads twice.
        ("wx1 | rx1 rx1", "valid"),
        ("wx1 | wx2 | rx1 rx2", "invalid"),
        ("wx1 | rx rx1", "invalid"),
        # Of two writes of a value one failed.
        ("wx1 | ! wx1 | rx1", "valid"),
        ("! wx1 | wx1 | rx1", "valid"),
        ("wx1 | ! wx1 | wx2 wx3 | rx2", "invalid"),
        # Neither failed, so nobody knows which was read; another key is judged.
        ("wx1 | wx1 wx2 | rx1", "unknown"),
        ("wx1 | wx1 | rx1 | ! wy1 | ry1", "invalid"),
        # Of two keys, one was read as absent, and the other written blindly.
        ("ry | wx1 | wx2 | ry", "valid"),
        # What a crashed transaction would have read, nobody knows; but what others did.
        ("rx3 | ? rx | wx1", "valid"),
        ("rx3 | rx | wx1", "invalid"),
        ("? rx | ! wx1 | rx1", "invalid"),
    ],
)
def test_what_a_read_saw_by_itself(text, outcome):
    verdict = judged(text, "serializable")
    assert verdict.outcome == outcome, verdict.sentence


@pytest.mark.parametrize(
    "sessions", [("x=1 | x= | x?",), ("x? x=1 | x= | x? x=2",), ("x=1 | x=", "x?1", "x?")]
)
def test_who_deletes_a_register_makes_it_absent_again(sessions):
    for level in ("serializable", "strong-session-serializable"):
        verdict = RwRegisterChecker(level).check_transactions(columns(*sessions), Limits())
        assert verdict.outcome in ("valid", "unknown"), verdict.sentence
        wrong = RwRegisterChecker(level).check_transactions(columns(*sessions, "!x=5", "x?5"), Limits())
        assert wrong.outcome == "invalid"


FORKED = "wx1 | wx2 | wy1 | wy2 | rx1 ry2 | rx2 ry1 | rx1 ry1 | rx2 ry2"
"""Blind writes, and readers that saw every combination: no cycle shows it, but no order fits."""


@pytest.mark.parametrize("others", ["", " | rx" * 12 + " | ry1" * 12])
@pytest.mark.parametrize(
    "isolation",
    [
        "strict-serializable",
        "strong-session-serializable",
        "serializable",
        "strong-snapshot-isolation",
        "strong-session-snapshot-isolation",
        "snapshot-isolation",
    ],
)
def test_what_no_cycle_shows_is_wrong_all_the_same(isolation, others):
    """Of few sessions or many."""
    verdict = judged(FORKED + others, isolation, initial=None)
    assert verdict.outcome == "invalid", verdict.sentence
    for left_out in (" | rx1 ry2", " | rx2 ry2"):
        twin = judged(FORKED.replace(left_out, "") + others, isolation, initial=None)
        assert twin.outcome == "valid", twin.sentence


@pytest.mark.parametrize("level", ["serializable", "snapshot-isolation"])
def test_an_order_that_fits_but_for_sessions_is_none_where_these_count(level):
    """T5 saw x = 1 and y = 1, so T6 and T7, which saw one of these each, did not both come after it."""
    text = "wx1 | wx2 | wy1 | wy2 | 0: rx1 ry1 wz1 | rx2 ry1 rz1 \n 0: rx1 ry2"
    assert judged(text, level, initial=None).outcome == "valid"
    wrong = judged(text, f"strong-session-{level}", initial=None)
    assert wrong.outcome == "invalid", wrong.sentence
    twin = judged(text.replace(" rz1", ""), f"strong-session-{level}", initial=None)
    assert twin.outcome == "valid", twin.sentence


@pytest.mark.parametrize("text", ["wx1 | wx2 rx1", "wy1 | wx2 wx3 rx2", "wx1 | wx2 | rx1 rx2"])
def test_a_read_that_contradicts_its_own_transaction_is_told_as_that(text):
    assert "internal" in judged(text, "serializable").details["anomaly_types"]


def test_an_update_of_what_was_absent_is_lost_too():
    for isolation in ("snapshot-isolation", "serializable"):
        lost = judged("rx wx1 | rx wx2", isolation)
        assert lost.outcome == "invalid"
        assert lost.details["anomaly_types"]["lost-update"] == 1
        assert judged("rx wx1 | rx1 wx2", isolation).outcome == "valid"


def test_a_history_with_an_append_among_its_writes_is_refused():
    builder = HistoryBuilder()
    plan = [["w", "x", 1], ["append", "y", 1], ["r", "x", None]]
    builder.invoke(0, "txn", plan)
    builder.ok(0, [*plan[:2], ["r", "x", 1]])
    verdict = judged(builder.done())
    assert verdict.outcome == "unknown"
    assert "histories with appends cannot be judged here" in verdict.sentence


@pytest.mark.parametrize(
    ("keys", "clients", "is_timed"), [(2, 3, False), (1, 8, False), (12, 5, False), (8, 3, True)]
)
def test_dependencies_of_large_histories_are_those_of_the_definition_or_lead_to_them(keys, clients, is_timed):
    """Many versions of a register, and many that read one."""
    shape = Shape(
        transactions=70,
        clients=clients,
        kind="rw-register",
        keys=keys,
        writes_per_key=0,
        crash_share=0.1,
        abort_share=0.05,
        is_timed=is_timed,
    )
    transactions = run_store(shape, "strict-serializable", keys).transactions
    order = dependencies.orders(transactions)
    for by_session, by_real_time in ((0, 0), (DERIVED, 0), (CERTAIN, 0), (0, DERIVED), (0, CERTAIN)):
        kinds = [
            None if how == 0 else dependencies.WW if how == CERTAIN else kind
            for how, kind in (
                (by_session, dependencies.WW_BY_PROCESS),
                (by_real_time, dependencies.WW_BY_REALTIME),
            )
        ]
        wanted = depending(transactions, *kinds)
        for form in (lambda kernel: kernel, kernels.load_interpreted):
            versions = register_versions(
                transactions,
                order,
                by_session=by_session,
                by_real_time=by_real_time,
                kernel=form(register_kernel),
                edging=form(dependencies_kernel),
            )
            found = direct_dependencies(versions)
            assert found <= wanted
            ways = reachable([(a, b) for a, b, _ in found], len(transactions))
            assert all(ways[a, b] for a, b, _ in wanted)


@st.composite
def small_histories(draw, most=4):
    """Transactions on two registers; reads see any value that is written, or none."""
    count = draw(st.integers(2, most))
    numbers = itertools.count(1)
    plans = []
    for _ in range(count):
        plan = [
            (draw(st.sampled_from("rw")), draw(st.sampled_from("xy"))) for _ in range(draw(st.integers(1, 3)))
        ]
        plans.append([(f, key, next(numbers) if f == "w" else None) for f, key in plan])
    endings = [draw(st.sampled_from(["ok", "ok", "ok", "ok", "info", "fail"])) for _ in range(count)]
    answers = []
    for place, plan in enumerate(plans):
        answer = []
        own = {}
        for f, key, value in plan:
            if f == "w":
                own[key] = value
                answer.append(["w", key, value])
            elif key in own and draw(st.integers(0, 9)):
                answer.append(["r", key, own[key]])
            else:
                written = [
                    value
                    for other, others in enumerate(plans)
                    for f, k, value in others
                    if f == "w" and k == key and other != place and (endings[other] != "fail")
                ]
                seen = draw(st.sampled_from([None, *written]))
                own.setdefault(key, seen)
                answer.append(["r", key, own[key]])
        answers.append(answer)
    builder = HistoryBuilder()
    waiting, running = list(range(count)), []
    free = [0, 1] if draw(st.booleans()) else list(range(count))
    while waiting or running:
        if waiting and free and (not running or draw(st.booleans())):
            number, process = waiting.pop(0), free.pop(0)
            running.append((number, process))
            builder.invoke(process, "txn", [[f, k, None if f == "r" else v] for f, k, v in answers[number]])
        else:
            number, process = running.pop(draw(st.integers(0, len(running) - 1)))
            if endings[number] == "ok":
                builder.ok(process, answers[number])
            elif endings[number] == "fail":
                builder.fail(process)
            else:
                builder.info(process)
            free.append(process + 50 if endings[number] == "info" else process)
    return builder.done()


@settings(max_examples=250)
@given(small_histories())
def test_serializability_agrees_with_trying_every_order(history):
    """An invalid history has no serial order, and a valid one has; what is undecided is not counted."""
    for isolation, holds in (
        ("strict-serializable", is_serializable(history, strict=True)),
        ("strong-session-serializable", is_serializable(history, sessions=True)),
        ("serializable", is_serializable(history)),
    ):
        outcome = judged(history, isolation).outcome
        if outcome != "unknown":
            assert (outcome == "valid") == holds, isolation


@settings(max_examples=200)
@given(small_histories(), st.sampled_from(["parallel-snapshot-isolation", "prefix"]))
def test_levels_of_visibility_agree_with_trying_every_order(history, level):
    verdict = judged(history, level)
    if verdict.outcome != "unknown":
        assert (verdict.outcome == "valid") == sees_consistently(history, level), verdict.sentence


@pytest.mark.parametrize(
    ("text", "prefix", "parallel"),
    [
        ("rx wx1 | ry wy1 | rx1 ry | rx ry1", "invalid", "valid"),
        # Nobody read before writing, but a key that is written once, or on from there, has one order of versions.
        ("wx1 | wy1 | rx1 ry | rx ry1", "invalid", "valid"),
        ("wx1 | rx1 wx2 | wy1 | rx2 ry | rx1 ry1", "invalid", "valid"),
        ("wx1 | rx1 wx2 | wy1 | rx2 ry | rx1 ry", "valid", "valid"),
        # Who came second is not known, and that matters where an update may be lost.
        ("rx wx1 | rx wx2 \n rx1 wx3", "unknown", "invalid"),
        ("rx wy1 | ry wx1", "valid", "valid"),
        ("wx1 | wx2 | rx1 | rx2 | rx1 wy1", "valid", "valid"),
        ("wx1 wy1 | rx1 ry | wx2", "invalid", "invalid"),
    ],
)
def test_levels_between_read_atomic_and_snapshot_isolation(text, prefix, parallel):
    assert judged(text, "prefix", initial=None).outcome == prefix
    assert judged(text, "parallel-snapshot-isolation", initial=None).outcome == parallel


@settings(max_examples=150)
@given(small_histories())
def test_snapshot_isolation_agrees_with_trying_all_snapshots(history):
    outcome = judged(history, "snapshot-isolation").outcome
    if outcome != "unknown":
        assert (outcome == "valid") == is_snapshot_isolated(history)


@settings(max_examples=200)
@given(
    small_histories(),
    st.sampled_from(["strict-serializable", "serializable", "snapshot-isolation", "causal", "read-atomic"]),
)
def test_any_value_may_be_the_initial_one(history, isolation):
    """Where every read of nil is made one of 900, the history is as right or wrong as before."""
    builder = HistoryBuilder()
    for event in history.operations:
        value = event.value
        if event.type == "ok":
            value = [["r", key, 900] if (f, v) == ("r", None) else [f, key, v] for f, key, v in value]
        builder.event(event.process, event.type, event.f, value)
    moved = judged(builder.done(), isolation, initial=900)
    assert moved.outcome == judged(history, isolation, initial=None).outcome


@settings(max_examples=150)
@given(small_histories())
def test_strict_serializability_of_small_histories_is_mostly_decided(history):
    """Either a cycle or a serial order is found, wherever no key is deleted or written ambiguously."""
    verdict = judged(history)
    if any(pair.type == "ok" and any(step[0] == "r" for step in pair.value) for pair in history.pairs()):
        assert verdict.outcome != "unknown", verdict.sentence


@settings(max_examples=150)
@given(small_histories())
def test_a_serial_order_that_is_found_explains_every_read(history):
    transactions = transactions_of(history, of_registers=True)
    order = dependencies.orders(transactions)
    versions = tightened(transactions, order, register_versions(transactions, order, by_real_time=DERIVED))
    found = find_serial_order(versions, order, agreeing_with=REAL_TIME)
    if found is None or versions.findings:
        return
    look_at_serial_order(versions, found, REAL_TIME)


def look_at_serial_order(versions, found, agreeing_with):
    """Whether it has all that committed, explains every read, and agrees with what it has to."""
    transactions = versions.transactions
    assert sorted(found.tolist()) == np.flatnonzero(versions.is_committed).tolist()
    state = {}
    for number in found.tolist():
        for f, key, value in transactions.spelt(number):
            if f == "w":
                state[key] = value
            elif transactions.outcome[number] == 1:
                assert state.get(key) == value
    for one, other in itertools.combinations(found.tolist(), 2):
        if transactions.outcome[other] == 1 and transactions.end[other] < transactions.start[one]:
            assert agreeing_with != REAL_TIME
            assert agreeing_with != SESSIONS or transactions.process[one] != transactions.process[other]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("store", "agreeing_with", "least"),
    [
        ("strict-serializable", REAL_TIME, 9),
        ("strong-session-serializable", SESSIONS, 9),
        ("serializable", NOTHING, 1),
        ("serializable", REAL_TIME, 0),
        ("snapshot-isolation", NOTHING, 0),
        ("read-uncommitted", NOTHING, 0),
    ],
)
def test_a_serial_order_of_a_large_history_explains_every_read(store, agreeing_with, least, eager):
    """Where there is one it is found, and where there is none no other order is called one."""
    found = 0
    for seed, (keys, clients) in enumerate(((2, 3), (4, 6), (8, 4))):
        shape = Shape(
            transactions=60,
            clients=clients,
            kind="rw-register",
            keys=keys,
            writes_per_key=0,
            crash_share=0.1,
            abort_share=0.05,
        )
        made = run_store(shape, store, seed)
        order = dependencies.orders(made.transactions)
        versions = register_versions(made.transactions, order)
        for variant in range(3):
            serial = find_serial_order(
                versions, order, agreeing_with=agreeing_with, eager=eager, variant=variant
            )
            if serial is not None:
                found += 1
                look_at_serial_order(versions, serial, agreeing_with)
    assert found >= least


@settings(max_examples=60)
@given(small_histories())
def test_both_forms_of_the_kernels_say_the_same(history):
    transactions = transactions_of(history, of_registers=True)
    order = dependencies.orders(transactions)
    results = []
    for form in (lambda kernel: kernel, kernels.load_interpreted):
        for by_session, by_real_time in ((0, DERIVED), (CERTAIN, 0)):
            versions = register_versions(
                transactions,
                order,
                by_session=by_session,
                by_real_time=by_real_time,
                kernel=form(register_kernel),
                edging=form(dependencies_kernel),
            )
            count, component = dependencies.components(
                transactions, versions.dependencies, order, form(components_kernel)
            )
            found = cycles.find_cycles(
                len(transactions), versions.dependencies, order, count, component, kernel=form(cycles_kernel)
            )
            serial = find_serial_order(versions, order, agreeing_with=REAL_TIME, kernel=form(serial_kernel))
            results.append(
                (
                    versions.findings,
                    versions.position.tolist(),
                    versions.open_keys.tolist(),
                    versions.dependencies.target.tolist(),
                    versions.dependencies.kind.tolist(),
                    found,
                    None if serial is None else serial.tolist(),
                )
            )
    assert results[:2] == results[2:]


@pytest.mark.parametrize("isolation", ["serializable", "strict-serializable"])
def test_the_recorded_history_of_elle_is_valid(isolation):
    verdict = judged(jepsen.load(recorded("elle/rw-register.edn")), isolation)
    assert verdict.outcome == "valid", verdict.sentence


def test_a_bug_of_postgresql_violates_serializability():
    """Sessions, and no times; the values that the first transaction writes are the initial ones."""
    text = recorded("isovista/pg_ser_bug.txt").read_text()
    steps = {}
    for f, key, value, session, transaction in re.findall(r"([rw])\((\d+),(\d+),(\d+),(\d+)\)", text):
        steps.setdefault((int(session), int(transaction)), []).append([f, int(key), int(value)])
    builder = TransactionsBuilder(of_registers=True, has_real_time=False)
    for number, ((session, _), plan) in enumerate(sorted(steps.items())):
        builder.complete(builder.invoke(session, number, plan), number, "ok", plan)
    verdict = RwRegisterChecker("serializable").check_transactions(builder.done(), Limits())
    assert verdict.outcome == "invalid", verdict.sentence
    assert "serializable" in verdict.details["not"] + verdict.details["also-not"]
