"""The store's turn, step by step, on one node with one replica: what is written when, and what waits for the sync."""

import random
from collections.abc import Callable

import pytest

from reference_db.api import (
    CompareAndSet,
    Get,
    IntentConflict,
    NotLeader,
    Pushed,
    Put,
    RangeMismatch,
    RangeOperation,
    RangeReply,
    RangeRequest,
    ResolveIntents,
    Transaction,
    TransactionStatus,
    ValueResult,
    WriteIntent,
    Written,
)
from reference_db.raft import Message, MessageKind
from reference_db.ranges.certain_reads import certainty
from reference_db.ranges.descriptor import bootstrap
from reference_db.ranges.options import StoreOptions
from reference_db.ranges.store import Store, bootstrap_store, read_descriptors
from reference_db.storage.engine import MemoryEngine
from reference_db.timestamp import HybridClock, Timestamp

WALL_NS = 1_700_000_000_000_000_000


class Bench:
    """A store by hand: turns and syncs happen when the test says so."""

    def __init__(
        self, nodes: tuple[str, ...] = ("n1",), engine: MemoryEngine | None = None, **options: int
    ) -> None:
        self.engine = engine if engine is not None else MemoryEngine()
        bootstrap_store(self.engine, "n1", nodes, bootstrap(1, nodes, len(nodes)))
        self.ns = 0
        self.syncs: list[Callable[[], None]] = []
        self.sent: list[tuple[str, int, object]] = []
        self.replies: list[RangeReply] = []
        self.store = Store(
            node="n1",
            names=dict(enumerate(nodes, 1)),
            engine=self.engine,
            clock=HybridClock(lambda: WALL_NS + self.ns),
            monotonic_ns=lambda: self.ns,
            options=StoreOptions(**options),
            random_stream=random.Random(1),
            send=lambda node, range_id, message: self.sent.append((node, range_id, message)),
            sync=self.syncs.append,
            wake=lambda: None,
            leader_changed=lambda _range, _leader: None,
        )
        self._id = 0

    def finish_sync(self) -> None:
        (done,) = self.syncs
        self.syncs.clear()
        self.engine.sync()
        done()

    def settle(self) -> None:
        """Turns until nothing is left to do."""
        for _ in range(20):
            if self.store.may_turn:
                self.store.turn()
            if self.syncs:
                self.finish_sync()

    def become_leader(self) -> None:
        self.store.replicas[1].campaign_if_new()
        self.store.tick()
        self.settle()
        assert self.store.replicas[1].leadership is not None

    def submit(self, *operations: RangeOperation, range_id: int = 1, generation: int = 1) -> int:
        self._id += 1
        self.store.submit(RangeRequest(self._id, range_id, generation, operations), self.replies.append)
        return self._id


def test_a_write_is_answered_only_after_a_sync_and_the_turn_that_applies_it() -> None:
    bench = Bench()
    bench.become_leader()
    batches, syncs = bench.engine.counters.batches, bench.engine.counters.syncs
    unsynced = bench.engine.unsynced
    bench.submit(Put(b"k", b"v"))
    bench.store.turn()
    assert bench.replies == []
    assert len(bench.syncs) == 1
    assert bench.engine.unsynced == unsynced + 1
    bench.finish_sync()
    assert bench.replies == [], "durable, but not applied before its turn"
    bench.store.turn()
    assert isinstance(bench.replies[0].results[0], Written)
    assert bench.engine.counters.batches == batches + 2
    assert bench.engine.counters.syncs == syncs + 1, "applying needs no sync"


def test_many_writes_of_a_turn_share_its_batch_and_its_sync() -> None:
    bench = Bench()
    bench.become_leader()
    batches, syncs = bench.engine.counters.batches, bench.engine.counters.syncs
    for number in range(100):
        bench.submit(Put(b"%d" % number, b"v"))
    bench.settle()
    assert len(bench.replies) == 100
    assert bench.engine.counters.syncs == syncs + 1
    assert bench.engine.counters.batches == batches + 2


def test_writes_of_one_key_follow_each_other() -> None:
    bench = Bench()
    bench.become_leader()
    bench.submit(Put(b"k", b"1"))
    bench.submit(CompareAndSet(b"k", b"1", b"2"))
    bench.submit(CompareAndSet(b"k", b"1", b"3"))
    bench.submit(Get(b"k"))
    bench.settle()
    applied = [getattr(reply.results[0], "applied", None) for reply in bench.replies]
    assert applied == [None, True, False, None]
    assert bench.replies[3].results[0] == ValueResult(b"2", bench.replies[1].timestamp)


def test_nothing_is_served_before_an_entry_of_the_own_term_is_applied() -> None:
    bench = Bench()
    bench.submit(Put(b"k", b"v"))
    assert isinstance(bench.replies[0].error, NotLeader)
    bench.store.replicas[1].campaign_if_new()
    bench.store.tick()
    bench.store.turn()
    bench.submit(Get(b"k"))
    if bench.store.may_turn:
        bench.store.turn()
    assert len(bench.replies) <= 1 or isinstance(bench.replies[1].error, NotLeader)
    bench.settle()
    assert len(bench.replies) == 2


def test_a_leader_that_hears_of_a_newer_term_refuses_what_waits() -> None:
    bench = Bench(("n1", "n2", "n3"))
    replica = bench.store.replicas[1]
    replica.campaign_if_new()
    bench.store.tick()
    bench.settle()
    term = replica.group.term
    for kind in (MessageKind.PRE_VOTE_RESPONSE, MessageKind.VOTE_RESPONSE):
        bench.store.receive(
            [(1, Message(kind, 1, 2, replica.group.term + (kind == MessageKind.PRE_VOTE_RESPONSE)))]
        )
        bench.settle()
    assert replica.group.is_leader
    bench.submit(Get(b"k"))
    bench.settle()
    assert bench.replies == [], "nobody has confirmed the leader's first entry"
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT, 1, 3, term + 5))])
    bench.settle()
    assert isinstance(bench.replies[0].error, NotLeader)
    assert bench.replies[0].error.leader == "n3"
    assert bench.store.open_requests == 0


def test_a_request_for_a_range_that_is_not_here_or_was_another_is_refused() -> None:
    bench = Bench()
    bench.become_leader()
    bench.submit(Get(b"k"), range_id=9)
    bench.submit(Get(b"k"), generation=2)
    bench.settle()
    assert [type(reply.error) for reply in bench.replies] == [RangeMismatch, RangeMismatch]


def test_what_was_applied_is_there_after_a_restart_and_a_torn_turn_is_not() -> None:
    bench = Bench()
    bench.become_leader()
    bench.submit(Put(b"kept", b"v"))
    bench.settle()
    bench.submit(Put(b"lost", b"v"))
    bench.store.turn()  # Written, and not synced.
    assert bench.engine.crash() > 0
    again = Bench(engine=bench.engine)
    assert [descriptor.id for descriptor in read_descriptors(bench.engine)] == [1]
    for _ in range(40):
        again.store.tick()
        again.settle()
    again.submit(Get(b"kept"))
    again.submit(Get(b"lost"))
    again.settle()
    assert [reply.results[0].value for reply in again.replies] == [b"v", None]  # type: ignore[union-attr]


def test_a_long_log_is_compacted() -> None:
    bench = Bench(log_entries_kept=10)
    bench.become_leader()
    for number in range(60):
        bench.submit(Put(b"k", b"%d" % number))
        bench.settle()
    replica = bench.store.replicas[1]
    assert replica.applied_index > 60
    assert replica.applied_index - replica.log.first_index() <= 21
    assert Bench(engine=bench.engine).store.replicas[1].applied_index == replica.applied_index


def leading_bench(*nodes: str) -> Bench:
    """A store whose one range it leads, as n1 of these nodes, with its first entry committed by half of the others."""
    bench = Bench(nodes)
    replica = bench.store.replicas[1]
    replica.campaign_if_new()
    bench.store.tick()
    bench.settle()
    enough = range(2, 2 + len(nodes) // 2)
    for kind in (MessageKind.PRE_VOTE_RESPONSE, MessageKind.VOTE_RESPONSE):
        told = replica.group.term + (kind == MessageKind.PRE_VOTE_RESPONSE)
        bench.store.receive([(1, Message(kind, 1, node, told)) for node in enough])
        bench.settle()
    term, last = replica.group.term, replica.group.last_index
    acknowledged = MessageKind.APPEND_RESPONSE
    bench.store.receive([(1, Message(acknowledged, 1, node, term, index=last)) for node in enough])
    bench.settle()
    assert replica.leadership is not None
    return bench


def ask_certainly(
    bench: Bench, moment: Timestamp, *promises: Pushed, asked_at: Timestamp | None = None
) -> None:
    """A transaction that knows all clocks reads k at this moment."""
    bench._id += 1
    reader = Transaction(b"r" * 16, b"", moment, moment)
    pushed = (certainty(moment), *promises)
    bench.store.submit(
        RangeRequest(bench._id, 1, 1, (Get(b"k"),), moment, reader, pushed, asked_at=asked_at),
        bench.replies.append,
    )
    bench.settle()


def test_a_read_below_a_confirmed_clock_needs_no_round_unless_somebody_was_pushed_for_it_since() -> None:
    bench = leading_bench("n1", "n2", "n3")
    term = bench.store.replicas[1].group.term
    moment = bench.store.clock.now()
    ask_certainly(bench, moment)
    assert bench.replies == [], "nothing was confirmed yet"
    context = next(
        message.context
        for _, _, message in reversed(bench.sent)
        if isinstance(message, Message) and message.kind == MessageKind.HEARTBEAT and message.context
    )
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT_RESPONSE, 1, 2, term, context=context))])
    bench.settle()
    assert len(bench.replies) == 1
    ask_certainly(bench, moment)
    assert len(bench.replies) == 2, "the same moment again: no round"
    promise = Pushed(b"w" * 16, moment.next())
    ask_certainly(bench, moment, promise)
    assert len(bench.replies) == 2, "it may pass an intent, so the leader must be one"
    ask_certainly(bench, moment, promise, asked_at=bench.store.clock.now())
    assert len(bench.replies) == 2, "the promise may be younger than what was confirmed"
    ask_certainly(bench, moment, promise, asked_at=moment)
    assert len(bench.replies) == 3, "what was promised was known before the leader was confirmed"


def test_a_follower_that_says_so_confirms_its_leader_up_to_its_clock() -> None:
    bench = leading_bench("n1", "n2", "n3")
    term = bench.store.replicas[1].group.term
    before, moment = bench.store.clock.now(), bench.store.clock.now()
    sent = len(bench.sent)
    bench.store.heard_follower(2, before, {1: term})
    ask_certainly(bench, moment)
    assert bench.replies == [], "its clock was lower than where is read: a later leader might write below"
    bench.store.heard_follower(2, moment, {1: term - 1})
    ask_certainly(bench, moment)
    assert bench.replies == [], "that was another term"
    rounds = len(bench.sent)
    assert rounds > sent
    bench.store.heard_follower(2, moment, {1: term})
    ask_certainly(bench, moment)
    assert len(bench.replies) == 1
    assert len(bench.sent) == rounds, "nobody had to be asked"
    bench.submit(Get(b"k"))
    bench.settle()
    assert len(bench.replies) == 1, "a read of now may have been asked for after that was said"


def test_of_five_two_followers_must_have_said_so() -> None:
    bench = leading_bench("n1", "n2", "n3", "n4", "n5")
    term = bench.store.replicas[1].group.term
    moments = [bench.store.clock.now() for _ in range(3)]
    bench.store.heard_follower(2, moments[2], {1: term})
    ask_certainly(bench, moments[0])
    assert bench.replies == []
    bench.store.heard_follower(3, moments[1], {1: term})
    for moment in moments:
        ask_certainly(bench, moment)
    assert len(bench.replies) == 2, "two clocks reach the first two moments, only one the third"


def write_intent(bench: Bench, holder: Transaction) -> None:
    """Lays an intent of this transaction on k, whose record is elsewhere."""
    bench._id += 1
    operations = (WriteIntent(b"k", b"v", 1),)
    bench.store.submit(RangeRequest(bench._id, 1, 1, operations, holder.began, holder), lambda _reply: None)
    bench.settle()


@pytest.mark.parametrize("operation", [Get(b"k"), Put(b"k", b"w")])
def test_who_meets_an_intent_waits_until_it_goes(operation: Get | Put) -> None:
    bench = Bench()
    bench.become_leader()
    holder = Transaction(b"h" * 16, b"k", bench.store.clock.now(), bench.store.clock.now())
    write_intent(bench, holder)
    bench.submit(operation)
    bench.submit(Get(b"other"))
    bench.settle()
    assert len(bench.replies) == 1, "who reads another key is not kept waiting"
    bench.submit(ResolveIntents(holder.id, (b"k",), TransactionStatus.COMMITTED, bench.store.clock.now()))
    bench.settle()
    assert [reply.error for reply in bench.replies] == [None] * 3
    assert not bench.store.open_requests
    if isinstance(operation, Get):
        assert isinstance(bench.replies[2].results[0], ValueResult)
        assert bench.replies[2].results[0].value == b"v"


def test_an_intent_that_does_not_go_is_told_at_the_next_tick() -> None:
    bench = Bench()
    bench.become_leader()
    holder = Transaction(b"h" * 16, b"k", bench.store.clock.now(), bench.store.clock.now())
    write_intent(bench, holder)
    number = bench.submit(Get(b"k"))
    bench.settle()
    assert bench.replies == []
    bench.store.tick()
    bench.settle()
    (reply,) = bench.replies
    assert reply.request_id == number
    assert isinstance(reply.error, IntentConflict)
    assert reply.error.conflicts[0].transaction == holder
    # Its latches are free all the while, or nobody could make the intent final.
    bench.submit(Get(b"k"))
    bench.submit(Get(b"k"))
    bench.settle()
    bench.submit(ResolveIntents(holder.id, (b"k",), TransactionStatus.ABORTED))
    bench.settle()
    assert [reply.error for reply in bench.replies[1:]] == [None] * 3


def test_without_waiting_an_intent_is_told_at_once() -> None:
    bench = Bench(lock_wait_ticks=0)
    bench.become_leader()
    write_intent(bench, Transaction(b"h" * 16, b"k", bench.store.clock.now(), bench.store.clock.now()))
    bench.submit(Get(b"k"))
    bench.settle()
    assert isinstance(bench.replies[0].error, IntentConflict)


def test_who_waits_for_an_intent_is_refused_when_the_leader_is_deposed() -> None:
    bench = leading_bench("n1", "n2", "n3")
    replica = bench.store.replicas[1]
    holder = Transaction(b"h" * 16, b"k", bench.store.clock.now(), bench.store.clock.now())
    write_intent(bench, holder)
    term, last = replica.group.term, replica.group.last_index
    bench.store.receive([(1, Message(MessageKind.APPEND_RESPONSE, 1, 2, term, index=last))])
    bench.settle()
    assert replica.state.locks
    bench.submit(Put(b"k", b"w"))
    bench.settle()
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT, 1, 2, term + 1))])
    bench.settle()
    assert [type(reply.error) for reply in bench.replies] == [NotLeader]
    assert not bench.store.open_requests


def test_a_folder_of_another_node_is_refused() -> None:
    engine = MemoryEngine()
    bootstrap_store(engine, "n1", ["n1", "n2"], bootstrap(2, ["n1", "n2"], 2))
    with pytest.raises(ValueError, match="belongs to"):
        bootstrap_store(engine, "n2", ["n1", "n2"], bootstrap(2, ["n1", "n2"], 2))


def test_whom_a_node_follows_is_said_under_a_version_that_changes_with_it() -> None:
    bench = Bench(("n1", "n2", "n3"))
    assert bench.store.follows(2)[1] == {}
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT, 1, 2, 5))])
    version, followed = bench.store.follows(2)
    assert followed == {1: 5}, "also before the turn that makes the term durable"
    bench.settle()
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT, 1, 2, 5))])
    bench.settle()
    assert bench.store.follows(2)[0] == version
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT, 1, 3, 6))])
    assert bench.store.follows(2)[1] == {}
    assert bench.store.follows(3)[1] == {1: 6}
    assert bench.store.follows(3)[0] > version


def test_what_a_follower_says_again_in_one_word_counts_only_if_that_was_heard() -> None:
    bench = leading_bench("n1", "n2", "n3")
    term = bench.store.replicas[1].group.term
    moments = [bench.store.clock.now() for _ in range(4)]
    bench.store.heard_follower(2, moments[0], None, version=7)
    ask_certainly(bench, moments[0])
    assert bench.replies == [], "7 was never heard"
    bench.store.heard_follower(2, moments[1], {1: term}, version=8)
    bench.store.heard_follower(2, moments[2], None, version=8)
    bench.store.heard_follower(2, moments[3], None, version=9)
    ask_certainly(bench, moments[2])
    assert len(bench.replies) == 1
    ask_certainly(bench, moments[3])
    assert len(bench.replies) == 1, "9 may be another leader"


def test_a_replica_that_is_gone_is_followed_ticked_and_asked_no_more() -> None:
    bench = Bench(("n1", "n2", "n3"))
    bench.store.receive([(1, Message(MessageKind.HEARTBEAT, 1, 2, 5))])
    bench.settle()
    version, followed = bench.store.follows(2)
    assert followed == {1: 5}
    (descriptor,) = read_descriptors(bench.engine)
    bench.store.remove_replica(1)
    assert bench.store.follows(2) == (version + 1, {})
    bench.store.tick()
    assert bench.store.counters.replica_ticks == 0
    bench.submit(Get(b"k"))
    assert isinstance(bench.replies[0].error, RangeMismatch)
    assert bench.store._add(descriptor).group.term == 5
    bench.store.tick()
    assert bench.store.counters.replica_ticks == 1
