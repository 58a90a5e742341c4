"""What a range is: its id, its span of keys, who holds its replicas; and how the keyspace is cut at the start.

Rules that live here: spans are half-open, an `end` of None is the end of the keyspace; the descriptors of a cluster
tile the keyspace exactly once. Two nodes given the same arguments bootstrap the same descriptors, so no node has to
tell another. Later ranges split and merge: of all descriptors that ever held a key, those that came later have larger
generations, whatever their ids, so whoever meets two of them knows which one is older.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reference_db.ranges.cores import placed

DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
"""The alphabet over which the keyspace is cut: what keys of programs usually begin with."""


MOST_DIGITS = 3
"""How many characters of a key decide at most in which of the first ranges it lies."""


class Merging(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """For which range another one is frozen: its left neighbour, as it was then."""

    left_id: int
    left_generation: int
    left_start: bytes


class Descriptor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One range. `generation` grows with every change of span or replicas; `replicas` names nodes, the preferred
    leader first."""

    id: int
    start: bytes
    end: bytes | None
    replicas: tuple[str, ...]
    generation: int = 1
    merging: Merging | None = None
    """The range is frozen, and serves nothing, until its left neighbour has absorbed it or it is thawed."""
    absorbed: tuple[int, ...] = ()
    """Ids of the ranges that were merged into this one, or into one that it was a part of: they never live again."""
    learners: tuple[str, ...] = ()
    """Nodes whose replicas are being caught up, and don't vote yet."""
    leaving: tuple[str, ...] = ()
    """Nodes whose replicas still vote beside `replicas`, in a joint configuration, and are about to be removed."""

    @property
    def members(self) -> tuple[str, ...]:
        """Every node that has, or is about to get, a replica."""
        return (*self.replicas, *self.learners, *self.leaving)

    @property
    def is_moving(self) -> bool:
        """Whether replicas are under way from one node to another."""
        return bool(self.learners or self.leaving)

    @property
    def is_known(self) -> bool:
        """False for a replica that was asked to take part before it knows its range (`unknown_range`)."""
        return self.generation > 0

    def overlaps(self, start: bytes, end: bytes | None) -> bool:
        """Whether any key lies both in the span and in `[start, end)`."""
        return self.is_known and (end is None or self.start < end) and (self.end is None or start < self.end)

    def contains(self, key: bytes) -> bool:
        """Whether the key lies in the span."""
        return self.start <= key and (self.end is None or key < self.end)

    def contains_span(self, start: bytes, end: bytes | None) -> bool:
        """Whether all of `[start, end)` lies in the span."""
        return self.start <= start and (self.end is None or (end is not None and end <= self.end))

    @property
    def preferred_leader(self) -> str | None:
        """The replica that should lead when it can; None if the range is not known."""
        return self.replicas[0] if self.replicas else None


def unknown_range(range_id: int) -> Descriptor:
    """In place of the descriptor of a range of which nothing but its id is known: it holds no key."""
    return Descriptor(range_id, b"", b"", (), 0)


def encode_descriptor(descriptor: Descriptor) -> bytes:
    """As it is kept in the engine and told to others."""
    return _ENCODER.encode(descriptor)


def decode_descriptor(data: bytes) -> Descriptor:
    """Raises msgspec.DecodeError for anything that `encode_descriptor` has not made."""
    return _DECODER.decode(data)


def cut_points(ranges: int) -> list[bytes]:
    """The `ranges - 1` keys at which a new keyspace is cut: evenly spaced over the keys' first two characters, taken
    as base-36 digits (0-9, then a-z); over the first three for more than 1,296 ranges. For eight ranges: 4i 90 di i0 mi
    r0 vi. For more than 46,656 ranges: ValueError.

    Keys that begin otherwise (capitals, punctuation, bytes) sort before, between or after these, as bytes do.
    """
    base = len(DIGITS)
    if not 1 <= ranges <= base**MOST_DIGITS:
        raise ValueError(
            f"cannot cut the keyspace into {ranges} ranges: at least 1 and at most {base**MOST_DIGITS}"
        )
    places = 2 if ranges <= base**2 else MOST_DIGITS
    cuts = []
    for number in range(1, ranges):
        at = number * base**places // ranges
        cuts.append(bytes(DIGITS[at // base**place % base] for place in reversed(range(places))))
    return cuts


def bootstrap(ranges: int, nodes: Sequence[str], replication: int, cores: int = 1) -> list[Descriptor]:
    """The first descriptors of a cluster: ids from 1, replica sets round-robin over `nodes` in their order; with
    several cores a node, over stores, see `cores.placed`. Raises ValueError for more replicas than nodes.

    With as many replicas as nodes every node holds every range, and the preferred leader still goes round.
    """
    starts = [b"", *cut_points(ranges)]
    ends = [*cut_points(ranges), None]
    return [
        Descriptor(
            id=number + 1,
            start=starts[number],
            end=ends[number],
            replicas=placed(number, nodes, replication, cores),
        )
        for number in range(ranges)
    ]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Descriptor)
