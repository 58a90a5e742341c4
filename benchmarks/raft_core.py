"""CPU time of the Raft core alone: three members in one process, no network, disk or codec.

Prints microseconds of CPU per committed entry, summed over the three members, for several batch sizes, and what an
idle group costs per tick. Run: `python -m benchmarks.raft_core`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from reference_db.raft import Config, ConfState, Entry, MemoryLogStore, Message, RaftGroup, Snapshot

MEMBERS = (1, 2, 3)


class KeptLog(MemoryLogStore):
    """A store whose cost is one list append, and that forgets what was applied."""

    def append(self, entries: Sequence[Entry]) -> None:
        super().append(entries)
        if len(self._entries) > 20_000:
            self.compact(self.last_index() - 10_000)


class Trio:
    """Three members of one group; messages go by hand from one to the other."""

    def __init__(self, seed: int, announce_commits: bool) -> None:
        members = ConfState(voters=MEMBERS)
        self.stores = {node: KeptLog() for node in MEMBERS}
        for store in self.stores.values():
            store.restore(Snapshot(1, 1, members))
        self.groups = {
            node: RaftGroup(
                Config(node_id=node, announce_commits=announce_commits),
                self.stores[node],
                Random(seed + node),
                applied=1,
            )
            for node in MEMBERS
        }
        self.applied = 0
        self.messages = 0
        self.groups[1].campaign()
        self.settle()

    def settle(self) -> None:
        """Turns until nothing is left to do."""
        inbox: list[Message] = []
        while True:
            for message in inbox:
                self.groups[message.target].step(message)
            inbox = []
            idle = True
            for node, group in self.groups.items():
                if not group.has_ready():
                    continue
                idle = False
                ready = group.ready()
                if ready.hard_state is not None:
                    self.stores[node].set_hard_state(ready.hard_state)
                if ready.entries:
                    self.stores[node].append(ready.entries)
                inbox += ready.messages
                inbox += ready.messages_after_append
                if node == 1:
                    self.applied += len(ready.committed_entries)
                group.advance(ready)
            self.messages += len(inbox)
            if idle and not inbox:
                return


def per_entry_us(batch: int, entries: int, announce_commits: bool) -> tuple[float, float]:
    """CPU microseconds and messages per committed entry of 100 bytes, proposed `batch` at a time."""
    trio = Trio(batch, announce_commits)
    trio.applied = trio.messages = 0
    data = [b"x" * 100] * batch
    start = time.process_time()
    while trio.applied < entries:
        trio.groups[1].propose_many(data)
        trio.settle()
    return (time.process_time() - start) * 1e6 / trio.applied, trio.messages / trio.applied


def idle_tick_us(groups: int, ticks: int) -> float:
    """CPU microseconds per tick and `has_ready` of a follower that has nothing to do."""
    members = []
    for number in range(groups):
        store = MemoryLogStore()
        store.restore(Snapshot(1, 1, ConfState(voters=MEMBERS)))
        members.append(RaftGroup(Config(node_id=1, election_ticks=10**6), store, Random(number), applied=1))
    for member in members:
        member.has_ready()
    start = time.process_time()
    for _ in range(ticks):
        for member in members:
            member.tick()
            member.has_ready()
    return (time.process_time() - start) * 1e6 / (groups * ticks)


def main() -> None:
    print("batch   commit notices   us/entry (3 members)   messages/entry")
    for announce in (True, False):
        for batch in (1, 4, 16, 64):
            cost, messages = per_entry_us(batch, 20_000, announce)
            print(
                f"{batch:5d}   {'at once' if announce else 'with next':14s}   {cost:20.1f}   {messages:14.2f}"
            )
    print(f"idle follower: {idle_tick_us(500, 200):.2f} us per tick")


if __name__ == "__main__":
    main()
