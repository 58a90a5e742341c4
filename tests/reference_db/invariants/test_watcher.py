"""The watcher on live nodes: it reports what is planted in them, and nothing while they are as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from reference_db.api import ClientMerge, ClientPut
from reference_db.invariants import INVARIANTS, Watcher, WatcherBroken
from reference_db.node import Node
from reference_db.raft.messages import Entry, HardState, Message, MessageKind
from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.raft_log import RaftLog
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


def broken(world: World) -> set[str]:
    return {violation.name for violation in world.violations}


async def some_writes(world: World, count: int = 30, timeout_s: float = 4.0) -> None:
    await world.wait_until_led()
    for number in range(count):
        await world.ask("n1", ClientPut(b"k%d" % (number % 7), b"%d" % number), timeout_s=timeout_s)


async def run_with(plant: Callable[[Node], None] | None) -> World:
    world = World(seed=1, ranges=2, plant=plant, watcher=Watcher())
    world.start_all()
    await some_writes(world)
    await world.stop()
    return world


def plant_lying_sync(node: Node) -> None:
    """What is written counts as synced at once."""
    node.store._sync = lambda done: done()


def plant_early_promise(node: Node) -> None:
    """n2 lets its promises go before the sync."""
    if node.name != "n2":
        return
    for replica in node.store.replicas.values():
        group = replica.group
        ready = group.ready

        def early(ready: Callable[[], object] = ready) -> object:
            found = ready()
            found.messages, found.messages_after_append = (  # type: ignore[attr-defined]
                [*found.messages, *found.messages_after_append],  # type: ignore[attr-defined]
                [],
            )
            return found

        replica.group = _Replaced(group, ready=early)  # type: ignore[assignment]


class _Replaced:
    """Something with one attribute replaced."""

    def __init__(self, original: object, **replaced: object) -> None:
        self._original = original
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> object:
        return getattr(self._original, name)


def plant_forgetful_apply(node: Node) -> None:
    """n3 leaves out one change of the fifth entry that it applies in a range."""
    if node.name != "n3":
        return
    for replica in node.store.replicas.values():
        apply = replica._apply

        def forgetful(
            entry: Entry, batch: WriteBatch, apply: Callable[[Entry, WriteBatch], None] = apply
        ) -> None:
            apply(entry, batch)
            if entry.index == 5 and entry.data:
                batch.changes.pop()

        replica._apply = forgetful  # type: ignore[method-assign]


def plant_double_apply(node: Node) -> None:
    """n3's entries write their data under another key."""
    if node.name != "n3":
        return
    for replica in node.store.replicas.values():
        apply = replica._apply

        def renamed(
            entry: Entry, batch: WriteBatch, apply: Callable[[Entry, WriteBatch], None] = apply
        ) -> None:
            before = len(batch.changes)
            apply(entry, batch)
            for at in range(before, len(batch.changes)):
                kind, key, value = batch.changes[at]
                batch.changes[at] = (kind, key, value + b"!")

        replica._apply = renamed  # type: ignore[method-assign]


def plant_unkept_entries(node: Node) -> None:
    """n2 doesn't write the entries of the log that it acknowledges."""
    if node.name != "n2":
        return
    for replica in node.store.replicas.values():

        def append(batch: WriteBatch, entries: list[Entry], log: RaftLog = replica.log) -> None:
            scratch = WriteBatch()
            log.append(scratch, entries)

        replica.log = _Replaced(replica.log, append=append)  # type: ignore[assignment]


def plant_unkept_hard_state(node: Node) -> None:
    """n2 doesn't write its votes."""
    if node.name != "n2":
        return
    for replica in node.store.replicas.values():

        def forget(batch: WriteBatch, state: HardState, log: RaftLog = replica.log) -> None:
            log.set_hard_state(WriteBatch(), state)

        replica.log = _Replaced(replica.log, set_hard_state=forget)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (plant_lying_sync, {"durable before promised", "committed on a durable quorum", "clock bound"}),
        (plant_early_promise, {"durable before promised"}),
        (plant_forgetful_apply, {"state machine safety"}),
        (plant_double_apply, {"state machine safety"}),
        (plant_unkept_entries, {"durable before promised"}),
        (plant_unkept_hard_state, {"durable before promised"}),
    ],
)
def test_what_is_planted_in_a_node_is_reported(plant: Callable[[Node], None], expected: set[str]) -> None:
    assert expected <= broken(run_virtually(run_with(plant)))


def test_nothing_is_reported_of_nodes_as_they_should_be() -> None:
    world = run_virtually(run_with(None))
    assert world.violations == []
    assert world.watcher is not None
    assert world.watcher.steps > 100


async def _after_a_restart(damage: Callable[[World], None], forget: bool = False) -> World:
    world = World(seed=3, ranges=2, watcher=Watcher())
    world.start_all()
    await some_writes(world)
    world.crash("n3")
    await some_writes(world, 5, timeout_s=20)
    damage(world)
    if forget and world.watcher is not None:
        world.watcher.forget_disk("n3")
    world.start("n3")
    await asyncio.sleep(2)
    await world.stop()
    return world


def _forget_vote(world: World) -> None:
    engine = world.engines["n3"]
    batch = WriteBatch()
    log = RaftLog(engine, 1)
    state = log.hard_state
    batch.put(keys.hard_state_key(1), b"\x93" + bytes((state.term, 0, state.commit)))
    engine.write(batch)
    engine.sync()


def _lose_a_version(world: World) -> None:
    engine = world.engines["n3"]
    versions = list(engine.scan(*keys.span(keys.VERSION, b"", None)))
    batch = WriteBatch()
    batch.delete(versions[0][0])
    engine.write(batch)
    engine.sync()


def test_a_vote_that_a_restart_has_lost_is_reported() -> None:
    assert run_virtually(_after_a_restart(lambda _: None)).violations == []
    assert broken(run_virtually(_after_a_restart(_forget_vote))) == {"survives a restart"}
    assert run_virtually(_after_a_restart(_forget_vote, forget=True)).violations == []


def test_data_that_a_restart_has_lost_is_reported() -> None:
    assert "state machine safety" in broken(run_virtually(_after_a_restart(_lose_a_version)))


def test_a_dead_node_is_not_looked_at() -> None:
    """The callbacks of a node that died may still run; what they do reaches nobody."""

    async def story() -> World:
        world = World(seed=5, ranges=1, watcher=Watcher())
        world.start_all()
        await some_writes(world, 3)
        old = world.nodes["n2"]
        world.crash("n2")
        old.store._engine.write(WriteBatch())
        world.start("n2")
        await some_writes(world, 3, timeout_s=20)
        await world.stop()
        return world

    assert run_virtually(story()).violations == []


def test_a_watcher_that_fails_says_so_and_does_not_disturb_the_node() -> None:
    async def story() -> None:
        world = World(seed=6, ranges=1, watcher=Watcher())
        world.start_all()
        await world.wait_until_led()
        watcher, world.watcher = world.watcher, None
        assert watcher is not None
        watcher._truths.clear()
        await world.ask("n1", ClientPut(b"k", b"v"))
        with pytest.raises(WatcherBroken):
            watcher.after_step("n1")

    run_virtually(story())


def test_every_invariant_is_broken_by_some_test() -> None:
    tests = Path(__file__).parents[1]
    texts = "".join(path.read_text() for path in sorted(tests.rglob("test_*.py")))
    assert [name for name in INVARIANTS if f'"{name}"' not in texts] == []


def test_what_a_range_had_made_durable_counts_also_where_it_was_absorbed() -> None:
    """A member that has yet to hear of the merge may commit an entry that the others acknowledged before theirs: they
    have no such range any more, and had the entry on their disks (register, seed 210)."""

    async def story() -> None:
        watcher = Watcher()
        world = World(seed=1, ranges=2, watcher=watcher)
        world.start_all()
        await some_writes(world)
        before = {name: durable.has(1, 1) for name, _, _, durable in watcher._images(2)}
        assert set(before) == set(world.names)
        await world.ask("n1", ClientMerge(b""))
        await world.wait_for(
            lambda: all(2 not in node.store.replicas for node in world.nodes.values()), what="one range"
        )
        assert {name: durable.has(1, 1) for name, _, _, durable in watcher._images(2)} == before
        assert world.violations == []
        await world.stop()

    run_virtually(story())


def test_what_was_acknowledged_before_a_disk_was_destroyed_counts() -> None:
    """1. n2 and n3 sync an entry and say so. 2. They are killed, and everything on their disks is gone. 3. The leader
    hears what they said, and commits by it: nothing could have told it. Its twin has lost something itself."""

    async def story(destroyed: bool) -> set[str]:
        watcher = Watcher()
        world = World(seed=1, ranges=1, watcher=watcher)
        world.start_all()
        await some_writes(world, 3)
        truth, acknowledged = watcher._truths[1], watcher._nodes["n3"].replicas[1].durable
        last, term = acknowledged.last, acknowledged.term(acknowledged.last) or 0
        for name in ("n2", "n3"):
            world.crash(name)
            if destroyed:
                watcher.forget_disk(name)
            else:
                watcher._nodes[name].replicas.clear()
        found = {violation.name for violation in truth._on_quorum("n1", last, term, [frozenset((1, 2, 3))])}
        await world.stop()
        return found

    assert run_virtually(story(True)) == set()
    assert run_virtually(story(False)) == {"committed on a durable quorum"}


def test_a_node_whose_disk_was_wiped_is_held_to_nothing_that_it_had_promised() -> None:
    """It starts as if it never had been, and votes again in a term in which it had voted. Its twin, whose disk nobody
    wiped, has forgotten its vote by itself."""

    async def story(wiped: bool) -> set[str]:
        watcher = Watcher()
        world = World(seed=3, ranges=1, watcher=watcher)
        world.start_all()
        await some_writes(world)
        truth = watcher._truths[1]
        world.crash("n3")
        if wiped:
            watcher.forget_disk("n3")
            world.engines["n3"] = MemoryEngine()
        truth.voted("n3", 99, 1)
        world.start("n3")
        found = {violation.name for violation in truth.voted("n3", 99, 2)}
        await world.stop()
        return found

    assert run_virtually(story(True)) == set()
    assert run_virtually(story(False)) == {"one vote a term"}


def test_an_acknowledgement_of_an_earlier_term_may_be_late() -> None:
    """What it tells of was there in its term, and has been replaced by who leads now: whether it waited here or on its
    way is all one to whom it goes (register, seed 53). In the term that goes on it must be there."""

    async def story() -> list[set[str]]:
        watcher = Watcher()
        world = World(seed=1, ranges=1, watcher=watcher)
        world.start_all()
        await some_writes(world, 3)
        follower = next(
            name for name, node in world.nodes.items() if not node.store.replicas[1].group.is_leader
        )
        watched, group = watcher._nodes[follower], world.nodes[follower].store.replicas[1].group
        seen = []
        for term in (group.term - 1, group.term):
            late = Message(
                MessageKind.APPEND_RESPONSE, 1, group.core.node_id, term, index=group.last_index + 1
            )
            watcher._look_at_promise(watched, 1, late)
            seen.append({violation.name for violation in watcher._found})
        watcher._found.clear()
        await world.stop()
        return seen

    assert run_virtually(story()) == [set(), {"durable before promised"}]


@pytest.mark.parametrize(("is_absorbed", "expected"), [(True, set()), (False, {"returned is empty"})])
def test_what_a_member_acknowledged_went_with_the_range_that_another_has_absorbed(
    is_absorbed: bool, expected: set[str]
) -> None:
    """A leader that hears last of a merge believes what a member that came while it led had before (bank, seed 421)."""

    async def story() -> set[str]:
        watcher = Watcher()
        world = World(seed=1, ranges=1, watcher=watcher)
        world.start_all()
        await some_writes(world, 3)
        leader = next(name for name, node in world.nodes.items() if node.store.replicas[1].group.is_leader)
        replica = world.nodes[leader].store.replicas[1]
        member = next(id for id, name in replica._names.items() if name != leader)
        replica._joined[member] = 1
        other = watcher._nodes[replica._names[member]]
        gone = other.replicas.pop(1)
        other.left.add(1)
        if is_absorbed:
            other.absorbed[1] = gone
        answer = Message(
            MessageKind.APPEND_RESPONSE,
            replica.group.core.node_id,
            member,
            replica.group.term,
            index=gone.written.last,
        )
        watcher._on_step(
            watcher._nodes[leader], watcher._nodes[leader].replicas[1], lambda _message: None, answer
        )
        found = {violation.name for violation in watcher._found}
        watcher._found.clear()
        other.replicas[1] = gone
        await world.stop()
        return found

    assert run_virtually(story()) == expected
