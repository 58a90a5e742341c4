"""The timestamp oracle at the first range's leader: only ever upward, never above a window that is not replicated."""

from __future__ import annotations

from reference_db.api import ORACLE_KEY, TakeTimestamps, TimestampsTaken
from reference_db.timestamp import MAX_LOGICAL, HybridClock, Timestamp
from reference_db.txn.evaluate import Leadership
from reference_db.txn.oracle import WINDOW_NS, window_of
from tests.reference_db.txn.one_leader import OneLeader


def take(leader: OneLeader, count: int = 1) -> Timestamp:
    taken = leader.result(TakeTimestamps(count))
    assert isinstance(taken, TimestampsTaken)
    assert taken.count == count
    return taken.first


def test_each_is_above_the_last_and_the_log_hears_of_them_twice_a_second() -> None:
    leader = OneLeader()
    last = take(leader)
    commands = 1
    for _ in range(1000):
        leader.wall_ns += 1_000_000
        taken = take(leader)
        assert taken > last
        last = taken
        assert leader.last is not None
        commands += leader.last.command is not None
        assert leader.last.confirm is (leader.last.command is None)
        assert last <= window_of(leader.state, ORACLE_KEY)
    assert commands == 2


def test_many_at_once_take_a_row_each() -> None:
    leader = OneLeader()
    first = take(leader, 5)
    assert take(leader) > Timestamp(first.wall_ns, first.logical + 4)


def test_a_row_that_would_pass_the_counters_end_begins_in_the_next_nanosecond() -> None:
    leader = OneLeader()
    leader.clock.forward(Timestamp(5_000, MAX_LOGICAL - 1))
    assert take(leader, 100) == Timestamp(5_001, 0)


def test_a_new_leader_begins_above_all_that_the_old_one_can_have_issued() -> None:
    """Its wall clock is far behind and has heard of no timestamp since the window was raised: only that tells it."""
    leader = OneLeader()
    last = take(leader)
    while last < window_of(leader.state, ORACLE_KEY):
        leader.wall_ns += WINDOW_NS // 7
        evaluation = leader.evaluate(TakeTimestamps())
        if evaluation.command is not None:
            break
        last = evaluation.reply.timestamp
    leader.clock = HybridClock(lambda: 1, bound_ns=1)
    leader.clock.bound_persisted(2**62)
    newest = leader.state.mvcc.newest(ORACLE_KEY)
    assert newest is not None
    leader.clock.forward(newest.timestamp)
    leader.term += 1
    leader.state.load()
    leader.leadership = Leadership(leader.clock.now())
    assert leader.clock.now() < last
    assert take(leader) > last


def test_requests_above_the_window_each_carry_it_so_none_depends_on_another() -> None:
    """Two are evaluated before either is applied, and only the second one comes to be."""
    leader = OneLeader()
    first, second = leader.evaluate(TakeTimestamps()), leader.evaluate(TakeTimestamps())
    assert first.command is not None
    assert second.command is not None
    assert leader.apply(second.command)
    assert first.reply.timestamp < second.reply.timestamp <= window_of(leader.state, ORACLE_KEY)
