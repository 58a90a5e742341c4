"""How much of a log is kept: for whom, and up to which size; and who gets a snapshot because of it."""

import random

import pytest

from reference_db.api import ClientPut, Put
from reference_db.node import NodeOptions
from reference_db.raft import MessageKind
from reference_db.raft.progress import Inflights, Progress
from reference_db.ranges.truncation import cut_at, cut_at_size, needed_by_followers
from reference_db.storage.engine import MemoryEngine
from tests.reference_db.ranges.test_store import Bench
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


def follower(match: int, *, answers: bool = True, snapshot: int = 0) -> Progress:
    record = Progress(match=match, next=match + 1, inflights=Inflights(8, 1 << 20), is_learner=False)
    record.recent_active = answers
    if snapshot:
        record.become_snapshot(snapshot)
        record.recent_active = answers
    return record


def test_a_leader_keeps_what_followers_that_answer_still_need() -> None:
    assert needed_by_followers([follower(90), follower(40)]) == 40
    assert needed_by_followers([follower(90), follower(40, answers=False)]) == 90
    assert needed_by_followers([follower(90, answers=False)]) is None
    assert needed_by_followers([follower(90), follower(3, snapshot=70)]) == 70
    assert cut_at(first=1, applied=100, kept=10, needed=None) == 90
    assert cut_at(first=1, applied=100, kept=10, needed=40) == 40
    assert cut_at(first=1, applied=100, kept=10, needed=5) is None, "not worth it yet"
    assert cut_at(first=85, applied=100, kept=10, needed=None) is None


def test_a_log_above_its_size_is_cut_whoever_needs_it_but_not_beyond_what_is_applied() -> None:
    sizes = [100] * 20
    assert cut_at_size(11, 30, sizes, 2000, 2000) is None
    at = cut_at_size(11, 30, sizes, 2000, 1600)
    assert at == 18, "twelve hundred bytes are left"
    assert cut_at_size(11, 13, sizes, 2000, 1600) == 13
    assert cut_at_size(11, 10, sizes, 2000, 1600) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_sizes_of_a_log_are_those_of_its_entries_whatever_happens_to_it(seed: int) -> None:
    """Writes of random sizes, logs cut by number and by size; and after a restart the sizes are counted anew."""
    stream = random.Random(seed)
    engine = MemoryEngine()
    bench = Bench(engine=engine, log_entries_kept=10, log_bytes_most=4000)
    bench.become_leader()
    for _ in range(60):
        for _ in range(stream.randint(1, 4)):
            bench.submit(Put(b"%d" % stream.randrange(5), b"x" * stream.randrange(600)))
        bench.settle()
        log = bench.store.replicas[1].log
        assert log.size_bytes == sum(log.sizes())
        assert len(log.sizes()) == log.last_index() - log.first_index() + 1
        entries = log.entries(log.first_index(), log.last_index() + 1, 1 << 30)
        assert [len(entry.data) + 12 for entry in entries] == list(log.sizes())
        assert log.size_bytes <= 4000 + 4 * 700
    again = Bench(engine=engine, log_entries_kept=10, log_bytes_most=4000).store.replicas[1].log
    assert list(again.sizes()) == list(log.sizes())
    assert again.size_bytes == log.size_bytes


@pytest.mark.parametrize(("most_bytes", "snapshots"), [(1 << 20, 0), (3000, 1)])
def test_a_follower_that_lags_gets_a_snapshot_only_if_the_log_has_outgrown_its_bound(
    most_bytes: int, snapshots: int
) -> None:
    """One follower of three is cut off for less than an election timeout, and misses more entries than are kept. As
    many snapshots are sent as there are followers whose next entry is gone."""

    async def story() -> None:
        options = NodeOptions(log_entries_kept=10, log_bytes_most=most_bytes, settled_ticks=1_000_000)
        world = World(seed=2, ranges=1, options=options)
        world.start_all()
        await world.wait_until_led()
        leader = world.leader(1) or ""
        slow = [name for name in world.names if name != leader][-1]
        replica = world.nodes[leader].store.replicas[1]
        sent: list[int] = []
        gone: list[bool] = []
        original = world.nodes[leader].store._send

        def send(node: str, range_id: int, message: object) -> None:
            if message.kind == MessageKind.SNAPSHOT:  # type: ignore[attr-defined]
                sent.append(range_id)
                match = replica.group.core.peers.progress[message.target].match  # type: ignore[attr-defined]
                gone.append(match + 1 < replica.log.first_index())
            original(node, range_id, message)  # type: ignore[arg-type]

        world.nodes[leader].store._send = send
        # It has answered since the leader last checked its quorum, and so counts as answering for a while.
        core = replica.group.core
        await world.wait_for(lambda: core.election_elapsed == 3, step_s=0.001)
        first = replica.log.first_index()
        world.cut |= {(leader, slow), (slow, leader)}
        for number in range(40):
            await world.ask(leader, ClientPut(b"k%d" % (number % 7), b"x" * 200), timeout_s=1)
        behind = core.peers.progress[world.names.index(slow) + 1]
        assert behind.recent_active
        assert (behind.match + 1 < replica.log.first_index()) == (snapshots > 0), first
        world.heal()
        await world.wait_for(world.is_quiet, what="all replicas hold the same")
        assert len(sent) == snapshots
        assert all(gone)
        await world.stop()

    run_virtually(story())
