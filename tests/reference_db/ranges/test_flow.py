"""Every queue has an end: under an overload with a slow follower and a slow disk, requests are refused as overloaded,
and nothing in a node grows beyond its bound."""

import asyncio
from collections import Counter

from reference_db.api import ClientGet, ClientPut, Overloaded, Put
from reference_db.client import encode_value
from reference_db.node import NodeOptions
from reference_db.raft import Entry, Message, MessageKind
from reference_db.ranges.flow import Inbox, written_bytes
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

VALUE = b"\xc5\x27\x10" + b"x" * 10_000
OPTIONS = NodeOptions(
    request_bytes_most=400_000,
    range_requests_most=60,
    proposal_bytes_most=150_000,
    inflight_bytes_most=100_000,
    # So short that who falls behind gets snapshots, too.
    log_bytes_most=2_000_000,
)
A_TURN = 60 * len(VALUE)
"""What all requests that a range may have under way can propose at once, where nothing of it is uncommitted."""


def test_an_overload_with_a_slow_disk_and_a_slow_follower_stays_within_bounds() -> None:
    """A hundred and fifty clients write 10 kB each as fast as they can, one node's syncs take 0.3 s, another's frames
    come half a second late."""

    async def story() -> None:
        world = World(seed=9, ranges=2, options=OPTIONS)
        world.start_all()
        await world.wait_until_led()
        for node in world.nodes.values():
            node.store.inbox.most = 300_000
            node.router.pending_bytes_most = 600_000
        first, second, third = world.names
        world.slow_disks[second] = (0.2, 0.4)
        for other in (first, second):
            world.extra_delay_s[other, third] = world.extra_delay_s[third, other] = 0.5
        outcomes: Counter[str] = Counter()
        acknowledged: dict[bytes, bytes] = {}
        highest: Counter[str] = Counter()
        over = asyncio.get_running_loop().time() + 3.0

        async def write(client: int) -> None:
            number = 0
            while asyncio.get_running_loop().time() < over:
                number += 1
                key = b"%c%d" % (b"ams"[client % 3], client)
                value = VALUE + b"%d" % number
                try:
                    await world.ask(world.names[client % 3], ClientPut(key, value))
                except Refused as refused:
                    outcomes[type(refused.error).__name__] += 1
                    if isinstance(refused.error, Overloaded):
                        await asyncio.sleep(0.02)
                    else:
                        acknowledged.pop(key, None)
                        return
                except Unanswered:
                    acknowledged.pop(key, None)
                    return
                else:
                    outcomes["ok"] += 1
                    acknowledged[key] = value

        async def watch() -> None:
            while asyncio.get_running_loop().time() < over + 1:
                for node in world.nodes.values():
                    store = node.store
                    sizes = {
                        "request bytes": store.open.size_bytes,
                        "inbox bytes": store.inbox.size_bytes,
                        "pending bytes": node.router.pending_bytes,
                    }
                    for replica in store.replicas.values():
                        core = replica.group.core
                        sizes["requests of a range"] = replica.open_requests
                        sizes["uncommitted bytes"] = core.uncommitted_bytes
                        for number, peer in core.peers.progress.items():
                            if number != core.node_id:
                                sizes["in-flight bytes"] = peer.inflights.size_bytes
                        for name, size in sizes.items():
                            highest[name] = max(highest[name], size)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(write(client) for client in range(150)))
        await watching
        one = len(VALUE) + 100
        assert highest["request bytes"] <= OPTIONS.request_bytes_most + one
        assert highest["requests of a range"] <= OPTIONS.range_requests_most
        assert highest["uncommitted bytes"] <= max(OPTIONS.proposal_bytes_most, A_TURN) + one
        # The last message of a window is sent whole.
        assert highest["in-flight bytes"] <= 2 * OPTIONS.inflight_bytes_most
        assert highest["inbox bytes"] <= 300_000
        assert highest["pending bytes"] <= 600_000 + one
        # It was an overload, it was said so definitely, and work went on.
        assert Overloaded.definite
        assert outcomes["Overloaded"] > 100, outcomes
        assert outcomes["ok"] > 100, outcomes
        world.extra_delay_s.clear()
        world.slow_disks.clear()
        await world.wait_until_led()
        await world.wait_for(world.is_quiet, what="everybody caught up")
        assert acknowledged
        for key, value in acknowledged.items():
            assert await world.ask(first, ClientGet(key)) == value
        assert all(node.store.open.size_bytes == 0 for node in world.nodes.values())
        assert all(node.router.pending_bytes == 0 for node in world.nodes.values())
        await world.stop()

    run_virtually(story())


def test_an_inbox_drops_entries_that_do_not_fit_and_keeps_all_else() -> None:
    inbox = Inbox(most=100)
    append = Message(MessageKind.APPEND, 1, 2, 3, entries=(Entry(3, 4, b"x" * 60),))
    answer = Message(MessageKind.APPEND_RESPONSE, 1, 2, 3)
    inbox.extend([(1, append), (2, append), (1, answer)])
    assert (inbox.size_bytes, inbox.dropped) == (60, 1)
    assert inbox.take() == [(1, append), (1, answer)]
    # One that is too large for any inbox is taken by an empty one: it may be the only way forward.
    huge = Message(MessageKind.APPEND, 1, 2, 3, entries=(Entry(3, 4, b"x" * 600),))
    inbox.extend([(1, huge), (1, append)])
    assert inbox.take() == [(1, huge)]


def test_only_what_is_written_counts() -> None:
    assert written_bytes((Put(b"key", encode_value("value")),)) == 3 + 6
