"""Brings a request to the leader of its range, on this node or another, and the reply back.

What is safe to send again decides everything here:

- a refusal (`NotLeader`, `RangeMismatch`, no connection) means that nothing was proposed: any request goes on to the
  next candidate;
- silence after a request left may mean anything: a request that may be carried out twice (reads, intents, pushes) is
  sent again, any other ends as `Ambiguous`, at once when the link broke, else at its deadline.

Times are seconds on the loop's monotonic clock. One sweep a tick serves all deadlines, instead of a timer a request.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from reference_db.api import (
    Ambiguous,
    CommitAtOnce,
    EndTransaction,
    NotLeader,
    Overloaded,
    Pushed,
    RangeMismatch,
    RangeOperation,
    RangeReply,
    RangeRequest,
    SessionWrite,
    TimedOut,
    Transaction,
    Unavailable,
)
from reference_db.gateway.cutting import Piece, cut, join, place_of
from reference_db.gateway.directory import Directory
from reference_db.ranges.descriptor import Descriptor, decode_descriptor
from reference_db.ranges.flow import PENDING_BYTES_MOST, written_bytes
from reference_db.timestamp import HybridClock, Timestamp
from reference_db.trace import Trace

Done = Callable[[RangeReply], None]
Part = tuple[RangeOperation, ...]
"""What one range is asked for."""
Asked = tuple[str, Descriptor, RangeReply]
"""A node that was asked, for which range, and what it said."""

ATTEMPT_S = 1.0
"""How long a request that may be repeated waits for one node before it tries the next."""
PAUSE_FIRST_S = 0.01
PAUSE_MOST_S = 0.2
PENDING_MOST = 20_000
"""Requests under way on one node, above which more are refused."""

LOST = Ambiguous("the connection to the range's leader broke while the request was under way")
SILENT = Ambiguous("the range's leader did not answer in time")


@dataclass(slots=True)
class _Pending:
    node: str
    deadline: float
    done: Done
    size_bytes: int


class Router:
    """Requests to ranges. Lives on one node; owned by its loop."""

    def __init__(
        self,
        *,
        node: str,
        directory: Directory,
        now: Callable[[], float],
        clock: HybridClock,
        random_stream: random.Random,
        first_request_id: int,
        send_local: Callable[[RangeRequest, Done], None],
        send_remote: Callable[[str, RangeRequest], bool],
        trace: Trace | None = None,
        nodes: Sequence[str] = (),
    ) -> None:
        """`first_request_id` must be above all ids of this node's earlier lives, or old replies would count. `nodes`
        are all that may be asked who has a key, when those who should know do not."""
        self.node = node
        self.directory = directory
        self.now = now
        self._clock = clock
        self._random = random_stream
        self._next_id = first_request_id
        self._send_local = send_local
        self._send_remote = send_remote
        self._pending: dict[int, _Pending] = {}
        self.pending_bytes = 0
        """Of what the requests write that wait for a reply."""
        self.pending_bytes_most = PENDING_BYTES_MOST
        self._trace = trace
        self.nodes = tuple(nodes)
        """Who may be asked for what nobody here knows; changed when there are others."""

    @property
    def pending(self) -> int:
        """How many requests wait for a reply."""
        return len(self._pending)

    def next_id(self) -> int:
        """A request id never used before."""
        self._next_id += 1
        return self._next_id

    # Single attempts, by callback: the fast path.

    def ask(self, node: str, request: RangeRequest, deadline: float, done: Done) -> None:
        """Send a request to one node; `done` gets the reply, or an error in place of one, exactly once."""
        if len(self._pending) >= PENDING_MOST:
            done(_failed(request, Overloaded(f"{PENDING_MOST} requests are under way on {self.node}")))
            return
        size_bytes = written_bytes(request.operations)
        if size_bytes and self.pending_bytes > self.pending_bytes_most:
            text = f"{self.node} waits for requests that write {self.pending_bytes} bytes"
            done(_failed(request, Overloaded(text)))
            return
        self.pending_bytes += size_bytes
        self._pending[request.request_id] = _Pending(node, deadline, done, size_bytes)
        if node == self.node:
            self._send_local(request, self.receive)
        elif not self._send_remote(node, request):
            self._finish(_failed(request, Unavailable(f"{self.node} has no connection to {node}")))

    def receive(self, reply: RangeReply) -> None:
        """A reply arrived, from here or elsewhere. Late and repeated ones are dropped."""
        pending = self._pending.pop(reply.request_id, None)
        if pending is not None:
            self.pending_bytes -= pending.size_bytes
            pending.done(reply)
        elif self._trace is not None:
            self._trace.mark("a reply came too late for anybody to wait for it")

    def link_lost(self, node: str) -> None:
        """The connection to this node broke: what was asked of it may or may not have arrived."""
        lost = [request_id for request_id, pending in self._pending.items() if pending.node == node]
        if lost and self._trace is not None:
            self._trace.mark("a link broke while a request was under way")
        for request_id in lost:
            self._finish(RangeReply(request_id, error=LOST))

    def sweep(self) -> None:
        """Called every tick: ends what is past its deadline."""
        if not self._pending:
            return
        now = self.now()
        late = [request_id for request_id, pending in self._pending.items() if pending.deadline <= now]
        if late and self._trace is not None:
            self._trace.mark("a request got no answer in time")
        for request_id in late:
            self._finish(RangeReply(request_id, error=SILENT))

    def _finish(self, reply: RangeReply) -> None:
        pending = self._pending.pop(reply.request_id, None)
        if pending is not None:
            self.pending_bytes -= pending.size_bytes
            pending.done(reply)

    # Until there is an answer, as a coroutine.

    async def send(
        self,
        operations: tuple[RangeOperation, ...],
        deadline: float,
        *,
        repeatable: bool,
        timestamp: Timestamp | None = None,
        transaction: Transaction | None = None,
        pushed: tuple[Pushed, ...] = (),
        may_forward: bool = False,
        first: Asked | None = None,
        write: SessionWrite | None = None,
    ) -> RangeReply:
        """Send until somebody answers. The reply is the leader's, or carries `TimedOut`, `Unavailable` or
        `Overloaded` (certainly nothing happened) or `Ambiguous`. `first`: a node that was asked already, and what it
        said.

        The operations go where their keys are. If they are in several ranges, because one of them was split after
        they were put together, each range gets its part (`cutting`). The end of a transaction is not taken apart: with
        keys that are not in the anchor's range any more it comes back as `RangeMismatch`."""
        may_have_arrived = False
        pause = PAUSE_FIRST_S
        quick = 3
        refusal = ""
        piece: Piece | None = None
        is_astray = False
        while True:
            now = self.now()
            if first is not None:
                (node, descriptor, reply), first = first, None
            elif now >= deadline:
                if may_have_arrived:
                    return RangeReply(0, error=SILENT)
                return RangeReply(0, error=TimedOut(refusal or "no time was left"))
            else:
                if piece is None:
                    pieces = cut(operations, transaction, self.directory)
                    if len(pieces) > 1:
                        return await self._send_pieces(
                            operations,
                            pieces,
                            deadline,
                            repeatable=repeatable,
                            timestamp=timestamp,
                            transaction=transaction,
                            pushed=pushed,
                            may_forward=may_forward,
                        )
                    (piece,) = pieces
                descriptor = piece.descriptor
                if _sticks_out(piece):
                    return RangeReply(0, error=RangeMismatch(descriptor.id))
                node = self.directory.candidate(descriptor.id)
                if is_astray and self.nodes:
                    # The range gave up the key, and moved to nodes that never heard to whom: anybody may know.
                    node, is_astray = self._random.choice(self.nodes), False
                request = RangeRequest(
                    self.next_id(),
                    descriptor.id,
                    descriptor.generation,
                    piece.operations,
                    timestamp,
                    transaction,
                    pushed,
                    may_forward,
                    self._clock.last if pushed else None,
                    write=write,
                )
                attempt_deadline = min(deadline, now + ATTEMPT_S) if repeatable else deadline
                reply = await self._ask(node, request, attempt_deadline)
            range_id = descriptor.id
            match reply.error:
                case NotLeader(leader=leader):
                    self.learn(range_id, node, leader)
                    refusal = f"range {range_id}: {node} does not lead it"
                    if leader is not None and leader != node and quick:
                        quick -= 1
                        continue
                case RangeMismatch() as mismatch:
                    refusal = f"range {range_id}: {node} knows it otherwise"
                    piece = None
                    if self.learn_ranges(node, mismatch):
                        continue
                    self.directory.forget_leader(range_id, node)
                    is_astray = True
                case Unavailable():
                    self.directory.forget_leader(range_id, node)
                    refusal = f"range {range_id}: {node} cannot serve it"
                case Ambiguous():
                    self.directory.forget_leader(range_id, node)
                    if not repeatable:
                        return reply
                    may_have_arrived = True
                    refusal = f"range {range_id}: {node} did not answer"
                case None:
                    if piece is None or piece.operations == operations:
                        return reply
                    return join(operations, (piece,), (reply,))
                case _:
                    return reply
            piece = None
            await asyncio.sleep(min(pause * (0.5 + self._random.random()), max(deadline - self.now(), 0.0)))
            pause = min(2 * pause, PAUSE_MOST_S)

    async def _send_pieces(
        self,
        operations: tuple[RangeOperation, ...],
        pieces: Sequence[Piece],
        deadline: float,
        *,
        repeatable: bool,
        timestamp: Timestamp | None,
        transaction: Transaction | None,
        pushed: tuple[Pushed, ...],
        may_forward: bool,
    ) -> RangeReply:
        """The parts of a request, at the same time where that is the same; and one reply for all of them."""
        if self._trace is not None:
            self._trace.mark("a request was cut in pieces because its range was split")
        replies: list[RangeReply] = []
        if may_forward or (timestamp is None and pieces[0].is_read):
            # The first read says at which timestamp; the others must not choose another.
            for piece in pieces:
                reply = await self.send(
                    piece.operations,
                    deadline,
                    repeatable=repeatable,
                    timestamp=timestamp,
                    transaction=transaction,
                    pushed=pushed,
                    may_forward=may_forward,
                )
                replies.append(reply)
                if reply.error is not None:
                    return reply
                timestamp, may_forward = reply.timestamp, False
            return join(operations, pieces, replies)
        replies = await asyncio.gather(
            *(
                self.send(
                    piece.operations,
                    deadline,
                    repeatable=repeatable,
                    timestamp=timestamp,
                    transaction=transaction,
                    pushed=pushed,
                )
                for piece in pieces
            )
        )
        return join(operations, pieces, replies)

    async def send_together(
        self,
        parts: Sequence[Part],
        deadline: float,
        *,
        timestamp: Timestamp | None = None,
        transaction: Transaction | None = None,
        pushed: tuple[Pushed, ...] = (),
    ) -> list[RangeReply]:
        """As `send`, for several repeatable requests at the same time; their replies in the same order. All go their
        first way without tasks, and the caller wakes once; the few that must be sent again go on as tasks. Each should
        be for one range, as far as is known."""
        now = self.now()
        if not parts or now >= deadline:
            return [
                await self.send(operations, deadline, repeatable=True, transaction=transaction)
                for operations in parts
            ]
        attempt_deadline = min(deadline, now + ATTEMPT_S)
        replies: dict[int, RangeReply] = {}
        all_answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answered(place: int, reply: RangeReply) -> None:
            replies[place] = reply
            if len(replies) == len(parts) and not all_answered.done():
                all_answered.set_result(None)

        asked: list[tuple[str, Descriptor, int]] = []
        for place, operations in enumerate(parts):
            descriptor = self.directory.find(place_of(operations[0], transaction))
            node = self.directory.candidate(descriptor.id)
            request = RangeRequest(
                self.next_id(),
                descriptor.id,
                descriptor.generation,
                operations,
                timestamp,
                transaction,
                pushed,
                False,
                self._clock.last if pushed else None,
            )
            asked.append((node, descriptor, request.request_id))
            self.ask(node, request, attempt_deadline, partial(answered, place))
        try:
            await all_answered
        except asyncio.CancelledError:
            for _, _, request_id in asked:
                self._pending.pop(request_id, None)
            raise
        again = [place for place in range(len(parts)) if isinstance(replies[place].error, _ASK_AGAIN)]
        if again:
            later = await asyncio.gather(
                *(
                    self.send(
                        parts[place],
                        deadline,
                        repeatable=True,
                        timestamp=timestamp,
                        transaction=transaction,
                        pushed=pushed,
                        first=(*asked[place][:2], replies[place]),
                    )
                    for place in again
                )
            )
            replies.update(zip(again, later, strict=True))
        return [replies[place] for place in range(len(parts))]

    def learn_ranges(self, node: str, mismatch: RangeMismatch) -> bool:
        """A node knows other ranges. Says whether that was news; then it is worth asking again at once."""
        is_news = False
        for encoded in (mismatch.descriptor, *mismatch.others):
            if not encoded:
                continue
            descriptor = decode_descriptor(encoded)
            if self.directory.learn(descriptor):
                is_news = True
                if self.directory.leader_hint(descriptor.id) is None and node in descriptor.replicas:
                    # Whoever led the range that was split leads its parts, most often.
                    self.directory.learn_leader(descriptor.id, node)
        if is_news and self._trace is not None:
            self._trace.mark("a stale descriptor was refused, and replaced by the current one")
        return is_news

    def learn(self, range_id: int, refused_by: str, leader: str | None) -> None:
        """A node refused; it may know better."""
        if leader is not None and leader != refused_by:
            if self._trace is not None:
                self._trace.mark("a request was sent on to another leader")
            self.directory.learn_leader(range_id, leader)
        else:
            self.directory.forget_leader(range_id, refused_by)

    async def _ask(self, node: str, request: RangeRequest, deadline: float) -> RangeReply:
        future: asyncio.Future[RangeReply] = asyncio.get_running_loop().create_future()

        def done(reply: RangeReply) -> None:
            if not future.done():
                future.set_result(reply)

        self.ask(node, request, deadline, done)
        try:
            return await future
        except asyncio.CancelledError:
            self._pending.pop(request.request_id, None)
            raise


_ASK_AGAIN = (NotLeader, RangeMismatch, Unavailable, Ambiguous)
"""After these a repeatable request is sent again."""


def _sticks_out(piece: Piece) -> bool:
    """Whether a transaction is to be ended together with keys that are not in its anchor's range."""
    match piece.operations[0]:
        case EndTransaction(local_keys=keys):
            return not all(map(piece.descriptor.contains, keys))
        case CommitAtOnce(keys=keys):
            return not all(map(piece.descriptor.contains, keys))
    return False


def _failed(request: RangeRequest, error: Overloaded | Unavailable) -> RangeReply:
    return RangeReply(request.request_id, error=error)
