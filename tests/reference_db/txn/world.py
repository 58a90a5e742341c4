"""A small world for transactions: two ranges that change leaders, coordinators that die, messages in any order.

No Raft and no network, only what they may do to evaluation: a request waits for its latches, its command is applied
later and in order, a change of leaders loses the end of the queue and some replies, a new leader's clock may stand
hours behind but has heard of everything its predecessor confirmed. One random stream decides everything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial

from reference_db.api import (
    Ambiguous,
    CommitAtOnce,
    CompareAndSet,
    Compared,
    CreateRecord,
    DeleteRecord,
    EndTransaction,
    Get,
    HeartbeatRecord,
    IntentConflict,
    IntentState,
    NotLeader,
    Pushed,
    PushKind,
    PushTransaction,
    Put,
    QueryIntent,
    RangeOperation,
    RangeReply,
    RangeRequest,
    ReadUncertain,
    RecordState,
    RecoverTransaction,
    Refresh,
    ResolveIntents,
    Scan,
    ScanResult,
    Transaction,
    TransactionAborted,
    TransactionPushed,
    TransactionStatus,
    ValueResult,
    WriteIntent,
)
from reference_db.storage.engine import Engine, MemoryEngine, WriteBatch
from reference_db.timestamp import HybridClock, Timestamp
from reference_db.txn.command import Command
from reference_db.txn.evaluate import (
    Leadership,
    begin_read,
    evaluate_read,
    evaluate_write,
    latch_spans,
    note_applied,
    why_invalid,
)
from reference_db.txn.latches import Latches, LatchGuard
from reference_db.txn.state import RangeState

PENDING, COMMITTED, ABORTED, MISSING, STAGING = TransactionStatus

HOUR = 3_600_000_000_000
EXPIRY_NS = 400_000
"""The world's clock ticks one microsecond per event."""

KEYS = tuple(b"k%d" % i for i in range(6))
SPANS: tuple[tuple[bytes, bytes | None], ...] = ((b"", b"k3"), (b"k3", None))

Requests = list[tuple[int, RangeRequest]]
Steps = Generator[Requests, list[RangeReply], None]


def range_of(key: bytes) -> int:
    return 0 if key < b"k3" else 1


@dataclass
class Done:
    """What a client learned: `committed` None is *unknown*."""

    name: str
    began: int
    reads: dict[bytes, bytes | None] = field(default_factory=dict)
    writes: dict[bytes, bytes] = field(default_factory=dict)
    ended: int | None = None
    committed: bool | None = None
    timestamp: Timestamp | None = None


@dataclass
class Waiting:
    """A request at a range, from its delivery to its reply."""

    request: RangeRequest
    reply: Callable[[RangeReply], None]
    epoch: int
    guard: LatchGuard | None = None
    answer: RangeReply | None = None


class Range:
    """A range under its present leader."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.engine = world.make_engine()
        self.start, self.end = SPANS[number]
        self.epoch = 0
        self.clock = world.new_clock()
        self.waiting: list[Waiting] = []
        self.log: list[tuple[Command, Waiting]] = []
        self.deposed: Deposed | None = None
        self.lead()

    def lead(self) -> None:
        self.state = RangeState(self.engine, self.start, self.end, remember=3)
        self.leadership = Leadership(self.clock.now(), EXPIRY_NS)
        self.latches = Latches()

    def deliver(self, request: RangeRequest, clock: Timestamp, reply: Callable[[RangeReply], None]) -> None:
        if self.deposed is not None and self.world.stream.random() < 0.1:
            self.deposed.answer(request, clock, reply)
            return
        self.clock.forward(clock)
        refusal = why_invalid(request, self.state)
        assert refusal is None, refusal
        waiting = Waiting(request, reply, self.epoch)
        self.waiting.append(waiting)
        begin = partial(self.world.later, partial(self.begin, waiting))
        waiting.guard = self.latches.acquire(latch_spans(request), begin)
        if waiting.guard.is_granted:
            begin()

    def begin(self, waiting: Waiting) -> None:
        if waiting.epoch != self.epoch:
            return
        request = waiting.request
        if request.is_read:
            at = begin_read(request, self.leadership, self.clock.now())
            self.world.later(partial(self.read, waiting, at))
            return
        evaluation = evaluate_write(
            request, self.state, self.leadership, self.clock.now(), self.world.now_ns, self.epoch
        )
        waiting.answer = evaluation.reply
        if evaluation.command is not None:
            self.log.append((evaluation.command, waiting))
            self.world.later(self.apply)
        elif evaluation.confirm:
            self.world.later(partial(self.finish, waiting))
        else:
            self.finish(waiting)

    def read(self, waiting: Waiting, at: Timestamp) -> None:
        if waiting.epoch == self.epoch:
            evaluation = evaluate_read(waiting.request, self.state, self.leadership, at)
            waiting.answer = evaluation.reply
            self.finish(waiting)

    def apply(self) -> None:
        if self.log:
            command, waiting = self.log.pop(0)
            self.carry_out(command)
            if waiting.epoch == self.epoch and waiting.answer is not None:
                note_applied(waiting.request, waiting.answer, command.timestamp, self.leadership)
            self.finish(waiting)

    def carry_out(self, command: Command) -> None:
        batch = WriteBatch()
        assert self.state.apply(command, command.term, batch)
        self.clock.forward(command.timestamp)
        self.engine.write(batch)

    def finish(self, waiting: Waiting) -> None:
        if waiting.epoch != self.epoch:
            return
        assert waiting.answer is not None
        assert waiting.guard is not None
        self.waiting.remove(waiting)
        self.latches.release(waiting.guard)
        waiting.reply(waiting.answer)

    def change_leader(self) -> None:
        """A prefix of the queue is committed, the rest is lost; nobody who waits learns a result."""
        stream = self.world.stream
        self.deposed = Deposed(self)
        kept = stream.randint(0, len(self.log))
        for command, _ in self.log[:kept]:
            self.carry_out(command)
        proposed = [waiting for _, waiting in self.log]
        self.log.clear()
        self.epoch += 1
        for waiting in self.waiting:
            if waiting not in proposed:
                error: NotLeader | Ambiguous = NotLeader(self.number)
            elif waiting in proposed[kept:] and stream.random() < 0.5:
                error = NotLeader(self.number)
            else:
                error = Ambiguous("the leader lost track of it")
            waiting.reply(RangeReply(waiting.request.request_id, error=error))
        self.waiting.clear()
        heard = self.clock.last
        self.clock = self.world.new_clock()
        self.clock.forward(heard)
        self.lead()


class Deposed:
    """A leader that doesn't know yet: it evaluates on what it had, and can neither propose nor confirm anything."""

    def __init__(self, leader: Range) -> None:
        engine = MemoryEngine()
        batch = WriteBatch()
        for key, value in leader.engine.scan(b"", b"\xff"):
            batch.put(key, value)
        engine.write(batch)
        self.world, self.number, self.epoch = leader.world, leader.number, leader.epoch
        self.state = RangeState(engine, leader.start, leader.end)
        self.leadership, self.clock = leader.leadership, leader.clock

    def answer(self, request: RangeRequest, clock: Timestamp, reply: Callable[[RangeReply], None]) -> None:
        self.clock.forward(clock)
        answer = RangeReply(request.request_id, error=NotLeader(self.number))
        if not request.is_read:
            evaluation = evaluate_write(
                request, self.state, self.leadership, self.clock.now(), self.world.now_ns, self.epoch
            )
            if evaluation.command is None and not evaluation.confirm:
                answer = evaluation.reply
                self.world.said_by_deposed += 1
        reply(answer)


class World:
    """Ranges, coordinators, and the events between them."""

    def __init__(
        self,
        seed: int,
        chaos: float = 0.004,
        deaths: float = 0.0,
        copies: float = 0.03,
        make_engine: Callable[[], Engine] = MemoryEngine,
        ways: tuple[str, ...] = ("record",),
    ) -> None:
        """`ways` are those in which transactions may commit: `record`, `staged`, and `at-once` where all that a
        transaction writes is in one range."""
        self.ways = ways
        self.committed_by = dict.fromkeys((*ways, "recovery"), 0)
        self.make_engine = make_engine
        self.stream = random.Random(seed)
        self.copies = copies
        self.chaos = chaos
        self.deaths = deaths
        self.now_ns = 0
        self.events: list[Callable[[], None]] = []
        self.ranges = [Range(self, number) for number in range(len(SPANS))]
        self.done: list[Done] = []
        self.running = 0
        self.next_id = 0
        self.said_by_deposed = 0
        """How many answers came from a leader that wasn't one any more, rightly so."""

    def new_clock(self) -> HybridClock:
        """A wall clock that is off by up to an hour."""
        offset = self.stream.randint(0, HOUR)
        clock = HybridClock(lambda: offset + self.now_ns, bound_ns=1)
        clock.bound_persisted(2**62)
        return clock

    def later(self, event: Callable[[], None]) -> None:
        self.events.append(event)

    def fresh_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def run(self, events: int) -> None:
        """Until nothing is left to do, at most so many events; a random event is next."""
        for _ in range(events):
            if not self.events:
                return
            self.now_ns += 1_000
            if self.stream.random() < self.chaos:
                self.stream.choice(self.ranges).change_leader()
            at = self.stream.randrange(len(self.events))
            self.events[at], self.events[-1] = self.events[-1], self.events[at]
            self.events.pop()()
        raise AssertionError(
            f"{len(self.events)} events are left, {self.running} clients still run after {events}"
        )

    def start(self, steps: Steps, clock: HybridClock, may_die: bool = False) -> None:
        self.running += 1
        self.later(partial(self.go_on, steps, clock, None, may_die))

    def go_on(
        self, steps: Steps, clock: HybridClock, replies: list[RangeReply] | None, may_die: bool
    ) -> None:
        if may_die and self.stream.random() < self.deaths:
            self.running -= 1
            steps.close()
            return
        try:
            requests = next(steps) if replies is None else steps.send(replies)
        except StopIteration:
            self.running -= 1
            return
        answers: dict[int, RangeReply] = {}

        def answered(at: int, leader: Range, reply: RangeReply) -> None:
            def arrive() -> None:
                clock.forward(heard)
                answers[at] = reply
                if len(answers) == len(requests):
                    self.go_on(steps, clock, [answers[i] for i in range(len(requests))], may_die)

            heard = leader.clock.last
            self.later(arrive)

        for at, (number, request) in enumerate(requests):
            target = self.ranges[number]
            self.later(partial(target.deliver, request, clock.last, partial(answered, at, target)))
            if self.stream.random() < self.copies and may_be_repeated(request):
                copy = partial(target.deliver, request, clock.last, lambda reply: None)
                self.much_later(copy, self.stream.randint(0, 60))

    def much_later(self, event: Callable[[], None], turns: int) -> None:
        """After that many chances."""
        self.later(partial(self.much_later, event, turns - 1) if turns else event)


def may_be_repeated(request: RangeRequest) -> bool:
    """Does a router send it again when it hears nothing? Then copies of it wander about, and arrive when they like."""
    return not any(
        isinstance(operation, Put | CompareAndSet)
        or (isinstance(operation, CommitAtOnce) and not operation.asked_before)
        or (isinstance(operation, EndTransaction) and operation.commit)
        for operation in request.operations
    )


class GiveUp(Exception):
    """The coordinator rolls back."""


class Coordinator:
    """One client's transactions and plain requests, by the book of `txn.evaluate`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.clock = world.new_clock()
        self.count = 0

    def ask(
        self,
        number: int,
        *operations: RangeOperation,
        transaction: Transaction | None = None,
        timestamp: Timestamp | None = None,
        may_forward: bool = False,
        repeat: bool = True,
    ) -> Generator[Requests, list[RangeReply], RangeReply]:
        """Until an answer other than *not leader* and *conflict*; and *ambiguous*, where asking twice is safe."""
        pushed: dict[bytes, Pushed] = {}
        for _ in range(200):
            request = RangeRequest(
                self.world.fresh_id(), number, 1, operations, timestamp, transaction,
                tuple(pushed.values()), may_forward,
            )  # fmt: skip
            (reply,) = yield [(number, request)]
            match reply.error:
                case NotLeader():
                    continue
                case Ambiguous() if repeat:
                    continue
                case IntentConflict() as conflict:
                    yield from self.clear(number, conflict, transaction, pushed)
                case ReadUncertain() if transaction is None:
                    pushed.clear()
                case _:
                    return reply
        raise GiveUp(f"{self.name}: {operations} got nowhere")

    def clear(
        self, number: int, conflict: IntentConflict, own: Transaction | None, pushed: dict[bytes, Pushed]
    ) -> Generator[Requests, list[RangeReply], None]:
        for one in conflict.conflicts:
            push = PushTransaction(one.transaction, conflict.kind, own, conflict.above)
            reply = yield from self.ask(range_of(one.transaction.anchor), push)
            state = reply.results[0]
            assert isinstance(state, RecordState)
            if state.status == STAGING and state.keys:
                state = yield from self.recover(one.transaction, state)
            if state.status in (COMMITTED, ABORTED):
                resolve = ResolveIntents(one.transaction.id, (one.key,), state.status, state.commit_timestamp)
                yield from self.ask(number, resolve)
            elif state.status in (STAGING, MISSING):
                continue
            elif conflict.kind == PushKind.TIMESTAMP:
                assert state.floor > conflict.above
                pushed[one.transaction.id] = Pushed(one.transaction.id, state.floor)

    def recover(
        self, owner: Transaction, state: RecordState
    ) -> Generator[Requests, list[RangeReply], RecordState]:
        """Find out what became of a STAGING transaction."""
        staged_at, committed = state.commit_timestamp, True
        for key in self.world.stream.sample(state.keys, len(state.keys)):
            reply = yield from self.ask(range_of(key), QueryIntent(key, owner.id), timestamp=staged_at)
            result = reply.results[0]
            assert isinstance(result, IntentState)
            committed = committed and result.found
        reply = yield from self.ask(range_of(owner.anchor), RecoverTransaction(owner, staged_at, committed))
        result = reply.results[0]
        assert isinstance(result, RecordState)
        self.world.committed_by["recovery"] += committed and result.status == COMMITTED
        return result

    def begin(self) -> Done:
        self.count += 1
        done = Done(f"{self.name}.{self.count}", self.world.now_ns)
        self.world.done.append(done)
        return done

    def work(self, rounds: int) -> Steps:
        """One thing after another."""
        for _ in range(rounds):
            yield from self.plain() if self.world.stream.random() < 0.35 else self.transaction()

    def plain(self) -> Steps:
        """A get, put or compare-and-set."""
        stream, done = self.world.stream, self.begin()
        key, new = stream.choice(KEYS), done.name.encode()
        kind = stream.choice(["get", "put", "cas"])
        try:
            if kind == "get":
                reply = yield from self.ask(range_of(key), Get(key))
                found = reply.results[0]
                assert isinstance(found, ValueResult)
                done.reads[key] = found.value
                done.committed = True
            elif kind == "put":
                done.writes[key] = new
                reply = yield from self.ask(range_of(key), Put(key, new), repeat=False)
                done.committed = None if reply.error is not None else True
            else:
                reply = yield from self.ask(range_of(key), Get(key))
                found = reply.results[0]
                assert isinstance(found, ValueResult)
                done.began = self.world.now_ns
                done.writes[key] = new
                reply = yield from self.ask(range_of(key), CompareAndSet(key, found.value, new), repeat=False)
                if reply.error is None:
                    compared = reply.results[0]
                    assert isinstance(compared, Compared)
                    done.reads[key] = compared.current
                    done.committed = True
                    if not compared.applied:
                        done.writes.clear()
        except GiveUp:
            done.committed = False if kind == "get" else None
            return
        if done.committed:
            done.timestamp, done.ended = reply.timestamp, self.world.now_ns

    def transaction(self) -> Steps:
        """Reads, then writes, then commits."""
        world, stream, done = self.world, self.world.stream, self.begin()
        read_at = self.clock.now()
        to_write = sorted(stream.sample(KEYS, stream.choice([0, 1, 2, 2, 3])))
        anchor = stream.choice(to_write) if to_write else b""
        owner = Transaction(world.fresh_id().to_bytes(16, "big"), anchor, read_at, read_at)
        spans: list[tuple[bytes, bytes | None]] = []
        try:
            for key in stream.sample(KEYS, stream.choice([0, 1, 2, 3])):
                wide = stream.random() < 0.2
                span = SPANS[range_of(key)] if wide else (key, key + b"\x00")
                operation = Scan(*span) if wide else Get(key)
                while True:
                    reply = yield from self.ask(
                        range_of(key), operation,
                        transaction=owner, timestamp=read_at, may_forward=not spans,
                    )  # fmt: skip
                    if not isinstance(reply.error, ReadUncertain):
                        break
                    yield from self.refresh(owner, spans, read_at, reply.error.newest)
                    read_at = reply.error.newest
                assert reply.error is None, reply.error
                read_at = reply.timestamp
                spans.append(span)
                result = reply.results[0]
                if isinstance(result, ScanResult):
                    pairs = dict(result.pairs)
                    inside = [k for k in KEYS if range_of(k) == range_of(key)]
                    found = {k: pairs.get(k) for k in inside}
                else:
                    assert isinstance(result, ValueResult)
                    found = {key: result.value}
                for k, value in found.items():
                    assert done.reads.setdefault(k, value) == value, (
                        f"{done.name} read {k!r} twice, differently"
                    )
            if not to_write:
                done.timestamp, done.ended, done.committed = read_at, world.now_ns, True
                return
        except GiveUp:
            done.committed = False
            return
        done.writes = {key: b"%s:%s" % (done.name.encode(), key) for key in to_write}
        ways = self.world.ways
        way = ways[0] if len(ways) == 1 else stream.choice(ways)
        if way == "at-once" and len({range_of(key) for key in to_write}) == 1:
            yield from self.commit_at_once(done, owner, spans, read_at)
        elif way == "staged":
            yield from self.commit_staged(done, owner, spans, read_at)
        else:
            yield from self.commit(done, owner, spans, read_at)

    def ended(self, done: Done, timestamp: Timestamp) -> None:
        done.committed, done.timestamp, done.ended = True, timestamp, self.world.now_ns

    def commit_at_once(
        self, done: Done, owner: Transaction, spans: list[tuple[bytes, bytes | None]], read_at: Timestamp
    ) -> Steps:
        may_have_committed = False
        commit_at = read_at
        try:
            for _ in range(30):
                whole = CommitAtOnce(tuple(done.writes.items()), not spans, may_have_committed)
                reply = yield from self.ask(
                    range_of(owner.anchor), whole, transaction=owner, timestamp=commit_at, repeat=False
                )
                match reply.error:
                    case None if self.world.stream.random() < 0.15:
                        may_have_committed = True  # The reply got lost.
                    case None:
                        state = reply.results[0]
                        assert isinstance(state, RecordState)
                        assert state.status == COMMITTED
                        self.ended(done, state.commit_timestamp)
                        self.world.committed_by["at-once"] += 1
                        return
                    case TransactionPushed(floor=floor):
                        yield from self.refresh(owner, spans, commit_at, floor)
                        commit_at = floor
                    case Ambiguous(reason=reason):
                        if reason.startswith("an earlier request may have committed"):
                            assert may_have_committed
                            return
                        may_have_committed = True
                    case error:
                        assert isinstance(error, TransactionAborted), error
                        done.committed = False
                        return
            raise GiveUp("it is pushed and pushed")
        except GiveUp:
            if may_have_committed:
                yield from self.settle(done, owner, tuple(done.writes))
            else:
                done.committed = False

    def commit_staged(
        self, done: Done, owner: Transaction, spans: list[tuple[bytes, bytes | None]], start: Timestamp
    ) -> Steps:
        stream, keys, home = self.world.stream, tuple(sorted(done.writes)), range_of(owner.anchor)
        by_range = sorted({range_of(key) for key in keys})
        stream.shuffle(by_range)
        landed = start
        try:
            for number in by_range:
                operations: list[RangeOperation] = [CreateRecord(keys, True)] if number == home else []
                operations += [WriteIntent(k, done.writes[k]) for k in keys if range_of(k) == number]
                reply = yield from self.ask(number, *operations, transaction=owner, timestamp=start)
                if reply.error is not None:
                    raise GiveUp(str(reply.error))
                floors = [result.floor for result in reply.results if isinstance(result, RecordState)]
                landed = max(landed, reply.timestamp, *floors)
            if landed > start:
                yield from self.refresh(owner, spans, start, landed)
        except GiveUp:
            yield from self.settle(done, owner, keys)
            return
        if landed == start:
            self.ended(done, start)
            self.world.committed_by["staged"] += 1
            if stream.random() < 0.3:
                return
        local = tuple(key for key in keys if range_of(key) == home) if stream.random() < 0.5 else ()
        end = EndTransaction(True, False, True, local)
        reply = yield from self.ask(home, end, transaction=owner, timestamp=landed, repeat=False)
        if reply.error is not None:
            if not done.committed:
                yield from self.settle(done, owner, keys)
            else:
                assert isinstance(reply.error, Ambiguous), reply.error
            return
        state = reply.results[0]
        assert isinstance(state, RecordState)
        assert state.status == COMMITTED
        if not done.committed:
            self.ended(done, state.commit_timestamp)
        yield from self.clean_up(done, owner, keys, state)

    def settle(self, done: Done, owner: Transaction, keys: tuple[bytes, ...]) -> Steps:
        """Give up what may be committed by what is under way."""
        home = range_of(owner.anchor)
        try:
            for _ in range(20):
                abort = EndTransaction(False, asked_before=True)
                reply = yield from self.ask(home, abort, transaction=owner, repeat=False)
                if reply.error is not None:
                    assert isinstance(reply.error, Ambiguous), reply.error
                    if "record is gone" in reply.error.reason:
                        return
                    continue
                state = reply.results[0]
                assert isinstance(state, RecordState)
                if state.status == STAGING:
                    state = yield from self.recover(owner, state)
                if state.status == MISSING:
                    return
                if state.status == COMMITTED:
                    self.ended(done, state.commit_timestamp)
                else:
                    assert state.status == ABORTED, state
                    done.committed = False
                yield from self.clean_up(done, owner, keys, state)
                return
        except GiveUp:
            return

    def refresh(
        self, owner: Transaction, spans: list[tuple[bytes, bytes | None]], since: Timestamp, until: Timestamp
    ) -> Generator[Requests, list[RangeReply], None]:
        for start, end in spans:
            reply = yield from self.ask(
                range_of(start), Refresh(start, end, since), transaction=owner, timestamp=until
            )
            if reply.error is not None:
                raise GiveUp(str(reply.error))

    def commit(
        self, done: Done, owner: Transaction, spans: list[tuple[bytes, bytes | None]], read_at: Timestamp
    ) -> Steps:
        stream, keys = self.world.stream, tuple(sorted(done.writes))
        by_range = sorted({range_of(key) for key in keys})
        stream.shuffle(by_range)
        write_at = read_at
        home = range_of(owner.anchor)
        may_have_committed = False
        try:
            for number in by_range:
                operations: list[RangeOperation] = [CreateRecord(keys)] if number == home else []
                operations += [WriteIntent(k, done.writes[k]) for k in keys if range_of(k) == number]
                reply = yield from self.ask(number, *operations, transaction=owner, timestamp=write_at)
                if reply.error is not None:
                    raise GiveUp(str(reply.error))
                write_at = max(write_at, reply.timestamp)
                for result in reply.results:
                    if isinstance(result, RecordState):
                        write_at = max(write_at, result.floor)
                if stream.random() < 0.3:
                    yield from self.ask(home, HeartbeatRecord(), transaction=owner)
            local = tuple(key for key in keys if range_of(key) == home) if stream.random() < 0.5 else ()
            while True:
                if write_at > read_at:
                    yield from self.refresh(owner, spans, read_at, write_at)
                    read_at = write_at
                end = EndTransaction(True, not spans, may_have_committed, local)
                reply = yield from self.ask(home, end, transaction=owner, timestamp=write_at, repeat=False)
                if isinstance(reply.error, TransactionPushed):
                    write_at = reply.error.floor
                elif isinstance(reply.error, Ambiguous):
                    if may_have_committed and stream.random() < 0.2:
                        return
                    may_have_committed = True
                else:
                    break
            if reply.error is not None:
                assert isinstance(reply.error, TransactionAborted), reply.error
                raise GiveUp(reply.error.reason)
            state = reply.results[0]
            assert isinstance(state, RecordState)
            assert state.status == COMMITTED
            done.committed, done.timestamp, done.ended = True, state.commit_timestamp, self.world.now_ns
        except GiveUp as failure:
            if may_have_committed and "aborted by another" not in str(failure):
                return
            done.committed = False
            state = RecordState(ABORTED)
        yield from self.clean_up(done, owner, keys, state)

    def clean_up(self, done: Done, owner: Transaction, keys: tuple[bytes, ...], state: RecordState) -> Steps:
        try:
            if state.status == ABORTED:
                reply = yield from self.ask(range_of(owner.anchor), EndTransaction(False), transaction=owner)
                assert reply.error is None, reply.error
                # A deposed leader may still hold it for undecided, which nobody acts on.
                assert reply.results[0].status in (ABORTED, STAGING), done  # type: ignore[union-attr]
            for number in range(len(SPANS)):
                inside = tuple(key for key in keys if range_of(key) == number)
                if inside:
                    resolve = ResolveIntents(owner.id, inside, state.status, state.commit_timestamp)
                    yield from self.ask(number, resolve)
            yield from self.ask(range_of(owner.anchor), DeleteRecord(owner))
        except GiveUp:
            return

    def sweep(self, rounds: int) -> Steps:
        """Finish decided transactions and forget them, while their coordinators may be at it too."""
        stream = self.world.stream
        for _ in range(rounds):
            one = stream.choice(self.world.ranges)
            yield from self.ask(one.number, Get(next(key for key in KEYS if range_of(key) == one.number)))
            decided = [
                record for record in one.state.records.values() if record.status in (COMMITTED, ABORTED)
            ]
            if not decided:
                continue
            record = stream.choice(decided)
            for number in range(len(SPANS)):
                inside = tuple(key for key in record.keys if range_of(key) == number)
                if inside:
                    resolve = ResolveIntents(
                        record.transaction.id, inside, record.status, record.commit_timestamp
                    )
                    yield from self.ask(number, resolve)
            yield from self.ask(range_of(record.transaction.anchor), DeleteRecord(record.transaction))

    def clean_everything(self, found: dict[bytes, bytes | None]) -> Steps:
        """After the storm: read every key by pushing writes until no intent is left."""
        for key in KEYS:
            while self.world.ranges[range_of(key)].state.locks.get(key) is not None:
                lock = self.world.ranges[range_of(key)].state.locks.get(key)
                assert lock is not None
                push = PushTransaction(lock.transaction, PushKind.ABORT)
                reply = yield from self.ask(range_of(lock.transaction.anchor), push)
                state = reply.results[0]
                assert isinstance(state, RecordState)
                if state.status == STAGING and state.keys:
                    state = yield from self.recover(lock.transaction, state)
                if state.status in (PENDING, STAGING, MISSING):
                    self.world.now_ns += EXPIRY_NS
                    continue
                resolve = ResolveIntents(lock.transaction.id, (key,), state.status, state.commit_timestamp)
                yield from self.ask(range_of(key), resolve)
            reply = yield from self.ask(range_of(key), Get(key))
            result = reply.results[0]
            assert isinstance(result, ValueResult)
            found[key] = result.value
