"""Collection: what goes is what nobody may see any more, and who would have had to see it is refused."""

from __future__ import annotations

import random

from reference_db.api import (
    Collected,
    CollectVersions,
    CommitAtOnce,
    Get,
    RangeReply,
    RangeRequest,
    Refresh,
    SnapshotTooOld,
    Transaction,
    TransactionProtocol,
    WriteIntent,
    Written,
)
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.range_snapshot import install_snapshot, take_snapshot
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.by_protocol import evaluate_write
from reference_db.txn.collecting import checked
from reference_db.txn.command import Command, Mutation, PutIntent, PutVersion, RaiseThreshold
from reference_db.txn.evaluate import Leadership, why_invalid
from reference_db.txn.locks import Intent
from reference_db.txn.state import RangeState

TERM = 1


def at(wall: int) -> Timestamp:
    return Timestamp(wall, 0)


class OneRange:
    """A range on one engine; what is evaluated is applied at once."""

    def __init__(self, *mutations: Mutation, start: bytes = b"", end: bytes | None = None) -> None:
        self.engine = MemoryEngine()
        self.state = RangeState(self.engine, start, end)
        self.leadership = Leadership(ZERO)
        self.apply(*mutations)

    def apply(self, *mutations: Mutation) -> None:
        batch = WriteBatch()
        assert self.state.apply(Command(TERM, at(1), mutations), TERM, batch)
        self.engine.write(batch)

    def ask(self, request: RangeRequest, now: int = 1000) -> RangeReply:
        assert why_invalid(request, self.state) is None
        evaluation = evaluate_write(request, self.state, self.leadership, at(now), 0, TERM)
        if evaluation.command is not None:
            self.apply(*evaluation.command.mutations)
        return evaluation.reply

    def collect(self, threshold: int, key: bytes = b"", most: int = 100) -> Collected:
        reply = self.ask(RangeRequest(1, 1, 0, (CollectVersions(key, at(threshold), most),)))
        (result,) = reply.results
        assert isinstance(result, Collected)
        return result

    def versions(self) -> list[tuple[bytes, int]]:
        return [(key, one.timestamp.wall_ns) for key, one in self.state.mvcc.versions(b"", None)]


def transaction(
    protocol: TransactionProtocol = TransactionProtocol.RECORD, anchor: bytes = b"k"
) -> Transaction:
    return Transaction(b"t" * 16, anchor, at(500), at(500), protocol)


def test_what_newer_versions_hide_at_the_threshold_goes_and_nothing_else():
    world = OneRange(
        PutVersion(b"a", at(1), b"1"),
        PutVersion(b"a", at(5), b"2"),
        PutVersion(b"a", at(9), b"3"),
        PutVersion(b"b", at(2), b"only"),
    )
    result = world.collect(7)
    assert result == Collected(at(7), 1, None)
    assert world.versions() == [(b"a", 9), (b"a", 5), (b"b", 2)]
    assert world.state.threshold == at(7)


def test_a_deletion_goes_with_the_last_version_beneath_it_and_not_before():
    world = OneRange(
        PutVersion(b"a", at(1), b"1"),
        PutVersion(b"a", at(2), b"2"),
        PutVersion(b"a", at(3), b"3"),
        PutVersion(b"a", at(4), None),
    )
    # One at a time: while anything is beneath it the deletion must stay, or the value would come back to life.
    seen = []
    while world.versions():
        world.collect(10, most=1)
        seen.append(world.versions())
        assert (
            world.state.mvcc.get(b"a", at(100)) is None or world.state.mvcc.get(b"a", at(100)).value is None
        )  # type: ignore[union-attr]
    assert seen[-1] == []
    assert len(seen) <= 4


def test_reads_below_the_threshold_are_refused_and_those_above_find_what_was_there():
    world = OneRange(PutVersion(b"a", at(1), b"1"), PutVersion(b"a", at(5), b"2"))
    world.collect(7)
    owner = transaction()
    below = RangeReply(1, (), at(6))
    read = RangeRequest(1, 1, 0, (Get(b"a"),), timestamp=at(6), transaction=owner)
    assert checked(read, below, world.state).error == SnapshotTooOld(at(7))
    assert checked(read, RangeReply(1, (), at(7)), world.state).error is None
    # A refresh asks what happened since a moment: a deletion since then may be gone.
    refresh = RangeRequest(1, 1, 0, (Refresh(b"a", b"b", at(6)),), timestamp=at(20), transaction=owner)
    assert checked(refresh, RangeReply(1, (), at(20)), world.state).error == SnapshotTooOld(at(7))
    late = RangeRequest(1, 1, 0, (Refresh(b"a", b"b", at(7)),), timestamp=at(20), transaction=owner)
    assert checked(late, RangeReply(1, (), at(20)), world.state).error is None


def test_an_intent_keeps_what_is_beneath_it_and_the_threshold_below_it():
    lock = Intent(transaction(), at(6), b"new", 1)
    world = OneRange(
        PutVersion(b"k", at(1), b"1"),
        PutVersion(b"k", at(5), b"2"),
        PutVersion(b"m", at(1), b"1"),
        PutVersion(b"m", at(3), b"2"),
        PutIntent(b"k", lock),
    )
    result = world.collect(20)
    assert result.threshold == at(6).prev()
    assert world.versions() == [(b"k", 5), (b"k", 1), (b"m", 3)]


def test_no_write_of_a_transaction_slips_in_below_a_deletion_that_is_gone():
    world = OneRange(PutVersion(b"k", at(1), b"1"), PutVersion(b"k", at(8), None))
    world.collect(10)
    assert world.versions() == []
    # Protocol record: the intent, or the version of a commit at once, lies above the threshold.
    laying = RangeRequest(1, 1, 0, (WriteIntent(b"k", b"2", 1),), timestamp=at(5), transaction=transaction())
    (written,) = world.ask(laying).results
    assert isinstance(written, Written)
    assert written.timestamp > at(10)
    other = OneRange(PutVersion(b"k", at(1), b"1"), PutVersion(b"k", at(8), None))
    other.collect(10)
    at_once = RangeRequest(
        1,
        1,
        0,
        (CommitAtOnce(((b"k", b"2"),), may_forward=True),),
        timestamp=at(5),
        transaction=transaction(),
    )
    assert other.ask(at_once).error is None
    assert [one.timestamp > at(10) for _, one in other.state.mvcc.versions(b"", None)] == [True]


def test_the_first_committer_still_wins_where_his_deletion_is_gone():
    """Protocol primary-lock, a snapshot of 5: the key was written at 8 and deleted at 9, which nobody can see now."""
    owner = transaction(TransactionProtocol.PRIMARY_LOCK)
    world = OneRange(PutVersion(b"k", at(8), b"1"), PutVersion(b"k", at(9), None))
    world.collect(10)
    lock = RangeRequest(1, 1, 0, (WriteIntent(b"k", b"2", 1),), timestamp=at(5), transaction=owner)
    assert world.ask(lock).error == SnapshotTooOld(at(10))
    begun_later = RangeRequest(1, 1, 0, (WriteIntent(b"k", b"2", 1),), timestamp=at(11), transaction=owner)
    assert world.ask(begun_later).error is None


def test_the_threshold_goes_with_snapshots_into_both_halves_of_a_split_and_the_highest_outlives_a_merge():
    world = OneRange(
        PutVersion(b"a", at(1), b"1"), PutVersion(b"a", at(5), b"2"), PutVersion(b"x", at(1), b"1")
    )
    world.collect(7)
    batch = WriteBatch()
    world.state.narrow(b"m", batch)
    world.engine.write(batch)
    left, right = world.state, RangeState(world.engine, b"m", None)
    assert (left.threshold, right.threshold) == (at(7), at(7))
    batch = WriteBatch()
    right.apply(Command(TERM, at(1), (RaiseThreshold(at(9)),)), TERM, batch)
    world.engine.write(batch)
    assert RangeState(world.engine, b"", b"m").threshold == at(7)
    assert RangeState(world.engine, b"", None).threshold == at(9)
    copied = MemoryEngine()
    batch = WriteBatch()
    install_snapshot(batch, take_snapshot(world.engine, 2, b"m", None))
    copied.write(batch)
    assert RangeState(copied, b"m", None).threshold == at(9)


def test_readers_at_or_above_the_threshold_never_notice_a_collection():
    """Random histories: all reads at or above the threshold give the same before and after, however it is cut up."""
    for seed in range(40):
        stream = random.Random(seed)
        world = OneRange()
        wall = 0
        for _ in range(stream.randrange(1, 60)):
            wall += stream.randrange(1, 4)
            key = stream.choice([b"a", b"b", b"c", b"d\x00", b"e"])
            writer = stream.choice([b"", b"w" * 16])
            world.apply(PutVersion(key, at(wall), stream.choice([None, b"%d" % wall]), writer))
        threshold = stream.randrange(1, wall + 2)
        moments = [at(one) for one in range(threshold, wall + 2)]
        before = [world.state.mvcc.scan(b"", None, moment).pairs for moment in moments]
        key: bytes | None = b""
        rounds = 0
        while key is not None:
            key = world.collect(threshold, key, stream.choice([1, 2, 100])).resume
            rounds += 1
            assert rounds < 500
        assert [world.state.mvcc.scan(b"", None, moment).pairs for moment in moments] == before
        left = world.collect(threshold)
        assert (left.dropped, left.resume) == (0, None)
