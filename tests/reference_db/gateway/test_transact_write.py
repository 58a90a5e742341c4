"""`transact_write`: all items or none, why not, what it costs, and that a token makes it happen once."""

import asyncio
from typing import Any

import msgspec
import pytest

from reference_db.api import (
    MAX_WRITE_BYTES,
    BadRequest,
    ClientGetMany,
    ClientGetVersion,
    ClientPut,
    ClientScan,
    ClientTransactWrite,
    CommitTransaction,
    ItemAction,
    ItemCondition,
    Overloaded,
    RangeReply,
    TransactionCancelled,
    TransactItem,
    ValueResult,
)
from reference_db.client import Item, decode_value, encode_value
from reference_db.gateway.transact_write import holds, updated, why_refused, write_units
from reference_db.node import NodeOptions
from reference_db.timestamp import Timestamp
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

KEYS = (b"f", b"m", b"z")
"""Of three ranges; tokens lie in a fourth."""


async def ready_world(**options: Any) -> World:
    world = World(**options)
    world.start_all()
    await world.wait_until_led()
    return world


def request(*items: Item, token: bytes = b"") -> ClientTransactWrite:
    return ClientTransactWrite(tuple(item.wire for item in items), token)


async def values(world: World, *keys: bytes) -> list[Any]:
    return [decode_value(value) for value in await world.ask("n1", ClientGetMany(keys or KEYS))]


# Without a cluster.


def test_a_request_that_breaks_a_rule_is_told_which() -> None:
    def refusal(*items: Item, token: bytes = b"") -> str:
        told = why_refused(request(*items, token=token))
        assert told is not None
        return told

    assert "1 to 100 items, got 0" in refusal()
    assert "1 to 100 items, got 101" in refusal(*(Item.put(f"k{one}", 1) for one in range(101)))
    assert why_refused(request(*(Item.put(f"k{one}", 1) for one in range(100)))) is None
    assert "items 0 and 1 are for the same key" in refusal(Item.put("a", 1), Item.check("a", exists=True))
    assert "CHECK of b'a' needs a condition" in refusal(Item.check("a"))
    assert "64 bytes at the most, got 65" in refusal(Item.put("a", 1), token=b"x" * 65)
    assert "is the system's" in refusal(Item.put("\x00a", 1))
    large = TransactItem(b"a", ItemAction.PUT, b"x" * MAX_WRITE_BYTES)
    assert "the limit of a request" in (why_refused(ClientTransactWrite((large,))) or "")
    no_value = ClientTransactWrite((TransactItem(b"a", ItemAction.PUT),))
    assert "needs a value" in (why_refused(no_value) or "")
    with pytest.raises(ValueError, match="choose one"):
        Item.put("a", 1, exists=True, equals=2)


def test_write_units_are_two_an_item_and_begun_kib() -> None:
    def units(*items: Item) -> int:
        return write_units([item.wire for item in items])

    assert units(Item.put("a", 1)) == 2
    assert units(Item.put("a", 1), Item.update("b", 1), Item.delete("c"), Item.check("d", exists=True)) == 8
    assert units(Item.put("a", "x" * 1000)) == 2
    assert units(Item.put("a", "x" * 1024)) == 4


def test_conditions_look_at_the_value_or_its_version() -> None:
    there, gone = ValueResult(b"v", Timestamp(5, 1)), ValueResult(None, Timestamp(6, 0))

    def told(found: ValueResult, condition: ItemCondition, **more: Any) -> bool:
        return holds(TransactItem(b"k", ItemAction.CHECK, None, condition, **more), found)

    assert told(there, ItemCondition.EXISTS)
    assert not told(gone, ItemCondition.EXISTS)
    assert told(gone, ItemCondition.NOT_EXISTS)
    assert not told(there, ItemCondition.NOT_EXISTS)
    assert told(there, ItemCondition.EQUALS, expected=b"v")
    assert not told(there, ItemCondition.EQUALS, expected=b"w")
    assert told(there, ItemCondition.VERSION, version=Timestamp(5, 1))
    assert not told(there, ItemCondition.VERSION, version=Timestamp(5, 0))
    assert told(ValueResult(None), ItemCondition.VERSION)


@pytest.mark.parametrize(
    ("before", "operand", "after"),
    [(None, 3, 3), (4, 3, 7), (4, -0.5, 3.5), (None, [1], [1]), ([1], [2, 3], [1, 2, 3])],
)
def test_an_update_adds(before: Any, operand: Any, after: Any) -> None:
    present = None if before is None else encode_value(before)
    assert decode_value(updated(present, encode_value(operand))) == after


@pytest.mark.parametrize(
    ("before", "operand"), [("text", 1), (1, "text"), ([1], 1), (1, [1]), (True, 1), (2**64 - 1, 1)]
)
def test_what_cannot_be_added_to_is_left(before: Any, operand: Any) -> None:
    assert updated(encode_value(before), encode_value(operand)) is None


# In a cluster.


def test_all_items_of_three_ranges_happen_at_one_timestamp_or_none_does() -> None:
    async def story() -> None:
        world = await ready_world()
        await world.ask("n1", ClientPut(b"z", encode_value("old")))
        written = request(Item.put("f", 1), Item.update("m", 5, exists=False), Item.delete("z", equals="old"))
        assert await world.ask("n2", written) == (6, False)
        assert await values(world) == [1, 5, None]
        versions = {tuple((await world.ask("n3", ClientGetVersion(key)))[1:]) for key in KEYS}
        assert len(versions) == 1

        with pytest.raises(Refused) as failure:
            await world.ask(
                "n2",
                request(
                    Item.put("f", 2),
                    Item.update("m", 5, exists=False),
                    Item.delete("z", version=Timestamp(1, 1)),
                    Item.check("nowhere", exists=False),
                ),
            )
        assert failure.value.error == TransactionCancelled(
            ("none", "condition-failed", "condition-failed", "none")
        )
        assert failure.value.definite
        assert "item 1: condition-failed" in failure.value.error.reason
        with pytest.raises(Refused) as failure:
            await world.ask("n2", request(Item.put("m", 9), Item.update("f", [1])))
        assert failure.value.error == TransactionCancelled(("none", "validation"))
        assert await values(world) == [1, 5, None]

        (_, wall_ns, logical) = await world.ask("n1", ClientGetVersion(b"f"))
        by_version = request(Item.put("f", 3, version=Timestamp(wall_ns, logical)))
        assert await world.ask("n1", by_version) == (2, False)
        with pytest.raises(Refused):
            await world.ask("n1", by_version)
        await world.wait_for(world.is_quiet)
        await world.stop()

    run_virtually(story())


def test_the_same_token_has_an_effect_once_through_any_node_at_any_time() -> None:
    """1. Six times at the same time, through all nodes. 2. Later again, after a crash. 3. With other items: refused.
    4. Another token: another effect."""

    async def story() -> None:
        world = await ready_world()
        once = request(Item.update("f", 1), Item.update("z", 1), token=b"t1")
        answers = await asyncio.gather(*(world.ask(name, once) for name in world.names * 2))
        assert sorted(answers) == [(4, False)] + [(4, True)] * 5
        world.crash("n1")
        await world.wait_until_led()
        assert await world.ask("n2", once) == (4, True)
        with pytest.raises(Refused) as failure:
            await world.ask("n2", request(Item.update("f", 2), token=b"t1"))
        assert isinstance(failure.value.error, BadRequest)
        assert "came with other items before" in failure.value.error.reason
        assert await world.ask("n2", request(Item.update("f", 1), token=b"t2")) == (2, False)
        world.start("n1")
        await world.wait_until_led()
        assert await values(world, b"f", b"z") == [2, 1]
        assert [key for key, _ in await world.ask("n1", ClientScan(b"", None, 0))] == [b"f", b"z"], (
            "tokens are no keys of clients"
        )
        assert world.trace.marks["a token was met again"] == 6
        await world.stop()

    run_virtually(story())


def test_a_lost_answer_is_asked_for_again_with_the_token() -> None:
    """The node that commits dies before it answers; another is asked with the same token, until it is over."""

    async def story(seed: int) -> None:
        world = await ready_world(seed=seed)
        once = request(*(Item.update(key.decode(), 1) for key in KEYS), token=b"t")
        asked = asyncio.ensure_future(world.ask("n1", once))
        await asyncio.sleep(0.0005 + 0.001 * seed)
        world.crash("n1")
        with pytest.raises(Unanswered):
            await asked
        await world.wait_until_led()
        for _ in range(20):
            try:
                await world.ask("n2", once)
                break
            except Refused:
                continue
        assert await values_through(world, "n3") == [1, 1, 1]
        world.start("n1")
        await world.wait_for(world.is_quiet, 60)
        await world.stop()

    async def values_through(world: World, name: str) -> list[Any]:
        return [decode_value(value) for value in await world.ask(name, ClientGetMany(KEYS))]

    for seed in range(8):
        run_virtually(story(seed))


def test_a_cancelled_request_leaves_no_token() -> None:
    async def story() -> None:
        world = await ready_world()
        conditional = request(Item.update("f", 1, exists=True), token=b"t")
        with pytest.raises(Refused):
            await world.ask("n1", conditional)
        await world.ask("n1", ClientPut(b"f", encode_value(1)))
        assert await world.ask("n1", conditional) == (2, False)
        assert await values(world, b"f") == [2]
        await world.stop()

    run_virtually(story())


def test_a_token_is_forgotten_by_a_leader_that_has_seen_it_for_long_enough_and_not_because_a_clock_jumps() -> (
    None
):
    async def story() -> None:
        world = await ready_world(options=NodeOptions(token_ms=10_000))
        once = request(Item.update("f", 1), token=b"t")
        await world.ask("n1", once)
        for name in world.names:
            world.clock_offsets_ns[name] += 3_600_000_000_000
        await asyncio.sleep(9)
        assert await world.ask("n2", once) == (2, True)
        # Its leader dies: the next one counts anew, so nothing is forgotten too early.
        leader = world.leader(1)
        assert leader is not None
        world.crash(leader)
        await asyncio.sleep(8)
        survivor = next(iter(world.nodes))
        assert await world.ask(survivor, once) == (2, True)
        world.start(leader)
        await asyncio.sleep(30)
        assert world.trace.marks["a token was forgotten"]
        assert await world.ask("n2", once) == (2, False)
        assert await values(world, b"f") == [2]
        await world.stop()

    run_virtually(story())


def entries(world: World) -> dict[int, int]:
    """Applied index of each range on the node that has applied most."""
    applied: dict[int, int] = {}
    for node in world.nodes.values():
        for replica in node.store.replicas.values():
            applied[replica.id] = max(applied.get(replica.id, 0), replica.applied_index)
    return applied


def test_a_duplicate_costs_the_data_ranges_no_entry() -> None:
    """Exact counts: an item is written twice (intent, version) in its range; a token costs the same in its own, and
    a duplicate nothing anywhere."""

    async def story() -> None:
        world = await ready_world()
        await asyncio.sleep(5)
        before = entries(world)
        once = request(Item.put("m", 1), Item.put("z", 1), token=b"t")
        await world.ask("n1", once)
        await world.wait_for(world.is_quiet)
        await asyncio.sleep(3)
        after = entries(world)
        grown = {range_id: after[range_id] - before[range_id] for range_id in after}
        assert grown[2] == 0
        assert grown[1] == grown[4] == 2, "the intent, and what it becomes"
        again = entries(world)
        await world.ask("n2", once)
        await asyncio.sleep(3)
        assert entries(world) == again
        await world.stop()

    run_virtually(story())


def test_an_overloaded_node_refuses_it_before_anything_happened() -> None:
    async def story() -> None:
        world = await ready_world()
        node = world.nodes["n1"]
        send = node.router._send_remote
        full = Overloaded("too many requests are under way")

        def refuse(target: str, asked: Any) -> bool:
            asyncio.get_running_loop().call_soon(
                node.router.receive, RangeReply(asked.request_id, error=full)
            )
            return True

        node.router._send_remote = refuse
        with pytest.raises(Refused) as failure:
            await world.ask("n1", request(*(Item.put(key.decode(), 1) for key in KEYS)))
        assert failure.value.definite
        node.router._send_remote = send
        await world.wait_for(world.is_quiet, 60)
        assert await values(world) == [None, None, None]
        await world.stop()

    run_virtually(story())


def test_the_wire_format_carries_it() -> None:
    asked = request(Item.put("a", 1, exists=False), Item.check("b", version=Timestamp(3, 4)), token=b"t")
    encoded = msgspec.msgpack.encode(asked)
    assert msgspec.msgpack.decode(encoded, type=ClientTransactWrite | CommitTransaction) == asked
