"""What stays on a node of a replica that was removed: enough to never take back what it had promised.

A replica may come back: a range that moved away may return. The node is the same member of the group then, but without
the log that it had acknowledged. Two things would be wrong:

1. *It votes once more in a term in which it has voted.* So term and vote stay in the tombstone, and whoever comes back
   begins with them.
2. *It helps a candidate that lacks what it had acknowledged.* n1 left range 5, and forgot its log. n3, which has not
   heard of that, asks it for its vote; with an empty log n1 would have no reason to refuse. So as long as there is a
   tombstone only a snapshot brings a replica back, and only one whose descriptor is newer than the tombstone's; until
   the snapshot is installed it votes for nobody.

A tombstone without a descriptor is that of a range that was merged away: it never lives again.
"""

from __future__ import annotations

import msgspec

from reference_db.raft.messages import HardState
from reference_db.ranges.descriptor import Descriptor, decode_descriptor, encode_descriptor
from reference_db.storage import keys
from reference_db.storage.engine import Reader, WriteBatch


class Tombstone(msgspec.Struct, frozen=True, array_like=True):
    """Of one range on one node."""

    descriptor: bytes
    """The newest descriptor by which the node had no replica; empty: the range is gone for good."""
    term: int = 0
    vote: int = 0

    @property
    def generation(self) -> int | None:
        """A replica of a larger generation may live here again; None: none ever."""
        return decode_descriptor(self.descriptor).generation if self.descriptor else None

    def encode(self) -> bytes:
        return _ENCODER.encode(self)

    def admits(self, descriptor: Descriptor) -> bool:
        """Whether a range as of this descriptor may have a replica here."""
        generation = self.generation
        return generation is not None and descriptor.generation > generation


GONE = Tombstone(b"")
"""Of a range that was merged away."""


def read_tombstone(reader: Reader, range_id: int) -> Tombstone | None:
    """What is left of a replica of this range; None if there never was one, or it was never removed."""
    raw = reader.get(keys.tombstone_key(range_id))
    return None if raw is None else _DECODER.decode(raw)


def tombstone_for(descriptor: Descriptor, promised: HardState, before: Tombstone | None) -> Tombstone:
    """The tombstone of a replica that had promised this much, where one may lie already."""
    if before is not None:
        generation = before.generation
        if generation is None:
            return before
        if generation > descriptor.generation:
            descriptor = decode_descriptor(before.descriptor)
        if before.term > promised.term or (before.term == promised.term and not promised.vote):
            promised = HardState(before.term, before.vote)
    return Tombstone(encode_descriptor(descriptor), promised.term, promised.vote)


def erase_data(batch: WriteBatch, start: bytes, end: bytes | None) -> None:
    """Remove all versions, intents and records of a span."""
    for kind in keys.DATA:
        batch.delete_range(*keys.span(kind, start, end))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Tombstone)
