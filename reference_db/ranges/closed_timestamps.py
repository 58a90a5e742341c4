"""Which past of a range is closed for ever, and since when a replica certainly knows it: for reads from any replica.

A *closing* `(timestamp, index)` is a leader's promise: no entry above `index` writes a version or an intent at or below
`timestamp`. A replica that has applied `index` may therefore answer reads at that timestamp by itself, for ever. How
*fresh* such an answer is, is another question, and no wall clock answers it here: a replica notes, on its own monotonic
clock, when it began to ask, and a closing that comes of that contains everything that had ended before.

1. n2 answers bounded reads. Each tick it sends the other nodes a *probe*, a number, and notes when. They send it back
   at once. Once so many have that they meet every quorum of every range, n2's clock is above the timestamp of all that
   had been acknowledged before the probe, by whomever (as in `certain_reads`). The probe has become a *token*.
2. With its latest token it asks the leader of range 3, n1. The question carries n2's clock. n1 *marks* its own, later
   still, and opens a round of heartbeats (the one that reads are confirmed by). A quorum answers: n1 still led when it
   marked, so nothing that had ended before was written by a later leader; and a quorum has heard of the marked
   timestamp, so later leaders write above it (decision 0001).
3. A tick after it marked, n1 *closes* the timestamp: its timestamp cache takes no write at or below it any more, and
   what it has let into its log until then ends at `index`. It tells n2, with the token, and marks anew.
4. n2, at a read with a bound: if the token is not older than the bound, and `index` is applied, it reads at the closed
   timestamp, and asks nobody. Else it refuses, and the read goes to the leader.

So writes that are under way have a tick in which to end before the timestamp at which they began is closed.

Several ranges are read at one timestamp: the lowest of their newest closings. Each range's freshness there is that of
its newest closing *at or below* it, which is why a few old ones are kept. Questions carry the clock of who asks, and so
what it has heard of all leaders: the closings of a node's ranges follow each other closely, whatever clocks say.

A closing holds for the span that the leader knew, named by the descriptor's generation: a replica whose descriptor is
of another generation does not use it. A leader closes only where somebody asks, and nobody asks where nobody reads: a
range without bounded reads costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from reference_db.ranges.options import StoreOptions
from reference_db.timestamp import HybridClock, Timestamp

if TYPE_CHECKING:
    from reference_db.ranges.replica import Replica

WANTED_S = 5.0
"""For so long after a bounded read of a range its closings are asked for."""
CLOSINGS_KEPT = 8
"""Of each range: reads of several ranges may need one that is not the newest."""
PROBES_KEPT = 64
"""What comes of an older one is of no use."""


class Closed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A closing as a leader tells it."""

    range_id: int
    generation: int
    """Of the descriptor whose span it is about."""
    timestamp: Timestamp
    index: int
    token: int
    """Of the question that had arrived when the timestamp was marked."""


class Closings(msgspec.Struct, frozen=True, array_like=True):
    """What a frame says of closed timestamps."""

    probe: int = 0
    """To be sent back; 0: nothing is."""
    echo: int = 0
    """A probe of the receiver's."""
    token: int = 0
    """Names the question for `asked`."""
    asked: tuple[int, ...] = ()
    """The ranges that the receiver leads, as far as is known, and of which closings are asked for."""
    closed: tuple[Closed, ...] = ()


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """A closing that a replica has heard of."""

    timestamp: Timestamp
    index: int
    generation: int
    since_ns: int
    """On this node's monotonic clock: everything that had ended before is at or below `timestamp`."""


@dataclass(slots=True)
class _Mark:
    """A timestamp that a leader is about to close."""

    term: int
    generation: int
    timestamp: Timestamp
    tokens: dict[str, int]
    """By node: its latest question when the timestamp was marked."""
    is_confirmed: bool = False


@dataclass(slots=True)
class _Question:
    """What a node asks of this one, its latest."""

    token: int
    ranges: frozenset[int]
    at_tick: int


@dataclass(slots=True)
class ClosedCounters:
    """Since the node was started."""

    closed: int = 0
    """Timestamps that this node has closed as a leader."""
    heard: int = 0
    """Closings that it has heard of, its own included."""


@dataclass(slots=True)
class ClosedTimestamps:
    """All closings of one node: those that it promises, and those that it may read by."""

    node: str
    options: StoreOptions
    clock: HybridClock
    monotonic_ns: Callable[[], int]
    replicas: Mapping[int, Replica]
    others: Sequence[str]
    """All other nodes."""
    others_needed: int
    """So many of them meet, with this node, every quorum of every range."""
    counters: ClosedCounters = field(default_factory=ClosedCounters)
    on_heard: Callable[[int, Timestamp, int], None] | None = None
    """Told of each closing that may be read by from now on: range, timestamp and index."""
    _ticks: int = 0
    _probe: int = 0
    _sent_ns: dict[int, int] = field(default_factory=dict)
    """By probe of this life: when it was sent."""
    _echoes: dict[str, int] = field(default_factory=dict)
    """By node: the latest probe that it has sent back."""
    _wanted: dict[int, int] = field(default_factory=dict)
    """By range: the tick until which its closings are asked for."""
    _known: dict[int, deque[Fresh]] = field(default_factory=dict)
    """By range, the newest last."""
    _questions: dict[str, _Question] = field(default_factory=dict)
    _marks: dict[int, _Mark] = field(default_factory=dict)

    def recount(self, others: Sequence[str], others_needed: int) -> None:
        """There are other nodes than before. What was asked of them is asked anew: where fewer are needed now, those
        who have answered already need not have known what has moved to them since."""
        self.others, self.others_needed = others, others_needed
        self._echoes.clear()
        self._sent_ns.clear()

    # A replica that reads.

    def want(self, range_id: int) -> None:
        """A bounded read has come for this range: ask for closings for a while."""
        if self.options.closed_timestamp_ticks:
            lasting = max(int(WANTED_S * 1000 / self.options.tick_ms), 1)
            self._wanted[range_id] = self._ticks + lasting

    def newest(self, range_id: int) -> Fresh | None:
        """The newest closing that the range's replica here has applied."""
        return self._newest_until(range_id, None)

    def at_or_below(self, range_id: int, timestamp: Timestamp) -> Fresh | None:
        """The newest one at or below this timestamp."""
        return self._newest_until(range_id, timestamp)

    def _newest_until(self, range_id: int, timestamp: Timestamp | None) -> Fresh | None:
        replica = self.replicas.get(range_id)
        if replica is None:
            return None
        for fresh in reversed(self._known.get(range_id, ())):
            if (
                fresh.generation == replica.descriptor.generation
                and fresh.index <= replica.applied_index
                and (timestamp is None or fresh.timestamp <= timestamp)
            ):
                return fresh
        return None

    def is_within(self, since_ns: int, bound_ms: int) -> bool:
        """Whether, at this moment, an answer that is fresh since then misses nothing that ended before the bound."""
        return self.monotonic_ns() - since_ns <= bound_ms * 1_000_000

    def snapshot(self, range_ids: Iterable[int], bound_ms: int) -> tuple[Timestamp, int] | None:
        """A timestamp at which all these ranges may be read here and now within the bound, and since when it is fresh;
        None if there is none."""
        found = [self.newest(range_id) for range_id in range_ids]
        newest = [one.timestamp for one in found if one is not None]
        if len(newest) != len(found) or not newest:
            return None
        timestamp = min(newest)
        fresh = [self.at_or_below(range_id, timestamp) for range_id in range_ids]
        since = [one.since_ns for one in fresh if one is not None]
        if len(since) != len(fresh):
            return None
        return (timestamp, min(since)) if self.is_within(min(since), bound_ms) else None

    # Every tick, and whenever a frame says something.

    def tick(self) -> dict[str, Closings]:
        """One tick passes: by node, what to tell it."""
        self._ticks += 1
        every = self.options.closed_timestamp_ticks
        if not every or self._ticks % every:
            return {}
        told = self._close()
        asked = self._ask()
        self._mark()
        if not asked and not told and not self._wanted:
            return {}
        probe = self._probe if self._wanted else 0
        token = self._token()
        said = {}
        for node in self.others:
            ranges, closed = asked.get(node, ()), tuple(told.get(node, ()))
            if probe or ranges or closed:
                said[node] = Closings(probe, 0, token if ranges else 0, ranges, closed)
        return said

    def heard(self, node: str, said: Closings) -> Closings | None:
        """What a frame of this node says; what to tell it at once, if anything."""
        if said.echo in self._sent_ns:
            self._echoes[node] = max(self._echoes.get(node, 0), said.echo)
        for closed in said.closed:
            self._learn(closed)
        if said.token:
            self._questions[node] = _Question(said.token, frozenset(said.asked), self._ticks)
        return Closings(echo=said.probe) if said.probe else None

    # Asking.

    def _token(self) -> int:
        """The latest probe that enough nodes have sent back; 0 if there is none."""
        if self.others_needed <= 0:
            return self._probe
        echoes = sorted(self._echoes.values(), reverse=True)
        return echoes[self.others_needed - 1] if len(echoes) >= self.others_needed else 0

    def _ask(self) -> dict[str, tuple[int, ...]]:
        """By leader: the ranges whose closings are wanted. This node asks itself too, where it leads."""
        for range_id in [one for one, until in self._wanted.items() if until < self._ticks]:
            del self._wanted[range_id]
            self._known.pop(range_id, None)
        if not self._wanted:
            self._echoes.clear()
            return {}
        token = self._token()
        # Probes of no two lives are the same, as no two lives' clocks are: an answer to an earlier life's must not look
        # fresh.
        self._probe = self._probe + 1 if self._probe else max(self.clock.last.wall_ns, 1)
        self._sent_ns[self._probe] = self.monotonic_ns()
        if len(self._sent_ns) > PROBES_KEPT:
            del self._sent_ns[next(iter(self._sent_ns))]
        if token not in self._sent_ns:
            return {}
        by_leader: dict[str, list[int]] = {}
        for range_id in self._wanted:
            replica = self.replicas.get(range_id)
            leader = None if replica is None else replica.leader
            if leader is not None:
                by_leader.setdefault(leader, []).append(range_id)
        mine = by_leader.pop(self.node, None)
        if mine is not None:
            self._questions[self.node] = _Question(token, frozenset(mine), self._ticks)
        return {node: tuple(ranges) for node, ranges in by_leader.items()}

    def _learn(self, closed: Closed) -> None:
        sent_ns = self._sent_ns.get(closed.token)
        if sent_ns is None or closed.range_id not in self._wanted:
            return
        known = self._known.setdefault(closed.range_id, deque(maxlen=CLOSINGS_KEPT))
        if known and (closed.timestamp <= known[-1].timestamp or sent_ns < known[-1].since_ns):
            return
        self.counters.heard += 1
        known.append(Fresh(closed.timestamp, closed.index, closed.generation, sent_ns))
        if self.on_heard is not None:
            self.on_heard(closed.range_id, closed.timestamp, closed.index)

    # Promising.

    def read_for_ms(self, range_id: int) -> int:
        """For how long a timestamp that this leader closes may be read at; 0 where nobody asks for any."""
        if not any(range_id in question.ranges for question in self._questions.values()):
            return 0
        return (CLOSINGS_KEPT + 2) * self.options.closed_timestamp_ticks * self.options.tick_ms

    def _mark(self) -> None:
        """Mark the clock for each range that is asked for and led here, and have a quorum confirm it."""
        tokens: dict[int, dict[str, int]] = {}
        for node, question in list(self._questions.items()):
            if self._ticks - question.at_tick > 4 * self.options.closed_timestamp_ticks:
                del self._questions[node]
                continue
            for range_id in sorted(question.ranges):
                tokens.setdefault(range_id, {})[node] = question.token
        for range_id, by_node in tokens.items():
            replica = self.replicas.get(range_id)
            if replica is None or replica.leadership is None or not replica.group.is_leader:
                continue
            if replica.descriptor.merging is not None:
                # Its neighbour may have absorbed it already, and write its keys.
                continue
            term = replica.group.term
            under_way = self._marks.get(range_id)
            if under_way is not None and under_way.term == term:
                continue
            generation = replica.descriptor.generation
            mark = _Mark(term, generation, self.clock.now(), by_node)
            self._marks[range_id] = mark
            replica.confirm_mark(partial(_confirmed, mark))

    def _close(self) -> dict[str, list[Closed]]:
        """Close what was marked at an earlier tick and is confirmed: by node, what to tell it."""
        told: dict[str, list[Closed]] = {}
        for range_id, mark in list(self._marks.items()):
            replica = self.replicas.get(range_id)
            if (
                replica is None
                or replica.leadership is None
                or not replica.group.is_leader
                or replica.group.term != mark.term
                or replica.descriptor.generation != mark.generation
            ):
                del self._marks[range_id]
                continue
            if not mark.is_confirmed:
                continue
            del self._marks[range_id]
            index = replica.close(mark.timestamp)
            self.counters.closed += 1
            for node, token in mark.tokens.items():
                closed = Closed(range_id, mark.generation, mark.timestamp, index, token)
                if node == self.node:
                    self._learn(closed)
                else:
                    told.setdefault(node, []).append(closed)
        return told


def _confirmed(mark: _Mark) -> None:
    """A quorum has answered: the leader still led when it marked."""
    mark.is_confirmed = True
