"""Who may hold what: no node twice in a range, as many replicas as ever, and none where none may be.

The state of placement is what the first replica that applies it says. A range may have a member that is active in it,
or is about to go; never one that has not become active yet, nor one that is decommissioned: nobody counts on those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reference_db.invariants.violation import Violation
from reference_db.placement.state import PLACEMENT_KEY, MemberState, Placement, decode_placement
from reference_db.ranges.descriptor import Descriptor
from reference_db.txn.command import Command, PutVersion

_MAY_NOT_HOLD = (MemberState.JOINING, MemberState.DECOMMISSIONED)


class Placements:
    """The newest state of placement, and the newest descriptor of every range."""

    def __init__(self) -> None:
        self._state: Placement | None = None
        self._newest: dict[int, Descriptor] = {}
        self._gone: set[int] = set()
        """Ranges that others have absorbed: whoever lags may still have them."""
        self._replication = 0

    def learn(self, node: str, descriptors: Iterable[Descriptor]) -> list[Violation]:
        """A node has these."""
        found: list[Violation] = []
        for one in descriptors:
            if not one.is_known or one.id in self._gone:
                continue
            newest = self._newest.get(one.id)
            if newest is not None and newest.generation >= one.generation:
                continue
            self._newest[one.id] = one
            for range_id in one.absorbed:
                self._gone.add(range_id)
                self._newest.pop(range_id, None)
            twice = [name for name, count in sorted(Counter(one.members).items()) if count > 1]
            if twice:
                text = f"{', '.join(twice)} would have two replicas of range {one.id}: {one}"
                found.append(Violation("one replica a node", text, one.id, node))
            self._replication = self._replication or len(one.replicas)
            if len(one.replicas) != self._replication:
                text = (
                    f"range {one.id} has {len(one.replicas)} replicas, ranges have {self._replication}: {one}"
                )
                found.append(Violation("replication is kept", text, one.id, node))
            found += self._misplaced(node, one)
        return found

    def applied(self, node: str, command: Command) -> list[Violation]:
        """A replica of the first range has applied a command, the first that did."""
        found: list[Violation] = []
        for mutation in command.mutations:
            if not isinstance(mutation, PutVersion) or mutation.key != PLACEMENT_KEY:
                continue
            assert mutation.value is not None, "the state of placement is never deleted"
            self._state = decode_placement(mutation.value)
            for _, one in sorted(self._newest.items()):
                found += self._misplaced(node, one)
        return found

    def _misplaced(self, node: str, one: Descriptor) -> list[Violation]:
        if self._state is None:
            return []
        found: list[Violation] = []
        for name in one.members:
            member = self._state.find(name)
            if member is None or member.state in _MAY_NOT_HOLD:
                what = "no member" if member is None else member.state.name.lower()
                text = f"{name} is {what} in version {self._state.version} of placement, and range {one.id} is {one}"
                found.append(Violation("replicas where they may be", text, one.id, node))
        return found
