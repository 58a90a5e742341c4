"""An entry is written, overwritten, and overwritten back; then the disk reports the first of these writes.

n1 follows, and its disk works through three writes in order. 1. A leader of term 1 sends a at index 2. 2. A leader of
term 2 sends b there. 3. A leader of term 3, which has a, sends it again, with an entry of its own; both are committed.
4. The disk has done the first write. 5. It has done the second one, and the power fails. What n1 has applied by then
must be in its log.
"""

from __future__ import annotations

from random import Random

from reference_db.defects.append_aba import plant_in
from reference_db.raft import (
    Config,
    ConfState,
    Entry,
    HardState,
    MemoryLogStore,
    Message,
    MessageKind,
    RaftGroup,
    Snapshot,
)


def directed(plant: bool) -> list[str]:
    """What is broken."""
    store = MemoryLogStore()
    store.restore(Snapshot(0, 0, ConfState(voters=(1, 2, 3))))
    store.append([Entry(1, 1)])
    store.set_hard_state(HardState(1, 0, 1))
    config = Config(node_id=1, async_storage_writes=True, pre_vote=False, check_quorum=False)
    group = RaftGroup(config, store, Random(1), applied=1)
    if plant:
        plant_in(group)
    writes: list[Message] = []
    applied: list[Entry] = []

    def take_turns() -> None:
        while group.has_ready():
            for message in group.ready().messages:
                if message.kind == MessageKind.STORAGE_APPEND:
                    writes.append(message)
                elif message.kind == MessageKind.STORAGE_APPLY:
                    applied.extend(message.entries)
                    for response in message.responses:
                        group.step(response)

    def send(leader: int, term: int, entries: tuple[Entry, ...], commit: int) -> None:
        group.step(Message(MessageKind.APPEND, 1, leader, term, 1, 1, commit, entries))
        take_turns()

    def write_one() -> None:
        write = writes.pop(0)
        store.append(write.entries)
        for response in write.responses:
            if response.target == 1:
                group.step(response)
        take_turns()

    a = Entry(1, 2, b"a")
    send(2, 1, (a,), 1)
    send(3, 2, (Entry(2, 2, b"b"),), 1)
    send(2, 3, (a, Entry(3, 3)), 3)
    assert len(writes) == 3
    write_one()
    write_one()
    return [
        f"n1 has applied entry {entry.index} of term {entry.term}, and its disk holds term {store.term(entry.index)}"
        for entry in applied
        if store.term(entry.index) != entry.term
    ]
