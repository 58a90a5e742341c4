"""Session guarantees: what each process has read and written bounds what it may see next (Terry et al. 1994).

Operations: `read` `[key, nil]`, answered `[key, value]`; `write` `[key, value]`; `cas` `[key, [old, new]]`; `txn` of
`["r", key, nil]` and `["w", key, value]`, taken one after the other. Values of a key are unique; nil is the key before
its first write. A process is a session. With one order of the versions of each key, which all replicas agree on in the
end, the guarantees say:

- *monotonic reads*: what a session reads later is the same version or a newer one;
- *monotonic writes*: what a session writes later is newer;
- *read your writes*: what a session reads after a write is that version or a newer one;
- *writes follow reads*: what a session writes is newer than what it has read.

Nobody recorded that order, so nothing is assumed about it but what is certain: nil is the oldest, a successful
compare-and-set replaces an older version by a newer one, and, only with `real_time`, versions written one after the
other are in that order (where one leader makes the writes). A guarantee is violated exactly if no order explains what
the sessions saw: the demands, as edges of a graph of versions, have a cycle. If each guarantee alone can be explained,
but not all together, that is told as what it is. Guarantees across keys make causal consistency (Brzezinski et al.
2004); the causal level of the rw-register checker judges that.

To keep the graph linear, *all earlier writes of this session* is a node of its own, reached from the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.checker import Limits
from checkers.conclusion import Misshapen, anomaly, conclude
from checkers.isolation.orders import find_cycles, make_order, sort_topologically
from checkers.operations import FOREVER, Operations
from checkers.values import Numbering, identity
from checkers.words import count, interval, listing, shown
from results.history import TYPE_CODES, History, Pair
from results.operation import FAIL, INFO, OK
from results.verdict import UNKNOWN, Anomaly, Verdict

MONOTONIC_READS: Final = "monotonic reads"
MONOTONIC_WRITES: Final = "monotonic writes"
READ_YOUR_WRITES: Final = "read your writes"
WRITES_FOLLOW_READS: Final = "writes follow reads"
GUARANTEES: Final = (MONOTONIC_READS, MONOTONIC_WRITES, READ_YOUR_WRITES, WRITES_FOLLOW_READS)

TOGETHER = "session guarantees together"
NEVER_WRITTEN = "value never written"
FAILED_WRITE = "value of a failed write"
FUTURE_READ = "read before its write"

_OLDEST: Final = "nil is the oldest"
_REPLACED: Final = "compare-and-set"
_REAL_TIME: Final = "real time"


@dataclass(frozen=True)
class _Accesses:
    """Reads and writes in the order of sessions: sorted by session and key, then by time."""

    group: NDArray[np.int64]
    """A number for each session and key."""
    version: NDArray[np.int64]
    writes: NDArray[np.bool_]
    pair: NDArray[np.int64]
    """Position among the operations."""


@dataclass
class _Edges:
    """Edges between versions, or to and from nodes that stand for many; each with its reason and its operations."""

    source: list[NDArray[np.int64]] = field(default_factory=list)
    target: list[NDArray[np.int64]] = field(default_factory=list)
    first: list[NDArray[np.int64]] = field(default_factory=list)
    """The operation that the source is known by; -1 if none."""
    second: list[NDArray[np.int64]] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    """One a batch."""

    def add(
        self,
        reason: str,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        first: NDArray[np.int64] | None = None,
        second: NDArray[np.int64] | None = None,
    ) -> None:
        nobody = np.full(len(source), -1, dtype=np.int64)
        self.source.append(source)
        self.target.append(target)
        self.first.append(nobody if first is None else first)
        self.second.append(nobody if second is None else second)
        self.reason.append(reason)


@dataclass
class SessionGuaranteesChecker:
    """Judges reads and writes of keyed registers; with `keyed=False` of one register."""

    guarantees: Iterable[str] = GUARANTEES
    real_time: bool = False
    keyed: bool = True
    initial: Any = None
    """The value of a key before its first write; nil counts as that too."""
    name: str = field(default="sessions", kw_only=True)

    def __post_init__(self) -> None:
        self.guarantees = tuple(self.guarantees)
        for guarantee in self.guarantees:
            if guarantee not in GUARANTEES:
                raise ValueError(
                    f"{guarantee!r} is no session guarantee (guarantees: {', '.join(GUARANTEES)})"
                )

    def check(self, history: History, limits: Limits) -> Verdict:
        seen = _Reading(history, self.keyed, self.initial)
        accesses, certain, anomalies, doubts = seen.accesses(self.real_time)
        demands, pairs, nodes = _demands(accesses, len(seen.versions), tuple(self.guarantees))
        details: dict[str, Any] = {
            "sessions_and_keys": len(np.unique(accesses.group)),
            "versions": len(seen.versions),
            "demands": pairs,
        }
        found: list[Anomaly] = []
        everything = [certain, *demands.values()]
        versions = len(seen.versions)
        if not _is_ordered(everything, nodes):
            for name, edges in demands.items():
                found += seen.told(name, _cycles([certain, edges], versions, nodes))
            if not found:
                found += seen.told(TOGETHER, _cycles(everything, versions, nodes))
        if not any(pairs.values()) and not anomalies and not doubts:
            sentence = (
                "no session came back to a key that it had read or written, so nothing was promised to any; sessions "
                "that read and write the same keys again would tell"
            )
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        idle = [name for name, number in pairs.items() if not number]
        valid = f"an order of versions explains {count(sum(pairs.values()), 'demand')} of {listing(demands)}"
        if idle:
            valid += f" (nothing in it for {listing(idle)})"
        return conclude(self.name, [*found, *anomalies], doubts, valid, details)


class _Reading:
    """The operations of a history as reads and writes of versions."""

    def __init__(self, history: History, keyed: bool, initial: Any) -> None:
        self.operations = Operations.of(history, "read", "write", "cas", "txn")
        self.misshapen = Misshapen("[key, value]" if keyed else "values of one register")
        self.keyed = keyed
        self._first = identity(initial)
        self.versions = Numbering()
        """`(key, value)` of each version; the value before the first write is None."""
        self._pair: list[int] = []
        self._version: list[Any] = []
        self._writes: list[bool] = []
        self._replaced: list[tuple[int, Any, Any]] = []
        """Successful or unknown compare-and-sets: the operation, what it replaced, by what."""
        outcomes = self.operations.outcome.tolist()
        events = history.operations
        self._if_it_happened: list[tuple[int, Any]] = []
        """What compare-and-sets of unknown outcome have read if they happened: where it is noted, what each wrote."""
        starts, ends = self.operations.start.tolist(), self.operations.end.tolist()
        ok = TYPE_CODES[OK]
        for place, (outcome, start, end) in enumerate(zip(outcomes, starts, ends, strict=True)):
            event = events[start]
            answer = events[end].value if outcome == ok else None
            if not self._take(place, event.f, event.value, answer, outcome == ok):
                self.misshapen.note(self.operations.pair(place), writes=event.f != "read")
        self._leave_out_what_is_not_proven()

    def _take(self, place: int, f: str, asked: Any, answer: Any, ok: bool) -> bool:
        """Notes what an operation read and wrote; False if it has not the right shape."""
        if f == "txn":
            if answer is None:
                return self._take_transaction(place, asked, ok)
            if self._take_transaction(place, answer, ok):
                return True
            self._take_transaction(place, asked, False)  # What it wrote is known all the same.
            return False
        if self.keyed:
            if not isinstance(asked, list | tuple) or len(asked) != 2:
                return False
            key, value = asked
            if f == "read" and ok:
                if not isinstance(answer, list | tuple) or len(answer) != 2:
                    return False
                of_key, answer = answer
                if identity(of_key) != identity(key):
                    return False
            elif ok and _is_about_another(f, asked, answer):
                return False
        else:
            key, value = None, asked
        if f == "read":
            if ok:
                self._note(place, key, answer, writes=False)
        elif f == "write":
            self._note(place, key, value, writes=True)
        else:
            if not isinstance(value, list | tuple) or len(value) != 2:
                return False
            old, new = value
            if identity(self._named(key, old)) == identity(self._named(key, new)):
                if ok:
                    self._note(place, key, old, writes=False)
                return True
            if ok:
                self._note(place, key, old, writes=False)
            elif self.operations.outcome[place] == TYPE_CODES[INFO]:
                self._if_it_happened.append((len(self._pair), self._named(key, new)))
                self._note(place, key, old, writes=False)
            self._note(place, key, new, writes=True)
            self._replaced.append((place, self._named(key, old), self._named(key, new)))
        return True

    def _leave_out_what_is_not_proven(self) -> None:
        """Forgets what compare-and-sets of unknown outcome would have read, except where a read of the new value, which
        nobody else can have written, proves that they happened."""
        if not self._if_it_happened:
            return
        waiting: dict[Any, list[int]] = {}
        for at, new in self._if_it_happened:
            waiting.setdefault(identity(new), []).append(at)
        unproven = {at for at, _ in self._if_it_happened}
        seen = [
            identity(version)
            for at, (version, writes) in enumerate(zip(self._version, self._writes, strict=True))
            if not writes and at not in unproven
        ]
        while seen and not self.misshapen.may_have_written:
            for at in waiting.pop(seen.pop(), ()):
                unproven.remove(at)
                seen.append(identity(self._version[at]))
        kept = [at for at in range(len(self._pair)) if at not in unproven]
        self._pair = [self._pair[at] for at in kept]
        self._version = [self._version[at] for at in kept]
        self._writes = [self._writes[at] for at in kept]

    def _take_transaction(self, place: int, micros: Any, ok: bool) -> bool:
        if not isinstance(micros, list | tuple):
            return False
        for micro in micros:
            if not isinstance(micro, list | tuple) or len(micro) != 3 or micro[0] not in ("r", "w"):
                return False
        for f, key, value in micros:
            if f == "w" or ok:
                self._note(place, key, value, writes=f == "w")
        return True

    def _named(self, key: Any, value: Any) -> tuple[Any, Any]:
        return (key, None if identity(value) == self._first else value)

    def _note(self, place: int, key: Any, value: Any, *, writes: bool) -> None:
        self._pair.append(place)
        self._version.append(self._named(key, value))
        self._writes.append(writes)

    def accesses(self, real_time: bool) -> tuple[_Accesses, _Edges, list[Anomaly], list[str]]:
        """Those that can be judged, what is certain about the versions, what is wrong with single reads, and doubts."""
        version = self.versions.number(self._version)
        pair = np.array(self._pair, dtype=np.int64)
        writes = np.array(self._writes, dtype=bool)
        total = len(self.versions)
        keys = Numbering()
        key = keys.number([named[0] for named in self.versions.values])
        nil = np.array([named[1] is None for named in self.versions.values], dtype=bool)
        failed = self.operations.outcome[pair] == TYPE_CODES[FAIL]
        possible = writes & ~failed
        times = np.bincount(version[possible], minlength=total)
        writer = np.full(total, -1, dtype=np.int64)
        writer[version[possible]] = pair[possible]
        ambiguous = (times > 1) | (nil & (times > 0))
        doubts = self.misshapen.doubts()
        if ambiguous.any():
            example_key, example = self.versions.values[int(np.flatnonzero(ambiguous)[0])]
            doubts.append(
                f"keys with values written more than once (first {shown(example)} to key {shown(example_key)}) cannot "
                "be judged: which write was read is not known; unique values are"
            )
        bad_key = np.zeros(len(keys), dtype=bool)
        bad_key[key[ambiguous]] = True
        reads = ~writes & ~bad_key[key[version]]
        by = writer[version]
        start, end = self.operations.start, self.operations.end
        unwritten = reads & ~nil[version] & (by < 0)
        future = reads & (by >= 0)
        future[future] = end[pair[future]] < start[by[future]]
        own_future = reads & (by >= 0) & (by == pair)
        places = np.flatnonzero(own_future)
        own_future[places] = [not self._wrote_before(place) for place in places.tolist()]
        future |= own_future
        tried = np.zeros(total, dtype=bool)
        tried[version[writes]] = True
        anomalies = []
        for kind, wrong, why in (
            (NEVER_WRITTEN, unwritten & ~tried[version], "which nobody wrote"),
            (FAILED_WRITE, unwritten & tried[version], "whose write had failed"),
            (FUTURE_READ, future, "before its write began"),
        ):
            chosen = np.flatnonzero(wrong)
            if kind != FUTURE_READ and self.misshapen.may_have_written:
                continue
            told = []
            for place in chosen[:20].tolist():
                read = self.operations.pair(int(pair[place]))
                wrote = [] if kind != FUTURE_READ else [self.operations.pair(int(by[place]))]
                of_key, value = self.versions.values[int(version[place])]
                text = f"process {read.process} read {shown(value)} from key {shown(of_key)} ({interval(read)}), {why}"
                told.append((text, [read, *wrote]))
            if told:
                plural = kind.replace("value", "values").replace("read", "reads")
                anomalies.append(anomaly(kind, told, len(chosen), plural=plural))
        good = np.flatnonzero((reads & ~unwritten & ~future) | (possible & ~bad_key[key[version]]))
        session = self.operations.process[pair[good]].astype(np.int64)
        group = session * max(1, len(keys)) + key[version[good]]
        order = np.argsort(group, kind="stable")
        accesses = _Accesses(group[order], version[good][order], writes[good][order], pair[good][order])
        judged = np.zeros(total, dtype=bool)
        judged[version[good]] = True
        certain = self._certain(version[good], writes[good], pair[good], key, nil, judged, real_time)
        return accesses, certain, anomalies, doubts

    def _wrote_before(self, place: int) -> bool:
        """Whether the same transaction wrote, before this read of its own, what it reads."""
        before = place - 1
        while before >= 0 and self._pair[before] == self._pair[place]:
            if self._writes[before] and self._version[before] == self._version[place]:
                return True
            before -= 1
        return False

    def _certain(
        self,
        version: NDArray[np.int64],
        writes: NDArray[np.bool_],
        pair: NDArray[np.int64],
        key: NDArray[np.int64],
        nil: NDArray[np.bool_],
        judged: NDArray[np.bool_],
        real_time: bool,
    ) -> _Edges:
        edges = _Edges()
        oldest = np.flatnonzero(nil & judged)
        if len(oldest):
            of_key = np.full(int(key.max(initial=0)) + 1, -1, dtype=np.int64)
            of_key[key[oldest]] = oldest
            newer = np.flatnonzero(judged & ~nil & (of_key[key] >= 0))
            edges.add(_OLDEST, of_key[key[newer]], newer)
        read = np.zeros(len(judged), dtype=bool)
        read[version[~writes]] = True
        replaced = []
        for place, old, new in self._replaced:
            one, other = self.versions.find([old, new]).tolist()
            outcome = self.operations.outcome[place]
            happened = outcome == TYPE_CODES[OK] or (
                outcome == TYPE_CODES[INFO]
                and other >= 0
                and read[other]
                and not self.misshapen.may_have_written
            )
            if happened and one >= 0 and judged[one] and judged[other] and one != other:
                replaced.append((one, other, place))
        if replaced:
            table = np.array(replaced, dtype=np.int64)
            edges.add(_REPLACED, table[:, 0], table[:, 1], table[:, 2], table[:, 2])
        if real_time:
            mine = np.flatnonzero(writes)
            self._add_real_time(edges, version[mine], pair[mine], key)
        return edges

    def _add_real_time(
        self, edges: _Edges, version: NDArray[np.int64], pair: NDArray[np.int64], key: NDArray[np.int64]
    ) -> None:
        """Of the writes that had ended before one began, an edge from the one that began last would not do: all come
        before it. The frontier is small, though: a chain of completions stands for all of them; negative nodes, since
        the demands have those from the versions on."""
        start, end, of = self.operations.start[pair], self.operations.end[pair], key[version]
        ended = np.flatnonzero(end < FOREVER)
        if not len(ended):
            return
        far = np.int64(1) << 32
        order = ended[np.argsort(of[ended] * far + end[ended])]
        moments = of[order] * far + end[order]
        nodes = -1 - np.arange(len(order), dtype=np.int64)
        edges.add(_REAL_TIME, version[order], nodes, pair[order])
        same = of[order][1:] == of[order][:-1]
        edges.add(_REAL_TIME, nodes[:-1][same], nodes[1:][same])
        last = np.searchsorted(moments, of * far + start) - 1
        some = (last >= 0) & (of[order][np.maximum(last, 0)] == of)
        edges.add(_REAL_TIME, nodes[last[some]], version[some], None, pair[some])

    def told(self, name: str, cycles: Sequence[list[_Step]]) -> list[Anomaly]:
        """An anomaly for the cycles of one guarantee, or of several together."""
        told: list[tuple[str, list[Pair]]] = []
        key = None
        for cycle in (_shortened(cycle, self.operations.process) for cycle in cycles):
            steps = [self._step(step) for step in cycle]
            pairs = [
                self.operations.pair(place)
                for step in cycle
                for place in (step.first, step.second)
                if place >= 0
            ]
            key = self.versions.values[cycle[0].source][0] if not told else key
            of_key = f"key {shown(self.versions.values[cycle[0].source][0])}: " if self.keyed else ""
            text = f"{of_key}{'; '.join(steps)}: no order of these versions is possible"
            if name == TOGETHER:
                reasons = dict.fromkeys(step.reason for step in cycle if step.reason in GUARANTEES)
                text += f", if {' and '.join(reasons)} are to hold together"
            told.append((text, pairs))
        if not told:
            return []
        kind = f"{name} violated" if name != TOGETHER else f"{name} impossible"
        return [anomaly(kind, told, plural=kind, key=key)]

    def _step(self, step: _Step) -> str:
        older, newer = (self.versions.values[version][1] for version in (step.source, step.target))
        before = f"{_version(older)} came before {_version(newer)}"
        if step.reason == _OLDEST:
            return f"{before}, since nothing is older than nil"
        one = self.operations.pair(step.first)
        if step.reason == _REPLACED:
            replaced = f"replaced {_version(older)} by {_version(newer)}"
            return f"process {one.process} {replaced} ({interval(one)}), so {before}"
        other = self.operations.pair(step.second)
        if step.reason == _REAL_TIME:
            return (
                f"process {one.process} wrote {_version(older)} ({interval(one)}) before process {other.process} began "
                f"to write {_version(newer)} ({interval(other)}), so {before}"
            )
        first = "wrote" if step.reason in (READ_YOUR_WRITES, MONOTONIC_WRITES) else "read"
        second = "wrote" if step.reason in (WRITES_FOLLOW_READS, MONOTONIC_WRITES) else "read"
        return (
            f"process {one.process} {first} {_version(older)} ({interval(one)}) and then {second} "
            f"{_version(newer)} ({interval(other)}), so {before}"
        )


def _is_about_another(f: str, asked: Sequence[Any], answer: Any) -> bool:
    """Whether a write, or a compare-and-set, was answered with another key or value than was asked for."""
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        return False
    if identity(answer[0]) != identity(asked[0]):
        return True
    told = f == "write" or isinstance(answer[1], list | tuple)
    return told and identity(answer[1]) != identity(asked[1])


def _version(value: Any) -> str:
    return "nil" if value is None else shown(value, 40)


def _demands(
    accesses: _Accesses, versions: int, guarantees: tuple[str, ...]
) -> tuple[dict[str, _Edges], dict[str, int], int]:
    """The edges of each guarantee; how many accesses it bounds; and how many nodes there are: the versions, and those
    that stand for many."""
    demands: dict[str, _Edges] = {name: _Edges() for name in guarantees}
    bounded: dict[str, int] = {name: 0 for name in guarantees}
    nodes = versions
    reads, writes = np.flatnonzero(~accesses.writes), np.flatnonzero(accesses.writes)
    version, pair, group = accesses.version, accesses.pair, accesses.group

    def neighbours(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        same = (group[places][1:] == group[places][:-1]) & (version[places][1:] != version[places][:-1])
        return places[:-1][same], places[1:][same]

    def latest(places: NDArray[np.int64], asking: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each asking access the position in `places` of the last one before it in its group; -1 if none."""
        last = np.searchsorted(places, asking) - 1
        if not len(places):
            return np.full(len(asking), -1, dtype=np.int64)
        return np.where((last >= 0) & (group[places[np.maximum(last, 0)]] == group[asking]), last, -1)

    for name, places in ((MONOTONIC_READS, reads), (MONOTONIC_WRITES, writes)):
        if name in demands:
            bounded[name] = int((group[places][1:] == group[places][:-1]).sum())
            one, other = neighbours(places)
            demands[name].add(name, version[one], version[other], pair[one], pair[other])
    for name, earlier, later in (
        (READ_YOUR_WRITES, writes, reads),
        (WRITES_FOLLOW_READS, reads, writes),
    ):
        if name not in demands:
            continue
        edges = demands[name]
        last = latest(earlier, later)
        bounded[name] = int((last >= 0).sum())
        if name == READ_YOUR_WRITES:
            last = _before_own(edges, accesses, writes, reads, last)
        asked = last >= 0
        if asked.any():
            # Node i stands for the i-th of `earlier` and all before it in its group.
            chain = nodes + np.arange(len(earlier), dtype=np.int64)
            nodes += len(earlier)
            edges.add(name, version[earlier], chain, pair[earlier])
            same = group[earlier][1:] == group[earlier][:-1]
            edges.add(name, chain[:-1][same], chain[1:][same])
            edges.add(name, chain[last[asked]], version[later[asked]], None, pair[later[asked]])
    return demands, bounded, nodes


def _before_own(
    edges: _Edges,
    accesses: _Accesses,
    writes: NDArray[np.int64],
    reads: NDArray[np.int64],
    last: NDArray[np.int64],
) -> NDArray[np.int64]:
    """A read of what its own session has written says nothing about that write, only about the others: those before
    it are reached through the chain, those after it get an edge each.

    Two such reads whose later writes overlap contradict each other already, so that a session needs at most about as
    many of these edges as it has operations, and then no more.
    """
    version, group = accesses.version, accesses.group
    place_of = np.full(int(version.max(initial=0)) + 1, -1, dtype=np.int64)
    place_of[version[writes]] = np.arange(len(writes))
    own = np.where(len(writes) > 0, place_of[version[reads]], -1)
    is_own = (own >= 0) & (last >= 0) & (own <= last)
    is_own[is_own] = group[writes[own[is_own]]] == group[reads[is_own]]
    covered: dict[int, int] = {}
    """For each own write that was read so, the newest write that an edge leads from."""
    reach: dict[int, int] = {}
    """The newest of these of each session."""
    contradicted: set[int] = set()
    for at in np.flatnonzero(is_own & (own < last)).tolist():
        session, mine, newest = int(group[reads[at]]), int(own[at]), int(last[at])
        if session in contradicted:
            continue
        begin = max(mine, covered.get(mine, mine)) + 1
        if mine not in covered and mine <= reach.get(session, -1):
            contradicted.add(session)
        later = writes[begin : newest + 1]
        covered[mine] = reach[session] = newest
        edges.add(
            READ_YOUR_WRITES,
            version[later],
            np.full(len(later), version[reads[at]]),
            accesses.pair[later],
            np.full(len(later), accesses.pair[reads[at]]),
        )
    previous = np.where(own > 0, own - 1, -1)
    previous[previous >= 0] = np.where(
        group[writes[previous[previous >= 0]]] == group[reads[previous >= 0]], previous[previous >= 0], -1
    )
    return np.where(is_own, previous, last)


@dataclass(frozen=True)
class _Step:
    """One version before another, why, and the operations that show it."""

    source: int
    target: int
    reason: str
    first: int
    second: int


def _shortened(cycle: list[_Step], process: NDArray[np.int32]) -> list[_Step]:
    """The cycle with one step for several of a session: who reads 1, then 2, then 3 has read 1 and then 3."""
    steps: list[_Step] = []
    for step in cycle:
        last = steps[-1] if steps else None
        if (
            last is not None
            and step.reason == last.reason
            and step.reason in (MONOTONIC_READS, MONOTONIC_WRITES)
            and process[step.first] == process[last.first]
            and last.first < step.second
            and last.source != step.target
        ):
            steps[-1] = _Step(last.source, step.target, step.reason, last.first, step.second)
        else:
            steps.append(step)
    return steps


def _joined(batches: Sequence[_Edges], nodes: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Sources and targets of all edges, with nodes below 0 moved behind the others; and how many nodes there are."""
    nothing = np.zeros(0, dtype=np.int64)
    source = np.concatenate([nothing, *(one for edges in batches for one in edges.source)])
    target = np.concatenate([nothing, *(one for edges in batches for one in edges.target)])
    lowest = min(int(source.min(initial=0)), int(target.min(initial=0)))
    return (
        np.where(source < 0, nodes - 1 - source, source),
        np.where(target < 0, nodes - 1 - target, target),
        nodes - lowest,
    )


def _is_ordered(batches: Sequence[_Edges], nodes: int) -> bool:
    source, target, total = _joined(batches, nodes)
    graph = make_order(total, source.astype(np.int32), target.astype(np.int32))
    return len(sort_topologically(graph)) == total


def _cycles(batches: Sequence[_Edges], versions: int, nodes: int, most: int = 20) -> list[list[_Step]]:
    """Short cycles, each as steps from version to version; nodes that stand for many are taken out again."""
    source, target, total = _joined(batches, nodes)
    graph = make_order(total, source.astype(np.int32), target.astype(np.int32))
    if len(sort_topologically(graph)) == total:
        return []
    sizes = [len(one) for edges in batches for one in edges.source]
    reasons = [reason for edges in batches for reason in edges.reason]
    batch = np.repeat(np.arange(len(sizes)), sizes)
    first = np.concatenate([one for edges in batches for one in edges.first])
    second = np.concatenate([one for edges in batches for one in edges.second])
    found = []
    for cycle in find_cycles(graph, most):
        begin = next(place for place, edge in enumerate(cycle) if source[edge] < versions)
        steps: list[_Step] = []
        origin = entered = -1
        for edge in [*cycle[begin:], *cycle[:begin]]:
            if source[edge] < versions:
                origin, entered = int(source[edge]), int(first[edge])
            if target[edge] < versions:
                steps.append(
                    _Step(origin, int(target[edge]), reasons[batch[edge]], entered, int(second[edge]))
                )
        found.append(steps)
    return found
