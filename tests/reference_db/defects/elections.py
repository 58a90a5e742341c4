"""What stories about defects steer: who campaigns when, who has led what, and power that fails."""

from __future__ import annotations

import asyncio

from tests.reference_db.world import World


def hurry(world: World, name: str, range_id: int = 1) -> None:
    """This node's election timeout passes at once, the others' not at all for now."""
    for other, node in world.nodes.items():
        group = node.store.replicas[range_id].group
        group.set_randomized_timeout(1 if other == name else 10_000)
        group.core.election_elapsed = 1_000


def lose_power(world: World, name: str) -> int:
    """A node ends, and all that it had not synced is gone, without exception. Returns how many batches that were."""
    node = world.nodes.pop(name)
    node.stop()
    world._syncs[name].dead = True
    for other in world.nodes.values():
        other.link_lost(name)
    return world.engines[name].crash()


async def leaders_by_term(world: World, seconds: float, range_id: int = 1) -> dict[int, set[str]]:
    """Who believes to lead, by term, over a while."""
    found: dict[int, set[str]] = {}
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        for name, node in world.nodes.items():
            group = node.store.replicas[range_id].group
            if group.is_leader:
                found.setdefault(group.term, set()).add(name)
        await asyncio.sleep(0.005)
    return found
