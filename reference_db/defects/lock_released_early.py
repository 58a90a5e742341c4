"""Making a transaction final removes its intent first; the version shows only with the range's next command.

In between a reader finds neither, and reads what was there before: an acknowledged write is missing for a while. Seen
in YugabyteDB (yugabyte-db#616): the lock was released before the version was visible.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.storage.engine import WriteBatch
from reference_db.txn.command import Command, Mutation, PutVersion, RemoveIntent
from reference_db.txn.state import RangeState

LAYER = "apply"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = ""
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override how this node's replicas apply commands that remove intents."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    withheld: list[Mutation] = []

    class LateState(RangeState):
        """Applies the versions of removed intents one command late."""

        __slots__ = ()

        def apply(self, command: Command, entry_term: int, batch: WriteBatch) -> bool:
            if command.term != entry_term:
                return False
            removed = {one.key for one in command.mutations if isinstance(one, RemoveIntent)}
            late = [one for one in command.mutations if isinstance(one, PutVersion) and one.key in removed]
            now = (*withheld, *(one for one in command.mutations if one not in late))
            withheld[:] = late
            return super().apply(Command(command.term, command.timestamp, now), entry_term, batch)

    become(replica.state, LateState)
