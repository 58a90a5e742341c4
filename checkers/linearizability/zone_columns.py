"""Zones of many registers at once, in NumPy: which registers are decided by them, which are wrong, and where.

The theory is that of `zones.py`, which also puts what is found here into conflicts: chains of values, each with its
earliest return and its latest invocation. This page decides a million calls in a fraction of a second; it looks at
all registers together by giving each a stretch of the time axis of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checkers.linearizability.calls import FOREVER
from checkers.linearizability.footprints import NONE, Footprints
from checkers.linearizability.footprints_kernel import is_ambiguous

SHORT = 4096
"""Calls up to which a look at each is cheaper than a dozen calls of NumPy, whether compiled or not."""

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ZoneFindings:
    """What zones say about each register, by the number of its key."""

    decided: Mask
    """Whether each observed value was written by at most one call, so that zones decide."""
    wrong: Mask
    """Which registers are not linearizable."""
    suspects: Integers
    """Positions of the calls in which the contradictions are, with all calls of their chains; ascending."""


def find_zones(calls: Footprints) -> ZoneFindings:
    """Judges all registers for which zones are an answer."""
    decided = np.ones(calls.key_count, dtype=bool)
    wrong = np.zeros(calls.key_count, dtype=bool)
    rows = np.arange(len(calls.start))
    if calls.unequal is not None:
        decided[calls.key[calls.unequal]] = False
    if (
        calls.key_count == 1
        and len(rows) <= SHORT
        and is_ambiguous(calls.observed, calls.written, calls.end, calls.value_count, calls.initial)
    ):
        decided[0] = False
    if not decided.any():
        return ZoneFindings(decided, wrong, rows[:0])
    clusters = _Clusters.of(calls)
    needed = clusters.needed(calls.end != FOREVER)
    writers = np.bincount(clusters.written[clusters.written >= 0], minlength=clusters.count)
    writers[clusters.initial] += 1
    ambiguous = needed & (writers > 1)
    if ambiguous.any():
        decided[clusters.key[ambiguous]] = False
    if not decided.any():
        return ZoneFindings(decided, wrong, rows[:0])
    kept = decided[calls.key]
    rows = rows[kept]
    observed, written = clusters.observed[kept], clusters.written[kept]
    start, end = calls.start[kept], calls.end[kept]
    return _Judged(clusters, needed, rows, start, end, calls.key[kept], observed, written).findings(
        decided, wrong, int(calls.start[-1]) if len(calls.start) else 0
    )


@dataclass(frozen=True)
class _Clusters:
    """The pairs of a register and one of its values, numbered."""

    count: int
    observed: Integers
    """For each call, the cluster that it observes, or `NONE`."""
    written: Integers
    """For each call, the cluster that it writes, or `NONE`."""
    initial: Integers
    """For each register, the cluster of its value at first."""
    key: Integers
    """For each cluster, its register."""

    @classmethod
    def of(cls, calls: Footprints) -> _Clusters:
        values, keys = calls.value_count, calls.key_count
        if keys == 1:
            # Observed and written are numbers already.
            return cls(
                values,
                calls.observed,  # type: ignore[arg-type]
                calls.written,  # type: ignore[arg-type]
                np.array([calls.initial]),
                np.zeros(values, dtype=np.int64),
            )
        base = calls.key.astype(np.int64) * values
        observed = np.where(calls.observed >= 0, base + calls.observed, NONE)
        written = np.where(calls.written >= 0, base + calls.written, NONE)
        initial = np.arange(keys, dtype=np.int64) * values + calls.initial
        if values * keys <= 8 * len(base) + 1024:
            return cls(values * keys, observed, written, initial, np.arange(values * keys) // values)
        names, places = np.unique(np.concatenate([observed, written, initial, [NONE]]), return_inverse=True)
        places -= 1  # NONE is the least.
        observed, written, initial = np.split(places[:-1], [len(base), 2 * len(base)])
        return cls(len(names) - 1, observed, written, initial, names[1:] // values)

    def needed(self, happened: Mask) -> Mask:
        """Clusters observed by calls that happened, or that must have happened because they were observed."""
        needed = np.zeros(self.count, dtype=bool)
        observes = self.observed >= 0
        needed[self.observed[happened & observes]] = True
        crashed = np.flatnonzero(~happened & observes & (self.written >= 0))
        while len(crashed):
            fires = needed[self.written[crashed]]
            fresh = crashed[fires]
            crashed = crashed[~fires]
            if not len(fresh) or needed[self.observed[fresh]].all():
                break
            needed[self.observed[fresh]] = True
        return needed


class _Judged:
    """The registers that zones decide."""

    def __init__(
        self,
        clusters: _Clusters,
        needed: Mask,
        rows: Integers,
        start: Integers,
        end: Integers,
        key: NDArray[np.int32],
        observed: Integers,
        written: Integers,
    ) -> None:
        happened = end != FOREVER
        writes = written >= 0
        supplies = writes.copy()
        """Calls that write a value that is needed."""
        supplies[writes] = needed[written[writes]]
        kept = np.where(writes, supplies | happened, happened & (observed >= 0))
        if not kept.all():
            rows, start, end, key = rows[kept], start[kept], end[kept], key[kept]
            observed, written = observed[kept], written[kept]
            writes, supplies = writes[kept], supplies[kept]
        self.clusters = clusters
        self.rows, self.start, self.end, self.key = rows, start, end, key
        self.observed, self.written = observed, written
        self.writes, self.supplies = writes, supplies
        self.alone = writes & ~supplies & (observed < 0)
        """Plain writes that nobody observed: a chain of its own each."""

    def findings(self, decided: Mask, wrong: Mask, last: int) -> ZoneFindings:
        count = self.clusters.count
        root, depth, unsupported = self._chains()
        cluster = np.where(self.observed >= 0, self.observed, self.written)
        chain = root[cluster].astype(np.int64, copy=False)
        alone = np.flatnonzero(self.alone)
        chain[alone] = count + np.arange(len(alone))
        chains = count + len(alone)
        bad = np.zeros(chains, dtype=bool)
        bad[:count] = unsupported
        if depth is None:
            self._check_clusters(chain, bad)
        else:
            self._check_chains(chain, depth, bad, last)
        self._check_overlaps(chain, chains, bad, last)
        # Chains that no call belongs to (the initial value unread) cannot be wrong.
        suspicious = bad[chain]
        if suspicious.any():
            wrong[self.key[suspicious]] = True
        return ZoneFindings(decided, wrong, self.rows[suspicious])

    def _chains(self) -> tuple[Integers, Integers | None, Mask]:
        """For each cluster the one that its chain begins with, and its place there (None if no chain has two);
        and which roots no write begins, or have two cas from one value."""
        count = self.clusters.count
        begun = np.zeros(count, dtype=bool)
        begun[self.clusters.initial] = True
        begun[self.written[self.supplies & (self.observed < 0)]] = True
        root = np.arange(count)
        follows = self.writes & (self.observed >= 0)
        if not follows.any():
            return root, None, ~begun
        depth = np.zeros(count, dtype=np.int64)
        links = follows & self.supplies
        root[self.written[links]] = self.observed[links]
        depth[self.written[links]] = 1
        child = depth == 1
        for _ in range(max(1, int(count).bit_length())):
            above = root[root]
            if np.array_equal(above, root):
                break
            depth += depth[root]
            root = above
        # What leads only to itself has a root that follows another value; it has no origin.
        circular = child[root]
        unsupported = np.zeros(count, dtype=bool)
        unsupported[root[circular]] = True
        unsupported |= ~begun & ~child
        followers = np.bincount(self.observed[follows], minlength=count)
        unsupported[root[followers > 1]] = True
        return root, depth, unsupported

    def _check_clusters(self, chain: Integers, bad: Mask) -> None:
        """No read may return before the write of its value is invoked."""
        first = np.full(self.clusters.count, -1, dtype=np.int64)
        first[self.written[self.supplies]] = self.start[self.supplies]
        reads = self.observed >= 0
        observed = self.observed[reads]
        bad[observed[self.end[reads] < first[observed]]] = True

    def _check_chains(self, chain: Integers, depth: Integers, bad: Mask, last: int) -> None:
        """The order of a chain (write, reads, cas, reads ...) has to agree with the intervals."""
        rows = np.flatnonzero(~self.alone)
        chain = chain[rows]
        cas = self.writes[rows] & (self.observed[rows] >= 0)
        cluster = np.where(self.observed[rows] >= 0, self.observed[rows], self.written[rows])
        place = 2 * depth[cluster] + np.where(cas, 2, np.where(self.writes[rows], 0, 1))
        bad[chain[out_of_order(chain, place, self.start[rows], self.end[rows], last)]] = True

    def _check_overlaps(self, chain: Integers, chains: int, bad: Mask, last: int) -> None:
        """Two chains exclude each other if both are forward and overlap, or one is backward inside a forward one."""
        far = np.int64(last + 2)
        """Later than every invocation; a stretch of the time axis as long as this belongs to each register."""
        latest = np.full(chains, -1, dtype=np.int64)
        earliest = np.full(chains, far, dtype=np.int64)
        latest[chain] = self.start  # In the order of invocation: the last one stays.
        np.minimum.at(earliest, chain, np.minimum(self.end, far))
        earliest[self.clusters.initial] = -1
        present = latest >= 0
        key = np.empty(chains, dtype=np.int64)
        count = self.clusters.count
        key[:count] = self.clusters.key
        key[count:] = self.key[self.alone]
        forward = np.flatnonzero(present & (earliest < latest))
        if not len(forward):
            return
        offset = key * (far + 2) + 1
        first, final = earliest + offset, latest + offset
        forward = forward[np.argsort(first[forward])]
        reach = np.maximum.accumulate(final[forward])
        holder = forward[np.maximum.accumulate(np.where(final[forward] == reach, np.arange(len(forward)), 0))]
        overlap = np.flatnonzero(first[forward[1:]] < reach[:-1])
        bad[forward[overlap + 1]] = True
        bad[holder[overlap]] = True
        backward = np.flatnonzero(present & (earliest >= latest))
        place = np.searchsorted(first[forward], final[backward]) - 1
        inside = (place >= 0) & (first[backward] < reach[np.maximum(place, 0)])
        bad[backward[inside]] = True
        bad[holder[place[inside]]] = True


def out_of_order(group: Integers, place: Integers, start: Integers, end: Integers, last: int) -> Mask:
    """Which calls returned before a call was invoked that stands at an earlier place of the same group.

    `last` is no earlier than any invocation. A group's calls can be linearized in the order of their places if and
    only if there are none.
    """
    order = np.lexsort((place, group))
    group, place, start, end = group[order], place[order], start[order], end[order]
    fresh_group = np.empty(len(group), dtype=bool)
    fresh_group[:1] = True
    fresh_group[1:] = group[1:] != group[:-1]
    fresh_place = fresh_group.copy()
    fresh_place[1:] |= place[1:] != place[:-1]
    # A running maximum that begins anew with each group, because each group lies above the one before.
    lift = (np.cumsum(fresh_group) - 1) * np.int64(last + 2)
    running = np.maximum.accumulate(start + lift)
    begins = np.flatnonzero(fresh_place)
    before = np.full(len(group), -1, dtype=np.int64)
    heads = begins[1:]
    before_heads = running[heads - 1] - lift[heads]
    before_heads[fresh_group[heads]] = -1
    lengths = np.diff(np.append(begins, len(group)))
    before = np.repeat(np.concatenate([[-1], before_heads]) if len(begins) else before, lengths)
    late = np.zeros(len(group), dtype=bool)
    late[order] = end < before
    return late
