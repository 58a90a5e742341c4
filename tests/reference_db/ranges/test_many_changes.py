"""A hundred splits and merges while clients add to numbers: none fails, none waits long, and every count is exact."""

import asyncio
import random
from collections import Counter

import pytest

from reference_db.api import ClientAdd, ClientGet, ClientMerge, ClientMove, ClientSplit
from reference_db.client import decode_value, encode_value
from reference_db.invariants import Watcher
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

CHANGES = 100
CLIENTS = 6
KEYS = [b"k%02d" % number for number in range(40)]
LONGEST_S = 1.0
"""The shortest election timeout."""


class Adders:
    """Clients that add to numbers through all nodes, from now on; none may be refused, or go without an answer."""

    def __init__(self, world: World) -> None:
        self.added = dict.fromkeys(KEYS, 0)
        """By key: what was acknowledged."""
        self.longest_s = 0.0
        """The longest that one of them waited."""
        self._world = world
        self._is_over = False
        self._tasks = [asyncio.create_task(self._add(client)) for client in range(CLIENTS)]

    async def _add(self, client: int) -> None:
        loop = asyncio.get_running_loop()
        stream = random.Random(client)
        through = self._world.names[client % len(self._world.names)]
        while not self._is_over:
            key = stream.choice(KEYS)
            begin = loop.time()
            # Raises if it is refused, or not answered.
            await self._world.ask(through, ClientAdd(key, 1))
            self.longest_s = max(self.longest_s, loop.time() - begin)
            self.added[key] += 1
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Raises what one of them met."""
        self._is_over = True
        await asyncio.gather(*self._tasks)


@pytest.mark.slow
def test_a_hundred_splits_and_merges_lose_nothing_and_keep_nobody_waiting() -> None:
    """Where a split is not possible, because a range begins there already, there is a merge of that range, so each
    change is one: half of them splits, half merges, on the average."""

    async def story() -> None:
        world = World(seed=11, ranges=1)
        world.start_all()
        await world.wait_until_led()
        clients = Adders(world)
        stream = random.Random(3)
        splits = merges = 0
        borders: set[bytes] = set()
        while splits + merges < CHANGES:
            through = stream.choice(world.names)
            border = stream.choice(KEYS[1:])
            if border in borders:
                left = max((one for one in borders if one < border), default=b"\x01")
                try:
                    await world.ask(through, ClientMerge(left))
                except Refused as refused:
                    # This node had not heard of the left range's latest change; the freeze is undone.
                    assert refused.definite, refused.error  # noqa: PT017
                    await asyncio.sleep(0.5)
                    continue
                borders.discard(border)
                merges += 1
            else:
                await world.ask(through, ClientSplit(border))
                borders.add(border)
                splits += 1
            await asyncio.sleep(stream.uniform(0.0, 0.1))
        await clients.end()
        await world.wait_for(world.is_quiet, what="everybody has applied everything")

        assert clients.longest_s < LONGEST_S
        counters = [node.store.counters for node in world.nodes.values()]
        assert [one.splits for one in counters] == [splits] * 3
        assert [one.merges for one in counters] == [merges] * 3
        assert [one.snapshots for one in counters] == [0] * 3
        assert len(world.range_ids()) == 1 + splits - merges == len(borders) + 1
        assert min(splits, merges) > 20
        for key, count in clients.added.items():
            assert decode_value(await world.ask("n1", ClientGet(key))) == count
        assert sum(clients.added.values()) > 1000
        assert world.alarms == []
        await world.stop()

    run_virtually(story())


@pytest.mark.slow
def test_a_hundred_splits_merges_and_moves_fail_nobody_and_keep_nobody_waiting() -> None:
    """Four nodes, so that replicas can go somewhere. What a node that is asked for a change has not heard of yet, or
    finds under way, is refused for certain and chosen anew; clients notice nothing of all that."""

    async def story() -> None:
        world = World(seed=12, nodes=4, ranges=2, watcher=Watcher())
        world.start_all()
        await world.wait_until_led()
        clients = Adders(world)
        stream = random.Random(5)
        done: Counter[str] = Counter()
        while done.total() < CHANGES:
            kind = stream.choice(("split", "merge", "move"))
            led = {one: leader for one in world.range_ids() if (leader := world.leader(one)) is not None}
            range_id = stream.choice(sorted(led))
            descriptor = world.nodes[led[range_id]].store.replicas[range_id].descriptor
            wish: ClientSplit | ClientMerge | ClientMove = ClientMerge(descriptor.start or b"\x01")
            if kind == "split":
                inside = [key for key in KEYS if descriptor.contains(key) and key != descriptor.start]
                if not inside:
                    continue
                wish = ClientSplit(stream.choice(inside))
            elif kind == "move":
                (target,) = [node for node in world.names if node not in descriptor.members] or [""]
                if not target:
                    continue
                wish = ClientMove(range_id, stream.choice(descriptor.replicas), target)
            elif descriptor.end is None:
                continue
            try:
                await world.ask(stream.choice(world.names), wish, timeout_s=20)
            except Refused as refused:
                assert refused.definite, refused.error  # noqa: PT017
                await asyncio.sleep(0.5)
                continue
            done[kind] += 1
            await asyncio.sleep(stream.uniform(0.0, 0.1))
        await clients.end()
        await world.wait_for(world.is_quiet, what="everybody has applied everything")

        assert clients.longest_s < LONGEST_S
        assert min(done.values()) > 20, done
        for key, count in clients.added.items():
            assert decode_value(await world.ask("n1", ClientGet(key)) or encode_value(0)) == count
        assert sum(clients.added.values()) > 1000
        assert world.violations == []
        await world.stop()

    run_virtually(story())
