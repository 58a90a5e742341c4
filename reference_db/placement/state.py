"""Which nodes there are, what each may hold, and who should lead: the state of placement, kept in the first range.

It is one value under a key of the system's part of the keyspace, so it is replicated, moves with its range, and whoever
leads that range decides. Every change makes a new version, by one compare-and-set. Members are never taken out of the
list: a node's place in it is its Raft id, in every range, for ever.

    joining ----> active ----> draining ----> decommissioned
                    ^              |
                    +--------------+

Rules that live here:

- Only an *active* node gets replicas that it doesn't have.
- A node that is *joining* becomes active when every other node has the version that names it, durably: whoever asks as
  many nodes as meet every quorum must count it before any quorum can.
- One that is *draining* is decommissioned when every other node has the version that says so, and after that no range
  was found that has a replica there. From then on nobody counts it, and it never comes back under its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import msgspec

PLACEMENT_KEY = b"\x00placement"
"""Where the state is kept. It lies before all keys of clients, so the first range has it, whatever is split."""


class MemberState(IntEnum):
    """What a node may hold."""

    JOINING = 0
    """It is counted where nodes are counted, and gets nothing yet."""
    ACTIVE = 1
    DRAINING = 2
    """What it has is moved away."""
    DECOMMISSIONED = 3
    """It has nothing, and is not counted any more."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One node."""

    name: str
    state: MemberState = MemberState.ACTIVE
    zone: str = ""
    """Where it stands: nodes of a zone are near each other, and may fail together. Empty: in a zone of its own."""
    address: tuple[str, int] | None = None
    """Where the others dial it; None: they were told at their start."""
    since: int = 0
    """The version in which it came into its state."""


class Placement(msgspec.Struct, frozen=True, array_like=True):
    """One version of the state."""

    version: int
    """0: the founders, as every node was told at its start; nothing is written yet."""
    members: tuple[Member, ...]
    replication: int
    """Replicas of a range. Never changes: a move swaps one for another."""
    leader_zones: tuple[str, ...] = ()
    """Where leaders should be, if a replica is there; empty: anywhere."""

    def find(self, name: str) -> Member | None:
        """The member of this name; None if there is none."""
        return next((one for one in self.members if one.name == name), None)

    @property
    def may_hold(self) -> frozenset[str]:
        """Who may get replicas."""
        return frozenset(one.name for one in self.members if one.state is MemberState.ACTIVE)

    @property
    def counted(self) -> tuple[str, ...]:
        """Among whom the replicas of any range are, in the order of their ids."""
        return tuple(one.name for one in self.members if one.state is not MemberState.DECOMMISSIONED)

    def in_state(self, state: MemberState) -> list[str]:
        """Who is in a state, in the order of their ids."""
        return [one.name for one in self.members if one.state is state]


def founded(
    founders: Sequence[str], replication: int, zones: Mapping[str, str], leader_zones: Sequence[str] = ()
) -> Placement:
    """The state of a cluster in which nothing has changed yet."""
    members = tuple(Member(name, zone=zones.get(name, "")) for name in founders)
    return Placement(0, members, replication, tuple(leader_zones))


def encode_placement(placement: Placement) -> bytes:
    """As it is kept, and told to nodes."""
    return _ENCODER.encode(placement)


def decode_placement(data: bytes) -> Placement:
    """Raises msgspec.DecodeError for anything that `encode_placement` has not made."""
    return _DECODER.decode(data)


def parse_zones(text: str) -> dict[str, str]:
    """`n1:eu/n2:us/n3:us` by node. Raises ValueError for anything else."""
    zones: dict[str, str] = {}
    for part in filter(None, text.split("/")):
        node, colon, zone = part.partition(":")
        if not (node and colon and zone) or node in zones:
            raise ValueError(f"zones is {text!r}: it must be NODE:ZONE/NODE:ZONE/..., each node once")
        zones[node] = zone
    return zones


# Changes. Each answers with the next version, or raises ValueError with the rule that it breaks.


def joined(before: Placement, name: str, address: tuple[str, int] | None, zone: str = "") -> Placement:
    """A new node is named; the same version if it is a member with this address already."""
    known = before.find(name)
    if known is not None:
        if known.state is MemberState.DECOMMISSIONED:
            raise ValueError(f"{name} was decommissioned: a node that comes back needs another name")
        if known.address == address and known.state is MemberState.JOINING:
            return before
        raise ValueError(f"there is a node {name} already")
    member = Member(name, MemberState.JOINING, zone, address, before.version + 1)
    return _next(before, (*before.members, member))


def activated(before: Placement, name: str) -> Placement:
    """A node may get replicas: everybody counts it."""
    return _with_state(before, name, (MemberState.JOINING,), MemberState.ACTIVE)


def drained(before: Placement, name: str) -> Placement:
    """What a node has shall be moved away. As many as a range has replicas must stay active."""
    known = before.find(name)
    if known is not None and known.state in (MemberState.DRAINING, MemberState.DECOMMISSIONED):
        return before
    stay = before.may_hold - {name}
    if len(stay) < before.replication:
        raise ValueError(
            f"{name} cannot go: ranges have {before.replication} replicas, and only {len(stay)} other nodes are active "
            f"({', '.join(sorted(stay))}); add a node first"
        )
    return _with_state(before, name, (MemberState.ACTIVE, MemberState.JOINING), MemberState.DRAINING)


def recommissioned(before: Placement, name: str) -> Placement:
    """A node that was to go stays after all."""
    known = before.find(name)
    if known is not None and known.state is MemberState.ACTIVE:
        return before
    return _with_state(before, name, (MemberState.DRAINING,), MemberState.ACTIVE)


def decommissioned(before: Placement, name: str) -> Placement:
    """A node has nothing any more, and will get nothing."""
    return _with_state(before, name, (MemberState.DRAINING,), MemberState.DECOMMISSIONED)


def preferring(before: Placement, leader_zones: Sequence[str]) -> Placement:
    """Leaders should be in these zones, if they have a replica there."""
    zones = {one.zone for one in before.members}
    unknown = [zone for zone in leader_zones if zone not in zones]
    if unknown:
        raise ValueError(
            f"no node is in zone {', '.join(map(repr, unknown))}: the zones are "
            f"{', '.join(sorted(filter(None, zones)))}"
        )
    if tuple(leader_zones) == before.leader_zones:
        return before
    return msgspec.structs.replace(before, version=before.version + 1, leader_zones=tuple(leader_zones))


def _with_state(
    before: Placement, name: str, allowed: Sequence[MemberState], state: MemberState
) -> Placement:
    known = before.find(name)
    if known is None:
        raise ValueError(
            f"there is no node {name}: the nodes are {', '.join(one.name for one in before.members)}"
        )
    if known.state not in allowed:
        raise ValueError(
            f"{name} is {known.state.name.lower()} and cannot become {state.name.lower()}: it would have to be "
            f"{' or '.join(one.name.lower() for one in allowed)}"
        )
    changed = msgspec.structs.replace(known, state=state, since=before.version + 1)
    return _next(before, tuple(changed if one is known else one for one in before.members))


def _next(before: Placement, members: tuple[Member, ...]) -> Placement:
    return msgspec.structs.replace(before, version=before.version + 1, members=members)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Placement)
