"""How far evidence can be put in order: longest orders, the states after each step, and what cannot come next."""

from __future__ import annotations

from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.models import CasRegister, FencedLock, Mutex, OwnedMutex, Semaphore
from checkers.linearizability.orders import longest_orders
from results.history import HistoryBuilder, Pair
from results.operation import INFO, OK
from tests.checkers.linearizability.test_named import judge, story


def call(start: int, end: int, f: str, argument: object = None, result: object = None) -> Call:
    """A call that nobody recorded; without an `end` (`FOREVER`) it crashed."""
    type_ = INFO if end == FOREVER else OK
    return Call(pair_of(f), f, argument, result, type_, start, end)


def pair_of(f: str) -> Pair:
    builder = HistoryBuilder()
    builder.invoke(0, f, None)
    builder.ok(0)
    return next(iter(builder.done().pairs()))


def test_a_stale_read_is_what_the_only_longest_order_cannot_take_in():
    verdict = judge(story("0 write 1 ok", "0 write 2 ok", "1 read 1 ok"))
    evidence = verdict.anomalies[0].evidence
    assert evidence["all_orders_tried"]
    [order] = evidence["orders"]
    assert [step["state"] for step in order["steps"]] == ["1", "2"]
    assert [blocked["what"] for blocked in order["blocked"]] == ["read 1"]
    assert order["blocked"][0]["index"] == verdict.anomalies[0].operations[-2]


def test_two_writes_at_once_can_be_taken_either_way_and_neither_lets_both_readers_in():
    calls = [
        call(0, 3, "write", 1),
        call(1, 2, "write", 2),
        call(4, 7, "read", result=1),
        call(5, 6, "read", result=2),
    ]
    orders, whole = longest_orders(calls, CasRegister())
    assert whole
    assert sorted((order.steps[2][0].result, order.blocked[0].result) for order in orders) == [(1, 2), (2, 1)]
    assert all([len(order.steps), len(order.blocked)] == [3, 1] for order in orders)


def test_what_crashed_may_be_left_out_and_is_never_said_to_be_missing():
    calls = [call(0, 1, "write", 1), call(2, FOREVER, "cas", (5, 6)), call(3, 4, "read", result=9)]
    [order], _ = longest_orders(calls, CasRegister())
    assert [blocked.f for blocked in order.blocked] == ["read"]


def test_orders_of_a_history_that_is_right_end_nowhere():
    calls = [call(0, 1, "write", 1), call(2, 3, "read", result=1)]
    assert longest_orders(calls, CasRegister()) == ([], True)


def test_calls_keep_to_their_times():
    calls = [
        call(0, 1, "write", 1),
        call(2, 3, "read", result=1),
        call(4, 5, "write", 2),
        call(6, 7, "read", result=1),
    ]
    [order], whole = longest_orders(calls, CasRegister())
    assert whole
    assert [taken.start for taken, _ in order.steps] == [0, 2, 4]
    assert [blocked.start for blocked in order.blocked] == [6]


def test_an_order_that_may_begin_anywhere_says_so():
    model = CasRegister(0)
    calls = [call(0, 1, "read", result=1), call(2, 3, "read", result=2)]
    for states, start, taken in (([1, 2], "any state", [0]), (None, "0", [])):
        [order], _ = longest_orders(calls, model, states)
        told = order.as_evidence(model)
        assert (told["start"], [step["index"] for step in told["steps"]]) == (start, taken)
    assert told["blocked"] == [{"index": 0, "what": "read 1", "state": "0"}]


def test_of_many_longest_orders_three_are_told():
    """Four writes at once, of which any may be the last: the read is of none."""
    calls = [call(position, 10 + position, "write", position) for position in range(4)]
    orders, whole = longest_orders([*calls, call(20, 21, "read", result=77)], CasRegister())
    assert whole
    assert [[taken.start for taken, _ in order.steps] for order in orders] == [
        [0, 1, 2, 3],
        [0, 1, 3, 2],
        [0, 2, 3, 1],
    ]


def test_with_little_effort_it_says_that_not_all_were_tried():
    calls = [call(position, 100 + position, "write", position) for position in range(12)]
    calls.append(call(200, 201, "read", result=77))
    orders, whole = longest_orders(calls, CasRegister(), effort=120)
    assert not whole
    assert orders
    assert len(orders[0].steps) == 12


def test_states_of_locks_are_told_in_words():
    lock, fenced = OwnedMutex(), FencedLock()
    assert lock.describe_state(lock.initial_state()) == "free"
    assert lock.describe_state(("held by", 3)) == "held by process 3"
    assert fenced.describe_state((None, None, True)) == "free"
    assert fenced.describe_state((3, 7, True)) == "held by process 3, token 7"
    assert fenced.describe_state(("nobody of these", 7, False)) == "held by nobody of these, a token after 7"
    assert Semaphore(2).describe_state(1) == "1 of 2 permits left"
    assert Mutex().describe_state("held") == "'held'"
