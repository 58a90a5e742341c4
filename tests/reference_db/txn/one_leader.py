"""A range with one leader and no Raft: what is proposed is applied at once, or when the test says so."""

from __future__ import annotations

from reference_db.api import (
    IntentConflict,
    Key,
    Pushed,
    RangeError,
    RangeOperation,
    RangeReply,
    RangeRequest,
    Result,
    Transaction,
    TransactionProtocol,
)
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.timestamp import HybridClock, Timestamp
from reference_db.txn.by_protocol import evaluate_write
from reference_db.txn.command import Command, decode_command
from reference_db.txn.evaluate import (
    Evaluation,
    Leadership,
    begin_read,
    evaluate_read,
    note_applied,
    why_invalid,
)
from reference_db.txn.state import RangeState

SECOND = 1_000_000_000


class OneLeader:
    """Evaluates requests, applies their commands, changes leaders on demand."""

    def __init__(
        self, start: bytes = b"", end: bytes | None = None, clock: HybridClock | None = None
    ) -> None:
        self.engine = MemoryEngine()
        self.state = RangeState(self.engine, start, end)
        self.wall_ns = 1_000
        self.monotonic_ns = 0
        self.clock = clock or HybridClock(lambda: self.wall_ns, bound_ns=1)
        self.clock.bound_persisted(2**62)
        self.term = 1
        self.leadership = Leadership(self.clock.now())
        self.last: Evaluation | None = None
        """The newest evaluation, for tests that look at its command or `confirm`."""

    def change_leader(self) -> None:
        """Another replica takes over: everything that isn't replicated is gone."""
        self.term += 1
        self.state.load()
        self.leadership = Leadership(self.clock.now())

    def evaluate(
        self,
        *operations: RangeOperation,
        transaction: Transaction | None = None,
        timestamp: Timestamp | None = None,
        pushed: tuple[Pushed, ...] = (),
        may_forward: bool = False,
    ) -> Evaluation:
        request = RangeRequest(1, 1, 1, operations, timestamp, transaction, pushed, may_forward)
        if timestamp is not None:
            self.clock.forward(timestamp)
        refusal = why_invalid(request, self.state)
        assert refusal is None, refusal
        if request.is_read:
            at = begin_read(request, self.leadership, self.clock.now())
            self.last = evaluate_read(request, self.state, self.leadership, at)
            assert self.last.command is None
        else:
            self.last = evaluate_write(
                request, self.state, self.leadership, self.clock.now(), self.monotonic_ns, self.term
            )
        assert not (self.last.confirm and self.last.command is not None)
        if self.last.reply.error is not None:
            assert self.last.command is None, "an error changes nothing"
        return self.last

    def apply(self, command: Command, entry_term: int | None = None) -> bool:
        """Through the encoding, as a follower would."""
        decoded = decode_command(command.encode())
        assert decoded == command
        batch = WriteBatch()
        carried_out = self.state.apply(decoded, self.term if entry_term is None else entry_term, batch)
        self.clock.forward(decoded.timestamp)
        self.engine.write(batch)
        return carried_out

    def ask(
        self,
        *operations: RangeOperation,
        transaction: Transaction | None = None,
        timestamp: Timestamp | None = None,
        pushed: tuple[Pushed, ...] = (),
        may_forward: bool = False,
    ) -> RangeReply:
        evaluation = self.evaluate(
            *operations, transaction=transaction, timestamp=timestamp, pushed=pushed, may_forward=may_forward
        )
        if evaluation.command is not None:
            assert self.apply(evaluation.command)
            request = RangeRequest(1, 1, 1, operations, timestamp, transaction, pushed, may_forward)
            note_applied(request, evaluation.reply, evaluation.command.timestamp, self.leadership)
        return evaluation.reply

    def result(self, *operations: RangeOperation, **options: object) -> Result:
        """The only result of a request that must succeed."""
        reply = self.ask(*operations, **options)  # type: ignore[arg-type]
        assert reply.error is None, reply.error
        assert len(reply.results) == len(operations)
        return reply.results[0]

    def error(self, *operations: RangeOperation, **options: object) -> RangeError:
        reply = self.ask(*operations, **options)  # type: ignore[arg-type]
        assert reply.error is not None, reply.results
        assert reply.results == ()
        return reply.error

    def conflict(self, *operations: RangeOperation, **options: object) -> IntentConflict:
        error = self.error(*operations, **options)
        assert isinstance(error, IntentConflict), error
        return error

    def transaction(
        self, number: int, anchor: Key = b"a", protocol: TransactionProtocol = TransactionProtocol.RECORD
    ) -> Transaction:
        """A transaction that begins now."""
        now = self.clock.now()
        return Transaction(b"%016d" % number, anchor, now, now, protocol)
