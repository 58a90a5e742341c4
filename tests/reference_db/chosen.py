"""Reads by choice in a world, looked at without letting time pass: what they cost, and whether they were answered."""

import asyncio
from dataclasses import dataclass

from reference_db.api import ClientGet, ClientReply, ClientRequest, Consistency
from reference_db.node import ClientConnection
from tests.reference_db.world import World


@dataclass
class Costs:
    """What all nodes of a world have done so far."""

    raft_messages: int
    frames: int
    syncs: int
    entries: int
    rounds: int

    def since(self, earlier: "Costs") -> "Costs":
        return Costs(*(getattr(self, name) - getattr(earlier, name) for name in self.__dataclass_fields__))


NOTHING = Costs(0, 0, 0, 0, 0)


def costs(world: World) -> Costs:
    """The sums of all counters."""
    nodes = list(world.nodes.values())
    return Costs(
        raft_messages=sum(node.store.counters.raft_messages for node in nodes),
        frames=sum(node.frames_sent for node in nodes),
        syncs=sum(node.store.counters.syncs for node in nodes),
        entries=sum(one.group.last_index for node in nodes for one in node.store.replicas.values()),
        rounds=sum(node.store.reads.rounds for node in nodes),
    )


def send(
    world: World, name: str, key: bytes, consistency: Consistency, bound_ms: int = 0
) -> list[ClientReply]:
    """Ask a node; the list is filled when it answers."""
    world._request_id += 1
    replies: list[ClientReply] = []
    request = ClientRequest(world._request_id, ClientGet(key, 0, consistency, bound_ms), 4000)
    world.nodes[name].handle(request, ClientConnection(), replies.append)
    return replies


async def at_once(
    world: World, name: str, key: bytes, consistency: Consistency, bound_ms: int = 0
) -> ClientReply | None:
    """The reply that comes without a moment passing; None if none does."""
    replies = send(world, name, key, consistency, bound_ms)
    before = asyncio.get_running_loop().time()
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() == before
    return replies[0] if replies else None
