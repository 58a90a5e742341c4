"""What a replica holds after each index: one number for all its bytes, kept up to date with every entry.

The number is a sum over the pairs of versions, intents and records, so it can be changed pair by pair, and computed
anew where data comes in another way (a start, a snapshot). It doesn't depend on the way there: a replica that was
restored must come to the same number as one that applied every entry.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from reference_db.ranges.descriptor import Descriptor
from reference_db.storage import keys
from reference_db.storage.engine import PUT, Reader

Change = tuple[int, bytes, bytes]
_MASK = (1 << 64) - 1
_KINDS = keys.DATA
_REMEMBERED = 512


class ReplicaDigest:
    """The sum of one replica."""

    __slots__ = ("_replaceable", "value")

    def __init__(self) -> None:
        self.value = 0
        self._replaceable: dict[bytes, int] = {}
        """What each pair adds to the sum: it may be replaced or removed."""

    def load(self, reader: Reader, descriptor: Descriptor) -> None:
        """Compute it from everything that an engine holds of the range."""
        self.take(pairs_of(reader, descriptor))

    def take(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Compute it from these pairs."""
        self.value = 0
        self._replaceable.clear()
        for pair in pairs:
            self._put(*pair)

    def change(self, changes: Sequence[Change]) -> None:
        """Follow what applying an entry does."""
        for kind, key, value in changes:
            if key[:1] not in _KINDS:
                continue
            if kind == PUT:
                self._put(key, value)
            else:
                self.value = (self.value - self._replaceable.pop(key, 0)) & _MASK

    def _put(self, key: bytes, value: bytes) -> None:
        weight = hash((key, value))
        self.value = (self.value + weight - self._replaceable.get(key, 0)) & _MASK
        self._replaceable[key] = weight


class RangeStates:
    """What the first replica to reach an index had there, and lately also how it came there."""

    __slots__ = ("_effects", "_first", "frontier", "pairs")

    def __init__(self) -> None:
        self._first: dict[int, tuple[int, str]] = {}
        """By index: sum, and the node that was there first."""
        self._effects: OrderedDict[int, tuple[Change, ...]] = OrderedDict()
        self.frontier = 0
        """The highest index that any replica has applied."""
        self.pairs: dict[bytes, bytes] = {}
        """What all committed commands up to there have written: what every replica must hold at that index."""

    def reached(self, node: str, index: int, digest: int, effects: Sequence[Change] = ()) -> str | None:
        """A replica has applied an index. The first one's word is taken; the name of the first one if they differ."""
        known = self._first.get(index)
        if known is None:
            self._first[index] = (digest, node)
            if index > self.frontier:
                self.frontier = index
                for kind, key, value in effects:
                    if key[:1] not in _KINDS:
                        continue
                    if kind == PUT:
                        self.pairs[key] = value
                    else:
                        self.pairs.pop(key, None)
            effects_of = self._effects
            effects_of[index] = tuple(effects)
            if len(effects_of) > _REMEMBERED:
                effects_of.popitem(last=False)
            return None
        return None if known[0] == digest else known[1]

    def cut(self, right: Descriptor) -> RangeStates:
        """The range was split: what all replicas of the new one must begin with."""
        other = RangeStates()
        other.pairs = {key: value for key, value in self.pairs.items() if holds(right, key)}
        for key in other.pairs:
            del self.pairs[key]
        return other

    def effects(self, index: int) -> tuple[Change, ...] | None:
        """What the entry at an index did on the replica that was there first, if it is not too long ago."""
        return self._effects.get(index)


def pairs_with(reader: Reader, descriptor: Descriptor, changes: Sequence[Change]) -> dict[bytes, bytes]:
    """What an engine will hold of a range once these changes, which are about to be written, are."""
    pairs = dict(pairs_of(reader, descriptor))
    for kind, key, value in changes:
        if holds(descriptor, key):
            if kind == PUT:
                pairs[key] = value
            else:
                pairs.pop(key, None)
    return pairs


def holds(descriptor: Descriptor, key: bytes) -> bool:
    """Whether an engine's key is one of the range's versions, intents or records."""
    kind = key[:1]
    if kind not in _KINDS:
        return False
    start, end = keys.span(kind, descriptor.start, descriptor.end)
    return start <= key < end


def pairs_of(reader: Reader, descriptor: Descriptor) -> list[tuple[bytes, bytes]]:
    """Everything that an engine holds of a range's versions, intents and records."""
    return [
        pair for kind in _KINDS for pair in reader.scan(*keys.span(kind, descriptor.start, descriptor.end))
    ]


def shown_changes(changes: Sequence[Change] | None, most: int = 6) -> str:
    """Changes as text, cut after a few."""
    if changes is None:
        return "not remembered"
    if not changes:
        return "nothing"
    parts = [
        f"{'put' if kind == PUT else 'delete'} {_shown(key)}" + (f" = {_shown(value)}" if kind == PUT else "")
        for kind, key, value in changes[:most]
    ]
    return "; ".join(parts) + ("; ..." if len(changes) > most else "")


def _shown(raw: bytes) -> str:
    return repr(raw[:60])[1:] + ("..." if len(raw) > 60 else "")
