"""The quick way for registers whose observed values were each written once: zones, in O(n log n).

After Gibbons and Korach ("Testing shared memories", SIAM J. Comput. 26(4), 1997): a write and the reads of its value
form a cluster, and in any linearization a cluster stands together, for the value cannot come back. Cluster A must
stand before B if some call of A returns before some call of B is invoked, that is if A's earliest return lies before
B's latest invocation. An order exists if and only if no two clusters must each stand before the other. (Longer cycles
need no thought: in one, the cluster with the earliest return stands before every other, hence also before the one
that has to precede it.)

Compare-and-set fits in, beyond that paper. A cas from u to v stands directly behind the cluster of u, with nothing
between, so the clusters of u and v melt into one *chain*. Within a chain the order is given: the write, the reads of
its value, the cas, the reads of the next value, and so on; it only has to agree with the intervals. Between chains
the argument above holds as it stands, because it uses nothing of a cluster but that it stands together.

Crashed writes whose value nobody observed are left out: a linearization with one stays one without it. An observed
one happened, and its return lies at infinity. The initial value is a chain whose write precedes everything.

The zone of a chain reaches from its earliest return to its latest invocation; where the return comes first the zone
is *forward*, else *backward*. Two chains exclude each other if both are forward and overlap, or one is backward and
inside the other's forward zone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.models import Model
from results.operation import FAIL

MOST = 32
"""Conflicts of one register that are told in full; the rest is counted."""


@dataclass(frozen=True)
class Conflict:
    """Why no order exists: a few calls that cannot all be right."""

    kind: str
    """never written | replaced twice | no origin | out of order | overlap"""
    calls: tuple[Call, ...]
    """The calls of the contradiction itself."""
    support: tuple[Call, ...] = ()
    """The calls that wrote the values which tie those of `calls` together."""
    loosened: tuple[Call, ...] = ()
    """Those of `support` whose own observation plays no part: a cas that may be taken for a plain write."""


@dataclass
class Chain:
    """Values that follow each other by cas, and the calls that wrote and observed them."""

    values: list[Hashable] = field(default_factory=list)
    calls: list[tuple[int, Call]] = field(default_factory=list)
    """The calls in the order that the values dictate, each with the place of the value it is about."""
    first_return: int = FOREVER
    last_start: int = -1

    def add(self, place: int, call: Call) -> None:
        self.calls.append((place, call))
        self.first_return = min(self.first_return, call.end)
        self.last_start = max(self.last_start, call.start)


@dataclass(frozen=True)
class ZonesResult:
    """The history is linearizable if and only if the number of conflicts is 0."""

    found: int
    """How many conflicts there are; what contradicts many others for the same reason counts once."""
    conflicts: list[Conflict]
    """The first `MOST` of them."""
    chains: int


def check_zones(calls: Sequence[Call], model: Model) -> ZonesResult | None:
    """Decides the history of one register; None if this way is not open to it.

    It is open if every call has a footprint, and every observed value was written by at most one call (by none, if
    it is the initial value).
    """
    initial = model.initial_state()
    reads: dict[Hashable, list[Call]] = {}
    changes: list[_Change] = []
    writers: dict[Hashable, list[_Change]] = {}
    for call in calls:
        footprint = model.footprint(call)
        if footprint is None or call.type == FAIL:
            return None
        observes, observed, writes, written = footprint
        if not writes:
            if observes and call.end != FOREVER:  # Crashed, it tells nothing.
                reads.setdefault(observed, []).append(call)
            continue
        change = _Change(call, observes, observed, written)
        writers.setdefault(written, []).append(change)
        changes.append(change)

    # What was observed, by calls that happened, or that must have happened because they were observed.
    todo = list(reads)
    todo += [change.observed for change in changes if change.observes and change.call.end != FOREVER]
    needed: set[Hashable] = set()
    while todo:
        value = todo.pop()
        if value not in needed:
            needed.add(value)
            sources = writers.get(value, ())
            if len(sources) + (value == initial) > 1:
                return None
            todo += [source.observed for source in sources if source.observes]
    return _Zones(initial, reads, changes, needed).check()


class _Change(NamedTuple):
    call: Call
    observes: bool
    observed: Hashable
    written: Hashable


class _Zones:
    """The chains of a register whose observed values have one writer each."""

    def __init__(
        self,
        initial: Hashable,
        reads: dict[Hashable, list[Call]],
        changes: list[_Change],
        needed: set[Hashable],
    ) -> None:
        self._reads = reads
        self._found = 0
        self._conflicts: list[Conflict] = []
        self._told: set[int] = set()
        """Calls whose contradiction with their chain is told."""
        self._writer: dict[Hashable, _Change] = {}
        """The only writer of each observed value."""
        self._followers: dict[Hashable, list[_Change]] = {}
        """The cas from each value."""
        self._roots: list[tuple[_Change | None, Hashable]] = [(None, initial)]
        """The writes that begin chains; None is the initial value's."""
        self._alone: list[Call] = []
        """Writes that happened and that nobody observed; each is a chain of its own."""
        self._chain_of: dict[Hashable, tuple[Chain, int]] = {}
        """Where each observed value stands: its chain, and its place there."""
        for change in changes:
            if change.written in needed:
                self._writer[change.written] = change
            elif change.call.end == FOREVER:
                continue
            elif not change.observes:
                self._alone.append(change.call)
                continue
            if change.observes:
                self._followers.setdefault(change.observed, []).append(change)
            else:
                self._roots.append((change, change.written))

    def check(self) -> ZonesResult:
        chains = [self._grow(root, value) for root, value in self._roots]
        self._find_unsupported()
        for call in self._alone:
            chain = Chain()
            chain.add(0, call)
            chains.append(chain)
        self._find_overlaps(chains)
        return ZonesResult(self._found, self._conflicts, len(chains))

    def _report(self, make: Callable[[], Conflict]) -> None:
        self._found += 1
        if len(self._conflicts) < MOST:
            conflict = make()
            witnesses = [
                witness
                for call in (*conflict.calls, *conflict.support)
                if call.end == FOREVER
                for witness in self._witnesses(call)
            ]
            self._conflicts.append(replace(conflict, support=(*conflict.support, *witnesses)))

    def _witnesses(self, crashed: Call) -> list[Call]:
        """The calls that show that a crashed one happened: who observed what it wrote; if that one crashed too, who
        observed what that one wrote, and so on up to one that was answered."""
        value = next(value for value, change in self._writer.items() if change.call is crashed)
        ways: list[tuple[Hashable, tuple[Call, ...]]] = [(value, ())]
        seen = {value}
        for value, way in ways:  # Breadth first: it grows while we walk.
            followers = self._followers.get(value, ())
            answered = [*self._reads.get(value, ()), *(f.call for f in followers if f.call.end != FOREVER)]
            if answered:
                return [*way, answered[0]]
            for follower in followers:
                if follower.written in self._writer and follower.written not in seen:
                    seen.add(follower.written)
                    ways.append((follower.written, (*way, follower.call)))
        raise AssertionError(
            f"the crashed call of event {crashed.start} was kept, but nobody observed its value"
        )

    def _grow(self, root: _Change | None, value: Hashable) -> Chain:
        """Follows a value from cas to cas, and checks on the way that the chain's order fits the intervals."""
        chain = Chain()
        before: tuple[int, Call] | None = None
        """Of the calls that stand before the current ones the one invoked last, and its place."""
        if root is None:
            chain.first_return = -1
        else:
            chain.add(0, root.call)
            before = (0, root.call)
        place = 0
        while True:
            self._chain_of[value] = (chain, place)
            chain.values.append(value)
            latest = before
            for reader in self._reads.get(value, ()):
                chain.add(place, reader)
                self._check_order(chain, before, (place, reader))
                if latest is None or reader.start > latest[1].start:
                    latest = (place, reader)
            before = latest
            followers = self._followers.get(value, ())
            if not followers:
                return chain
            if len(followers) > 1:
                twins = tuple(follower.call for follower in followers[:2])
                self._report(lambda: Conflict("replaced twice", twins, *self._support(chain, place, place)))  # noqa: B023
            cas = followers[0].call
            read_by_nobody = followers[0].written not in self._writer
            place += not read_by_nobody
            chain.add(place, cas)
            self._check_order(chain, before, (place, cas))
            if before is None or cas.start > before[1].start:
                before = (place, cas)
            if read_by_nobody:
                return chain
            value = followers[0].written

    def _check_order(self, chain: Chain, before: tuple[int, Call] | None, after: tuple[int, Call]) -> None:
        if before is not None and after[1].end < before[1].start and before[1].start not in self._told:
            earlier, later = before, after
            self._told.add(earlier[1].start)  # All that follows in the chain contradicts it as well.
            self._report(
                lambda: Conflict(
                    "out of order", (earlier[1], later[1]), *self._support(chain, earlier[0], later[0])
                )
            )

    def _find_unsupported(self) -> None:
        """Observed values that nobody wrote, and cas that lead only to each other."""
        told = self._behind_twins()
        for value in [*self._reads, *self._followers]:
            if value in self._chain_of or value in told:
                continue
            told.add(value)
            if value not in self._writer:
                observers = [*self._reads.get(value, ()), *(f.call for f in self._followers.get(value, ()))]
                first = min(observers, key=lambda call: call.start)
                self._report(lambda: Conflict("never written", (first,)))  # noqa: B023
                continue
            path: dict[Hashable, Call] = {}
            origin = value
            while origin in self._writer and origin not in path:
                path[origin] = self._writer[origin].call
                origin = self._writer[origin].observed
            if origin == value or (origin in self._writer and origin not in told):
                told |= path.keys()
                self._report(lambda: Conflict("no origin", tuple(path.values())))  # noqa: B023

    def _behind_twins(self) -> set[Hashable]:
        """Values behind the second and further cas from a value of a chain: their conflict is told already."""
        behind: set[Hashable] = set()
        grown = [followers for value, followers in self._followers.items() if value in self._chain_of]
        todo = [twin.written for followers in grown for twin in followers[1:]]
        while todo:
            value = todo.pop()
            if value not in behind:
                behind.add(value)
                todo += [follower.written for follower in self._followers.get(value, ())]
        return behind

    def _support(self, chain: Chain, one: int, other: int) -> tuple[tuple[Call, ...], tuple[Call, ...]]:
        """The writers of a chain's values between two places, and which may count as a plain write."""
        first, last = min(one, other), max(one, other)
        values = chain.values[first : last + 1]
        writers = tuple(self._writer[value].call for value in values if value in self._writer)
        return writers, writers[:1] if first > 0 else ()

    def _find_overlaps(self, chains: list[Chain]) -> None:
        forward = [chain for chain in chains if chain.first_return < chain.last_start]
        forward.sort(key=lambda chain: chain.first_return)
        apart: list[Chain] = []
        """Forward chains that do not overlap, in order."""
        told: set[int] = set()
        """Chains whose overlap is told: one stale read reaches over all that was written since, and is one mistake."""

        def overlap(one: Chain, other: Chain) -> None:
            wide = max(one, other, key=lambda chain: chain.last_start - chain.first_return)
            if id(wide) not in told:
                told.add(id(wide))
                self._overlap(one, other)

        for chain in forward:
            if apart and chain.first_return < apart[-1].last_start:
                overlap(apart[-1], chain)
                if chain.last_start > apart[-1].last_start:
                    apart[-1] = chain  # Whichever reaches further meets more of what follows.
            else:
                apart.append(chain)
        returns = [chain.first_return for chain in apart]
        for chain in chains:
            if chain.first_return >= chain.last_start:
                place = bisect_left(returns, chain.last_start) - 1
                if place >= 0 and chain.first_return < apart[place].last_start:
                    overlap(apart[place], chain)

    def _overlap(self, first: Chain, second: Chain) -> None:
        def make() -> Conflict:
            # The two calls of each chain that lie closest together, so that little ties them.
            early, late = ends = _closest(first, second.last_start, second.first_return)
            other = _closest(second, late[1].start, -1 if early is None else early[1].end)
            calls: list[Call] = []
            support: list[Call] = []
            loosened: list[Call] = []
            for chain, (returned, started) in ((first, ends), (second, other)):
                calls += [started[1]] if returned is None else [returned[1], started[1]]
                if chain.values:
                    writers, loose = self._support(chain, 0 if returned is None else returned[0], started[0])
                    support += writers
                    loosened += loose
            return Conflict("overlap", tuple(calls), tuple(support), tuple(loosened))

        self._report(make)


def _closest(chain: Chain, before: int, after: int) -> tuple[tuple[int, Call] | None, tuple[int, Call]]:
    """Two calls of a chain, close together: one that returned before event `before`, and one that was invoked after
    event `after`. The first is None where only the initial value's write is so early."""
    best: tuple[tuple[int, Call] | None, tuple[int, Call]] | None = None
    distance = FOREVER
    returned: tuple[int, Call] | None = None
    started: tuple[int, Call] | None = None
    for placed in chain.calls:
        fresh = False
        if placed[1].end < before:
            returned, fresh = placed, True
        if placed[1].start > after:
            started, fresh = placed, True
        if fresh and returned is not None and started is not None:
            between = abs(returned[0] - started[0])
            if between < distance:
                best, distance = (returned, started), between
    if best is not None:
        return best
    late = next(placed for placed in chain.calls if placed[1].start > after)
    return None, late
