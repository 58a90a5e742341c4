"""How far this node's wall clock is from the others', measured; and whether it is so far that the node must stop.

Once an interval every other node is asked for its wall clock. The answer was true at some moment between question and
answer, so the offset is known up to half of the round trip (Cristian 1989). A node stops itself when its clock is
certainly off by more than the allowed maximum from more than half of the nodes that have answered lately: of three
nodes one whose clock jumped stops, and the two that see only it far away go on. Who hears from nobody cannot know, and
goes on.

Whoever is too far is asked once more, when all of a round have answered or been waited for, before a node stops. A
measurement counts for a while, unless this node's own clock was set since then: it says nothing of the clock that the
node has now. Otherwise one whose clock was mended a moment ago would stop for what it was before.

Nothing that is safe rests on this (decision 1): whatever was served before is as right as ever. What a clock that is
far off costs is progress, because it drags the hybrid clocks of all others along; stopping keeps that short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FRESH_INTERVALS = 0.9
"""For how long a measurement counts, in intervals: those of the last round do. The other's clock, too, may have been
mended since an earlier one."""
MOST_MOVED_NS = 10_000_000
"""A clock that moved further than that against the monotonic one was set. Slewing moves it by 0.5 ms a second."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One peer's clock against ours."""

    offset_ns: int
    """How far ours is ahead."""
    uncertainty_ns: int
    """The true offset is within this of it."""
    at_ns: int
    """When it was measured; monotonic."""
    lead_ns: int
    """How far our wall clock was ahead of our monotonic one then."""

    @property
    def least_ns(self) -> int:
        """How far apart the clocks are at the least."""
        return max(0, abs(self.offset_ns) - self.uncertainty_ns)


def measured(sent_wall_ns: int, sent_ns: int, answered_ns: int, their_wall_ns: int) -> Measured:
    """From our wall clock when the question left, the monotonic times of question and answer, and what was answered."""
    half = (answered_ns - sent_ns + 1) // 2
    return Measured(sent_wall_ns + half - their_wall_ns, half, answered_ns, sent_wall_ns - sent_ns)


class ClockOffsetExceeded(RuntimeError):
    """This node's clock is too far from the others': it must not go on."""


class ClockOffsets:
    """What one node knows of the others' clocks."""

    def __init__(self, node: str, max_offset_ms: int, interval_ms: int) -> None:
        """`max_offset_ms` 0: nothing is enforced."""
        self._node = node
        self._max_ns = max_offset_ms * 1_000_000
        self._fresh_ns = int(FRESH_INTERVALS * interval_ms * 1_000_000)
        self._measured: dict[str, Measured] = {}

    def note(self, peer: str, found: Measured) -> None:
        """A peer has answered."""
        self._measured[peer] = found

    def fresh(self, now_ns: int, wall_ns: int) -> Mapping[str, Measured]:
        """What was measured lately, by peer, with the clock that we have now: `wall_ns` at monotonic `now_ns`."""
        return {
            peer: found
            for peer, found in sorted(self._measured.items())
            if now_ns - found.at_ns <= self._fresh_ns
            and abs(wall_ns - now_ns - found.lead_ns) <= MOST_MOVED_NS
        }

    def beyond(self, now_ns: int, wall_ns: int) -> Mapping[str, Measured]:
        """Those of `fresh` from which our clock is certainly further than is allowed."""
        if not self._max_ns:
            return {}
        return {
            peer: found
            for peer, found in self.fresh(now_ns, wall_ns).items()
            if found.least_ns > self._max_ns
        }

    def why_stop(self, now_ns: int, wall_ns: int) -> str | None:
        """That the clock is too far from more than half of those who answered, in a sentence; None if it is not."""
        fresh, beyond = self.fresh(now_ns, wall_ns), self.beyond(now_ns, wall_ns)
        if 2 * len(beyond) <= len(fresh):
            return None
        told = ", ".join(f"{found.offset_ns / 1e6:+.1f} ms from {peer}'s" for peer, found in beyond.items())
        return (
            f"the clock of {self._node} is {told}; the most that is allowed is {self._max_ns / 1e6:g} ms "
            "(max_offset_ms): it stops. What it has answered trusted no wall clock and holds. Mend the clock, then "
            "start it again"
        )
