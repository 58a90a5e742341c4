"""Latches: who waits for whom, fairness, and that everybody's turn comes."""

from __future__ import annotations

import random
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from reference_db.txn.latches import Latches, LatchGuard, LatchSpan


def write(key: bytes) -> LatchSpan:
    return LatchSpan(key)


def read(key: bytes) -> LatchSpan:
    return LatchSpan(key, None, False)


def test_writers_of_one_key_go_one_by_one_in_order() -> None:
    latches, order = Latches(), list[int]()
    guards = [latches.acquire([write(b"k")], partial(order.append, i)) for i in range(4)]
    assert [guard.is_granted for guard in guards] == [True, False, False, False]
    for guard in guards:
        assert guard.is_granted
        latches.release(guard)
    assert order == [1, 2, 3], "the first was granted at once, without a call"
    assert len(latches) == 0


def test_readers_share_and_a_waiting_writer_isnt_overtaken() -> None:
    """Fairness: 1. two readers hold; 2. a writer waits; 3. a third reader comes and waits behind the writer, although
    it could share with those who hold."""
    latches, order = Latches(), list[str]()
    first, second = latches.acquire([read(b"k")]), latches.acquire([read(b"k")])
    writer = latches.acquire([write(b"k")], lambda: order.append("writer"))
    late = latches.acquire([read(b"k")], lambda: order.append("late reader"))
    assert first.is_granted
    assert second.is_granted
    assert not writer.is_granted
    assert not late.is_granted
    latches.release(second)
    assert order == []
    latches.release(first)
    assert order == ["writer"]
    latches.release(writer)
    assert order == ["writer", "late reader"]


def test_other_keys_dont_wait() -> None:
    latches = Latches()
    latches.acquire([write(b"a")])
    assert latches.acquire([write(b"b")]).is_granted
    assert latches.acquire([LatchSpan(b"aa", b"b")]).is_granted


def test_spans_meet_points_and_each_other_at_half_open_ends() -> None:
    latches = Latches()
    scan = latches.acquire([LatchSpan(b"b", b"d", False)])
    assert scan.is_granted
    assert latches.acquire([write(b"d")]).is_granted
    assert latches.acquire([write(b"az")]).is_granted
    assert latches.acquire([read(b"c")]).is_granted
    assert latches.acquire([LatchSpan(b"d\x00", b"f", False)]).is_granted
    inside = latches.acquire([write(b"b")])
    assert not inside.is_granted
    assert not latches.acquire([LatchSpan(b"cc", b"x", True)]).is_granted
    latches.release(scan)
    assert inside.is_granted


def test_a_request_never_waits_for_itself() -> None:
    latches = Latches()
    guard = latches.acquire([write(b"a"), write(b"a"), LatchSpan(b"a", b"c"), read(b"b")])
    assert guard.is_granted
    latches.release(guard)
    assert len(latches) == 0


def test_a_span_named_twice_lets_go_of_nobody_elses() -> None:
    latches = Latches()
    twice = latches.acquire([write(b"k"), write(b"k")])
    second = latches.acquire([write(b"k")])
    latches.release(twice)
    assert second.is_granted
    assert not latches.acquire([write(b"k")]).is_granted


def test_giving_up_a_place_lets_those_behind_go() -> None:
    """1. a holds; 2. b waits for a; 3. c waits for b (and a); 4. b gives up: c still waits for a only."""
    latches, order = Latches(), list[str]()
    a = latches.acquire([write(b"k")])
    b = latches.acquire([write(b"k")], lambda: order.append("b"))
    c = latches.acquire([write(b"k")], lambda: order.append("c"))
    latches.release(b)
    latches.release(b)
    assert order == []
    latches.release(a)
    assert order == ["c"]
    assert c.is_granted
    assert not b.is_granted
    latches.release(c)
    assert len(latches) == 0


def test_multi_key_requests_that_cross_dont_deadlock() -> None:
    latches = Latches()
    one = latches.acquire([write(b"a"), write(b"b")])
    two = latches.acquire([write(b"b"), write(b"a")])
    assert one.is_granted
    assert not two.is_granted
    latches.release(one)
    assert two.is_granted


def test_a_callback_may_release_and_acquire() -> None:
    latches, order = Latches(), list[str]()
    guards: dict[str, LatchGuard] = {}

    def granted(name: str) -> None:
        order.append(name)
        latches.release(guards[name])

    first = latches.acquire([write(b"k")])
    for name in ("b", "c", "d"):
        guards[name] = latches.acquire([write(b"k")], partial(granted, name))
    latches.release(first)
    assert order == ["b", "c", "d"]
    assert len(latches) == 0


points = st.sampled_from([b"a", b"b", b"c", b"d"])
spans = st.builds(LatchSpan, points, st.none() | st.sampled_from([b"b", b"c", b"d", b"e"]), st.booleans())


@given(st.lists(st.lists(spans, min_size=1, max_size=3), min_size=1, max_size=12), st.integers(0, 2**32))
def test_holders_never_conflict_order_is_kept_and_everybody_gets_a_turn(
    requests: list[list[LatchSpan]], seed: int
) -> None:
    stream = random.Random(seed)
    latches = Latches()
    waiting = list(enumerate(requests))
    held: list[tuple[int, LatchGuard]] = []
    queued: list[tuple[int, LatchGuard]] = []
    called: set[int] = set()
    turns: list[int] = []

    def conflicting(one: int, other: int) -> bool:
        return any(a.conflicts_with(b) for a in requests[one] for b in requests[other])

    while waiting or held or queued:
        if waiting and (stream.random() < 0.6 or not held):
            number, wanted = waiting.pop(0)
            guard = latches.acquire(wanted, partial(called.add, number))
            (held if guard.is_granted else queued).append((number, guard))
            if guard.is_granted:
                turns.append(number)
        else:
            assert held, "nobody holds and somebody waits: a deadlock"
            latches.release(held.pop(stream.randrange(len(held)))[1])
            for entry in [entry for entry in queued if entry[1].is_granted]:
                assert entry[0] in called
                queued.remove(entry)
                held.append(entry)
                turns.append(entry[0])
        numbers = sorted(number for number, _ in held)
        assert not any(conflicting(a, b) for a in numbers for b in numbers if a < b)
    assert sorted(turns) == list(range(len(requests)))
    for at, number in enumerate(turns):
        assert not any(later < number and conflicting(later, number) for later in turns[at + 1 :])
    assert len(latches) == 0
