"""Writes of whole numbers are applied as additions, and how far they are applied is written only now and then.

After a restart the last few entries are applied once more. Most commands of this database say what a key's value
shall be, so nobody would notice; an addition counts twice, and the counter is too high on that replica. The class of
rqlite#2759: a log that is replayed into a state that has it already.
"""

from __future__ import annotations

from functools import partial

import msgspec

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import EntryKind, Ready
from reference_db.ranges.replica import Replica
from reference_db.storage import keys
from reference_db.storage.engine import WriteBatch
from reference_db.storage.mvcc import Mvcc, Version
from reference_db.txn.command import Command, Mutation, PutVersion
from reference_db.txn.state import RangeState

LAYER = "apply"
ROUTES = ("I", "A", "H")
WORKLOAD = "bank"
NEMESIS = "kill"
SEEDS = (1, 3)

EVERY = 8
"""The applied index is written when it is a multiple of this: below the least number of entries that are kept."""


class _State(RangeState):
    __slots__ = ()

    def apply(self, command: Command, entry_term: int, batch: WriteBatch) -> bool:
        mutations = tuple(self._added(mutation) for mutation in command.mutations)
        return super().apply(msgspec.structs.replace(command, mutations=mutations), entry_term, batch)

    def _added(self, mutation: Mutation) -> Mutation:
        """The first time an addition gives the value that the leader has worked out; a version that is here already is
        added once more to the newest one."""
        if not isinstance(mutation, PutVersion):
            return mutation
        at = keys.version_key(mutation.key, mutation.timestamp)
        if self.reader.get(at) is None:
            return mutation
        before = _number(Mvcc(self.reader).get(mutation.key, mutation.timestamp.prev()))
        value = _number(Version(mutation.timestamp, mutation.value))
        newest = _number(self.mvcc.get(mutation.key))
        if before is None or value is None or newest is None:
            return mutation
        return msgspec.structs.replace(mutation, value=msgspec.msgpack.encode(newest + value - before))


def _number(version: Version | None) -> int | None:
    """The value as a whole number, if it is one; values are msgpack."""
    if version is None or version.value is None:
        return None
    try:
        return msgspec.msgpack.decode(version.value, type=int)
    except msgspec.DecodeError:
        return None


def plant(node: Node) -> None:
    """All replicas of a node add, and seldom write how far they are."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    become(replica.state, _State)
    replica.take_ready = partial(_take_ready, replica, replica.take_ready)  # type: ignore[method-assign]


def _take_ready(replica: Replica, take_ready: object, ready: Ready, batch: WriteBatch) -> None:
    assert callable(take_ready)
    take_ready(ready, batch)
    has_change = any(entry.kind != EntryKind.NORMAL for entry in ready.committed_entries)
    if ready.snapshot is None and not has_change and replica.applied_index % EVERY:
        applied_key = keys.applied_key(replica.id)
        batch.changes = [change for change in batch.changes if change[1] != applied_key]
