"""A commit at once that was evaluated and then not carried out is not remembered as done: what Raft drops, and why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference_db.api import BeginTransaction, ClientGet, ClientPut, CommitTransaction
from reference_db.node import ClientConnection, NodeOptions
from reference_db.raft import ProposalDropped, RaftGroup
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

SETTLED = NodeOptions(settled_ticks=1_000_000)


@pytest.mark.parametrize("dropped", [0, 1])
def test_what_raft_would_not_take_is_written_by_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch, dropped: int
) -> None:
    """1. A leader that hands over evaluates a commit, and Raft drops it. 2. The handover comes to nothing, and the same
    leader is asked again. It must not say that it has committed long ago, with nothing in any log."""

    async def main() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        left = dropped
        propose = RaftGroup.propose_many

        def propose_many(group: RaftGroup, data: Any) -> int:
            nonlocal left
            group.core.transfer_target = group.config.node_id % 3 + 1 if left else 0
            if left:
                left -= 1
                raise ProposalDropped("the leader hands over")
            return propose(group, data)

        monkeypatch.setattr(RaftGroup, "propose_many", propose_many)
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientPut(b"f", b"1", number), connection)
        await world.ask("n1", CommitTransaction(number), connection)
        assert left == 0
        assert await world.ask("n2", ClientGet(b"f"), ClientConnection()) == b"1"
        await world.stop()

    run_virtually(main())


async def transfer_under_way(world: World, range_id: int) -> str:
    """The leader is about to hand over to a follower that cannot be reached. Who leads until that is given up."""
    leader = world.leader(range_id)
    assert leader is not None
    follower = next(name for name in world.names if name != leader)
    world.isolate(follower)
    assert world.nodes[leader].store.replicas[range_id]._begin_handing_over(follower) == follower
    return leader


def test_a_commit_that_met_a_transfer_is_not_taken_for_done_when_it_is_asked_for_again() -> None:
    """The leader evaluates the commit, and may not propose it: leadership is being handed over. When that has been
    given up it is asked again. It answered that the transaction had committed, of which nothing was in any log."""

    async def story() -> None:
        world = World(seed=3, ranges=1, options=SETTLED)
        world.start_all()
        await world.wait_until_led()
        await world.ask("n1", ClientPut(b"a", b"old"))
        connection = ClientConnection()
        leader = world.leader(1)
        assert leader is not None
        number = await world.ask(leader, BeginTransaction(), connection)
        assert await world.ask(leader, ClientGet(b"a", number), connection) == b"old"
        for key in (b"a", b"b"):
            await world.ask(leader, ClientPut(key, b"new", number), connection)
        assert await transfer_under_way(world, 1) == leader
        await world.ask(leader, CommitTransaction(number), connection, timeout_s=8)
        assert world.trace.marks["a proposal was dropped"] > 0, "the story is about that"
        assert [await world.ask(leader, ClientGet(key), timeout_s=8) for key in (b"a", b"b")] == [
            b"new",
            b"new",
        ]
        await world.stop()

    run_virtually(story())
