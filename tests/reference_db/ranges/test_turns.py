"""What a turn costs with many ranges: one batch, at most one sync, and nothing leaves too early. Exact counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from reference_db.api import Put, RangeReply, RangeRequest
from reference_db.raft import Entry, Message, MessageKind
from reference_db.ranges.descriptor import bootstrap
from reference_db.ranges.heartbeats import Heartbeats
from reference_db.ranges.options import StoreOptions
from reference_db.ranges.store import Store, bootstrap_store
from reference_db.storage.engine import MemoryEngine
from reference_db.timestamp import HybridClock

RANGES = 40
WALL_NS = 1_700_000_000_000_000_000


class Bench:
    """A store of many ranges by hand: turns and syncs happen when the test says so."""

    def __init__(self, *nodes: str, **options: object) -> None:
        self.engine = MemoryEngine()
        self.descriptors = bootstrap(RANGES, nodes, len(nodes))
        bootstrap_store(self.engine, "n1", nodes, self.descriptors)
        self.syncs: list[Callable[[], None]] = []
        self.sent: list[Message] = []
        self.replies: list[RangeReply] = []
        self.store = Store(
            node="n1",
            names=dict(enumerate(nodes, 1)),
            engine=self.engine,
            clock=HybridClock(lambda: WALL_NS),
            monotonic_ns=lambda: 0,
            options=StoreOptions(**options),  # type: ignore[arg-type]
            random_stream=random.Random(1),
            send=lambda _node, _range, message: self.sent.append(message),
            sync=self.syncs.append,
            wake=lambda: None,
            leader_changed=lambda _range, _leader: None,
        )

    def finish_sync(self) -> None:
        (done,) = self.syncs
        self.syncs.clear()
        self.engine.sync()
        done()

    def run(self) -> Iterator[tuple[int, int]]:
        """Turns until there is nothing to do: the batches and syncs of each, its sync included."""
        while self.store._touched:
            before = self.store.counters.batches, self.store.counters.syncs
            self.store.turn()
            after = self.store.counters.batches, self.store.counters.syncs
            yield after[0] - before[0], after[1] - before[1]
            if self.syncs:
                self.finish_sync()

    def settle(self) -> list[tuple[int, int]]:
        return list(self.run())

    def lead_all(self) -> None:
        """With a single node: it leads everything."""
        for replica in self.store.replicas.values():
            replica.group.campaign()
            self.store._touch(replica)
        self.settle()

    def write_everywhere(self) -> None:
        for number, one in enumerate(self.descriptors):
            request = RangeRequest(number, one.id, one.generation, (Put(one.start or b"0", b"v"),))
            self.store.submit(request, self.replies.append)

    def append_everywhere(self, term: int = 1) -> None:
        """n2 leads all ranges, and sends each its first entry."""
        append = MessageKind.APPEND
        self.store.receive(
            [(one.id, Message(append, 1, 2, term, 0, 0, 0, (Entry(term, 1),))) for one in self.descriptors]
        )

    def acknowledgements(self) -> int:
        return sum(message.kind is MessageKind.APPEND_RESPONSE for message in self.sent)


def test_any_number_of_ranges_write_with_one_batch_and_one_sync() -> None:
    bench = Bench("n1")
    bench.lead_all()
    bench.write_everywhere()
    assert bench.settle() == [(1, 1), (1, 0)], "the entries, durably; then what they do, which needs no sync"
    assert len(bench.replies) == RANGES


def test_without_batching_each_range_has_a_batch_and_a_sync_of_its_own() -> None:
    bench = Bench("n1", batching="off")
    bench.lead_all()
    bench.write_everywhere()
    turns = bench.settle()
    assert turns.count((1, 1)) == RANGES
    assert turns.count((1, 0)) == RANGES
    assert len(turns) == 2 * RANGES
    assert len(bench.replies) == RANGES


def test_acknowledgements_of_all_ranges_leave_after_the_one_sync_and_not_before() -> None:
    bench = Bench("n1", "n2", "n3")
    bench.append_everywhere()
    syncs = bench.engine.counters.syncs
    bench.store.turn()
    assert bench.store.counters.batches == 1
    assert len(bench.syncs) == 1
    assert bench.acknowledgements() == 0
    bench.finish_sync()
    assert bench.acknowledgements() == RANGES
    assert bench.engine.counters.syncs == syncs + 1


def test_a_commit_index_alone_is_written_and_not_synced() -> None:
    bench = Bench("n1", "n2", "n3")
    bench.append_everywhere()
    bench.settle()
    row = [number for one in bench.descriptors for number in (one.id, 1, 1, 0)]
    bench.store.receive_heartbeats(2, Heartbeats(beats=tuple(row)))
    assert bench.settle() == [(1, 0)]
    assert all(replica.applied_index == 1 for replica in bench.store.replicas.values())


def test_while_a_sync_is_under_way_the_node_listens_and_answers_what_promises_nothing() -> None:
    bench = Bench("n1", "n2", "n3")
    bench.append_everywhere()
    bench.store.turn()
    assert not bench.store.may_turn
    row = [number for one in bench.descriptors for number in (one.id, 1, 0, 0)]
    bench.store.receive_heartbeats(2, Heartbeats(beats=tuple(row)))
    answers = bench.store.heartbeats.take("n2")
    assert answers is not None
    assert len(answers.answers) == 3 * RANGES
    # A second leader's word waits for its turn, and so does everything after it.
    bench.append_everywhere(term=2)
    bench.store.tick()
    assert {replica.group.term for replica in bench.store.replicas.values()} == {1}
    assert bench.acknowledgements() == 0
    bench.finish_sync()
    assert {replica.group.term for replica in bench.store.replicas.values()} == {2}
    assert bench.acknowledgements() == RANGES
    assert bench.settle() == [(1, 1)]
    assert bench.acknowledgements() == 2 * RANGES


@pytest.mark.parametrize("batching", ["on", "off"])
def test_votes_of_all_ranges_are_durable_before_they_are_given(batching: str) -> None:
    """What dies with a node makes one vote for each of its ranges: with batching, one sync for all of them."""
    bench = Bench("n1", "n2", "n3", batching=batching)
    ask = MessageKind.VOTE
    bench.store.receive([(one.id, Message(ask, 1, 3, 1, 0, 0)) for one in bench.descriptors])
    given: list[int] = []
    for turn in bench.run():
        assert turn == (1, 1)
        given.append(sum(message.kind is MessageKind.VOTE_RESPONSE for message in bench.sent))
    given.append(sum(message.kind is MessageKind.VOTE_RESPONSE for message in bench.sent))
    assert given[0] == 0
    assert given[-1] == RANGES
    steps = {after - before for before, after in pairwise(given)}
    assert steps == ({RANGES} if batching == "on" else {1})
