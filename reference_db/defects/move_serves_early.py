"""A replica that comes with a move begins when it knows its range, and not when it has the range's data.

1. Range 7 moves from n1 to n4, which is told keys, members and index, and takes part. 2. The data should follow; n4 is
a voter already, and n1 has removed its own. 3. n4 is elected and answers that keys are not there. In Dgraph half of the
acknowledged inserts were missing after tablets had moved (dgraph#4538, #4534, #2338).
"""

from __future__ import annotations

import msgspec

from reference_db.defects import become
from reference_db.node import Node
from reference_db.raft.messages import Message
from reference_db.ranges.snapshots import SnapshotReceiver
from reference_db.storage.snapshot_pieces import PieceHead, whole

LAYER = "move"
ROUTES = ("I", "A", "H")
WORKLOAD = "set"
NEMESIS = "move,transfer"
NODES = 5
SEEDS = ()

_HEAD = msgspec.msgpack.Decoder(PieceHead)
_NO_PAIRS = msgspec.msgpack.encode([])


def plant(node: Node) -> None:
    """Override what this node makes of a snapshot for a range of which it has nothing."""

    class Receiver(SnapshotReceiver):
        def take(self, range_id: int, message: Message) -> Message | None:
            """Of a snapshot that is one piece, as small ones are, the head is enough."""
            found = super().take(range_id, message)
            replica = node.store.replicas.get(range_id)
            if found is None or (replica is not None and replica.descriptor.is_known):
                return found
            assert found.snapshot is not None, f"a snapshot of range {range_id} without one"
            data = whole(_HEAD.decode(message.context).head, _NO_PAIRS)
            return msgspec.structs.replace(found, snapshot=msgspec.structs.replace(found.snapshot, data=data))

    become(node.store.receiver, Receiver)
