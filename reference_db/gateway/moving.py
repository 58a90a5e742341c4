"""Moves replicas on behalf of whoever asks, ends moves that nobody drives any more, and finds replicas that were left.

A move takes the steps of `ranges.moving`, one after the other; whatever goes wrong before the new replica votes, it is
undone. A learner that another move has brought to the same node is taken over. If the node that drives it dies, the
range's leader does the rest: it leaves a joint configuration, and drops a learner that nobody has asked about for a
while.

A replica that was away while its range left its node hears from nobody: the others have forgotten it. So whoever hears
no leader for some seconds looks its range up, as a client would, by its first key. The leader's answer says whether it
is a member still, or its range was merged into another one. A replica that is nothing but a promise, made to a
candidate before this node had heard of the split, does not know its first key: its range is searched for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from reference_db.api import (
    BadRequest,
    BumpRange,
    ClientMove,
    ClientTransfer,
    MoveReplica,
    RangeError,
    RangeRequest,
    Reshaped,
    RetireReplica,
    TimedOut,
    TransferRange,
    Unavailable,
)
from reference_db.api import ClientError as Refusal
from reference_db.gateway.open_transaction import Failed
from reference_db.gateway.router import Router
from reference_db.ranges.descriptor import Descriptor, decode_descriptor, encode_descriptor
from reference_db.ranges.moving import shown_move
from reference_db.ranges.store import Store
from reference_db.trace import Trace
from reference_db.txn.command import MoveStep

AGAIN_S = 0.03
"""Between questions whether a step can be taken now."""
ANSWER_S = 1.0
"""How long a node may take to say that it has no old replica, or to hear that its replica is not needed any more."""
UNDO_S = 2.0
"""How long this node tries to undo a move, before it leaves that to the range's leader."""
LEAVE_TICKS = 10
"""A joint configuration that nobody has asked about for so long is left by the leader."""
DROP_TICKS = 50
"""A learner that nobody has asked about for so long is dropped by the leader."""
STRAY_LOOKS = 3
"""A replica that heard no leader in so many looks, one a second, looks its range up."""
LOOKUP_S = 2.0
LOOKUPS_MOST = 16
"""Ranges that a node looks up at once."""


class Mover:
    """Moves that this node is asked for, and what it has to look after."""

    def __init__(
        self,
        router: Router,
        store: Store,
        nodes: Sequence[str],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        trace: Trace | None = None,
    ) -> None:
        """`nodes` are those of the cluster; `spawn` runs a task of the node."""
        self._router = router
        self._store = store
        self.nodes = tuple(nodes)
        """All members; changed when there are others."""
        self._spawn = spawn
        self._trace = trace
        self._stray_looks: dict[int, int] = {}
        self._busy: set[int] = set()
        """Ranges that this node is looking after already."""

    # On behalf of others.

    async def perform(self, operation: ClientMove | ClientTransfer, deadline: float) -> list[Any]:
        """What a client asks for; the range as it is then. Raises Failed."""
        known = self._router.directory.find_id(operation.range_id)
        if known is None:
            raise Failed(BadRequest(f"no range {operation.range_id} is known here"))
        if isinstance(operation, ClientMove):
            one = await self.move(known, operation.source, operation.target, deadline)
        else:
            one = await self.transfer(known, operation.target, deadline)
        return [one.id, one.start, one.end, one.generation, one.replicas]

    async def transfer(self, known: Descriptor, target: str, deadline: float) -> Descriptor:
        """Let a node lead a range. Raises Failed."""
        self._check_node(target)
        return await self._until_taken(TransferRange(known.start, known.id, target), deadline)

    async def move(self, known: Descriptor, source: str, target: str, deadline: float) -> Descriptor:
        """Move a range's replica from one node to another; the range as it is then. Raises Failed; what is under way
        then is undone, at the latest by the range's leader, unless the new replica votes already."""
        self._check_node(target)
        start, range_id = known.start, known.id
        before = await self.look_up(start, deadline)
        if before.id != range_id:
            raise Failed(BadRequest(f"range {range_id} was merged into range {before.id}"))
        is_there = target in before.learners
        """Whether another move has brought it, and ended, or goes on still; whoever promotes it first decides."""
        if source not in before.replicas or (target in before.members and not is_there):
            raise Failed(
                BadRequest(
                    f"cannot move range {range_id} from {source} to {target}: its replicas are on {shown_move(before)}"
                )
            )
        if is_there:
            if self._trace is not None:
                self._trace.mark("a move went on with a learner that was there already")
        elif before.is_moving:
            raise Failed(Unavailable(f"range {range_id} is being moved already: {shown_move(before)}"))
        else:
            refusal = await self._retire(target, before, deadline)
            if refusal is not None:
                raise Failed(Unavailable(f"{target} does not take a replica of range {range_id}: {refusal}"))

        def step(kind: MoveStep) -> MoveReplica:
            return MoveReplica(start, range_id, before.generation, kind, target, source)

        try:
            await self._step(step(MoveStep.ADD_LEARNER), deadline)
            await self._until_taken(step(MoveStep.PROMOTE), deadline)
        except Failed:
            if not is_there:
                await self._undo(step(MoveStep.DROP_LEARNER))
            raise
        after = await self._until_taken(step(MoveStep.LEAVE), deadline)
        if source not in after.members:
            self._spawn(self._tell(source, after))
        return after

    async def align(
        self, left: Descriptor, right: Descriptor, deadline: float
    ) -> tuple[Descriptor, Descriptor]:
        """Bring the replicas of a right neighbour to the left one's nodes; both as they are then. Raises Failed, also
        where they are no neighbours any more."""
        left, right = await self.look_up(left.start, deadline), await self.look_up(right.start, deadline)
        while True:
            if left.is_moving or right.is_moving:
                raise Failed(Unavailable(f"ranges {left.id} and {right.id} are being moved; try again"))
            if left.end != right.start:
                raise Failed(
                    Unavailable(f"ranges {left.id} and {right.id} are no neighbours any more; try again")
                )
            extra = [node for node in right.replicas if node not in left.replicas]
            missing = [node for node in left.replicas if node not in right.replicas]
            if not extra:
                return left, right
            if self._trace is not None:
                self._trace.mark("a range was moved to its neighbour's nodes before they merged")
            right = await self.move(right, extra[0], missing[0], deadline)

    def _check_node(self, target: str) -> None:
        if target not in self.nodes:
            raise Failed(BadRequest(f"there is no node {target}: the nodes are {', '.join(self.nodes)}"))

    async def _undo(self, drop: MoveReplica) -> None:
        """Give up a move, as far as that is still possible."""
        if self._trace is not None:
            self._trace.mark("a move was given up")
        try:
            after = await self._step(drop, self._router.now() + UNDO_S)
        except Failed:
            return  # The leader drops the learner when nobody has asked about it for a while.
        if drop.target not in after.members:
            self._spawn(self._tell(drop.target, after))

    async def _until_taken(self, operation: MoveReplica | TransferRange, deadline: float) -> Descriptor:
        """Ask for a step until it can be taken. Raises Failed."""
        while True:
            try:
                return await self._step(operation, deadline)
            except Failed as failed:
                if not isinstance(failed.error, TimedOut) or self._router.now() + AGAIN_S >= deadline:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _step(self, operation: MoveReplica | TransferRange | BumpRange, deadline: float) -> Descriptor:
        reply = await self._router.send((operation,), deadline, repeatable=True)
        if reply.error is not None:
            raise _failed(reply.error)
        (result,) = reply.results
        assert isinstance(result, Reshaped), f"{operation} was answered with {result!r}"
        descriptor = decode_descriptor(result.descriptors[0])
        self._router.directory.learn(descriptor)
        return descriptor

    async def look_up(self, key: bytes, deadline: float) -> Descriptor:
        """The range that holds a key, as its leader knows it now. Raises Failed."""
        # A bump of a generation that no range has changes nothing.
        return await self._step(BumpRange(key, 0, 0), deadline)

    async def _retire(self, node: str, descriptor: Descriptor, deadline: float) -> str | None:
        """Have a node remove whatever it has of a range that has no replica there; why it doesn't, None if it has."""
        answer: asyncio.Future[RangeError | None] = asyncio.get_running_loop().create_future()
        request = RangeRequest(
            self._router.next_id(),
            descriptor.id,
            descriptor.generation,
            (RetireReplica(descriptor.start, encode_descriptor(descriptor)),),
        )
        limit = min(deadline, self._router.now() + ANSWER_S)
        self._router.ask(node, request, limit, lambda reply: answer.set_result(reply.error))
        error = await answer
        return None if error is None else str(getattr(error, "reason", error))

    async def _tell(self, node: str, descriptor: Descriptor) -> None:
        """Whether it hears it or not: if it does not, it will look its range up."""
        await self._retire(node, descriptor, self._router.now() + ANSWER_S)

    # What this node has to look after.

    async def tend(self) -> None:
        """Called once a second: moves that nobody drives, and replicas whose ranges may have left."""
        for descriptor, ticks in self._store.moves_under_way():
            if ticks >= (LEAVE_TICKS if descriptor.leaving else DROP_TICKS):
                self._look_after(descriptor.id, partial(self._end_move, descriptor))
        strays = {descriptor.id: descriptor for descriptor in self._store.strays()}
        self._stray_looks = {one: self._stray_looks.get(one, 0) + 1 for one in strays}
        for range_id, looks in self._stray_looks.items():
            if looks >= STRAY_LOOKS and len(self._busy) < LOOKUPS_MOST:
                self._look_after(range_id, partial(self._find_out, strays[range_id]))

    def _look_after(self, range_id: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`work` is made when it begins: a node that stops before that has nothing to take apart."""
        if range_id in self._busy:
            return
        self._busy.add(range_id)
        self._spawn(self._until_done(range_id, work))

    async def _until_done(self, range_id: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Failed:
            pass  # Another look follows in a second.
        finally:
            self._busy.discard(range_id)

    async def _end_move(self, descriptor: Descriptor) -> None:
        """Whoever drove it is gone."""
        kind = MoveStep.LEAVE if descriptor.leaving else MoveStep.DROP_LEARNER
        (node,) = descriptor.leaving or descriptor.learners[:1]
        if self._trace is not None:
            self._trace.mark("a move that nobody finished was ended by the leader")
        target, source = ("", node) if descriptor.leaving else (node, "")
        ending = MoveReplica(descriptor.start, descriptor.id, descriptor.generation, kind, target, source)
        after = await self._until_taken(ending, self._router.now() + UNDO_S)
        if after.id == descriptor.id and node not in after.members:
            await self._tell(node, after)

    async def _find_out(self, mine: Descriptor) -> None:
        """Whether a range of which this node has a replica, and no leader, has left it."""
        now = await (self._search(mine.id) if not mine.is_known else self._look_up_soon(mine.start))
        if now is None:
            return
        if now.id == mine.id:
            if now.generation > mine.generation and self._router.node not in now.members:
                self._store.retire(now, lambda _refusal: None)
        elif mine.id in now.absorbed:
            self._store.retire_absorbed(mine.id, now.id)

    async def _search(self, range_id: int) -> Descriptor | None:
        """A range of which nothing but the id is known, or the one that has absorbed it; None if there is neither.
        Raises Failed."""
        known = self._router.directory.find_id(range_id)
        if known is not None:
            return await self._look_up_soon(known.start)
        # Rare: it was cut off, moved away and merged while this node was down.
        key: bytes | None = b""
        while key is not None:
            now = await self._look_up_soon(key)
            if range_id == now.id or range_id in now.absorbed:
                return now
            key = now.end
        return None

    async def _look_up_soon(self, key: bytes) -> Descriptor:
        return await self.look_up(key, self._router.now() + LOOKUP_S)


def _failed(error: RangeError) -> Failed:
    return Failed(error) if isinstance(error, Refusal) else Failed(TimedOut(str(error)))
