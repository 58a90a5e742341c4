"""Who campaigns when: so that a node's death is no storm, though thousands of ranges lose their leader with it.

Every range that a dead node led needs an election: one candidate that asks all others, for a pre-vote and for a vote.
More than that is waste, and waste comes at the worst moment. Three controls, each of which can be left out:

1. *Jitter*: election timeouts are drawn at random, so that seldom two followers campaign at once (paper 5.2).
2. *Priority*: of a range's replicas each draws from a part of the interval of its own, in the order in which they
   should lead. The first that is alive is elected before the next one's time has come. That order differs from range to
   range, so a dead node's ranges spread over all others.
3. *A bound*: a node starts an election only while fewer than so many of its own are under way; the others wait for the
   next tick. Their time stands still meanwhile, and they vote for whoever asks.

        ticks since the leader was heard    E ........ 4/3 E ........ 5/3 E ........ 2 E
        preferred replica                   [ draws here )
        second                                          [ draws here )
        third                                                        [ draws here )
"""

from __future__ import annotations

from collections.abc import Iterable

from reference_db.raft import Role
from reference_db.raft.core import RaftCore
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.options import StoreOptions, is_on

UNDER_WAY_TICKS = 3
"""An election that was not decided after so many ticks counts no more: it waits for nodes that may be down."""

_FOLLOWER, _LEADER = Role.FOLLOWER, Role.LEADER


def succession(descriptor: Descriptor) -> tuple[str, ...]:
    """The replicas in the order in which they should lead: the preferred one, then the others, of which another one is
    the first in another range."""
    first, *others = descriptor.replicas
    if not others:
        return (first,)
    turn = descriptor.id // len(descriptor.replicas) % len(others)
    return (first, *others[turn:], *others[:turn])


def election_window(descriptor: Descriptor, node: str, options: StoreOptions) -> tuple[int, int]:
    """From which election timeouts, in ticks, `[first, end)`, a node's replica of a range draws."""
    ticks = options.election_ticks
    storm_control = is_on(options.storm_control)
    first, end = ticks, 2 * ticks
    if storm_control and is_on(options.election_priority) and node in descriptor.replicas:
        count = len(descriptor.replicas)
        rank = succession(descriptor).index(node)
        first, end = ticks + rank * ticks // count, ticks + (rank + 1) * ticks // count
    if not (storm_control and is_on(options.election_jitter)):
        end = first + 1
    return first, max(end, first + 1)


class ElectionBound:
    """How many more elections a node may start in the present tick."""

    __slots__ = ("_left", "_most")

    def __init__(self, options: StoreOptions) -> None:
        self._most = options.elections_most if is_on(options.storm_control) else 0
        self._left: int | None = None

    def next_tick(self) -> None:
        """A tick begins: what is under way is counted when somebody asks."""
        self._left = None

    def holds_back(self, core: RaftCore, others: Iterable[RaftCore]) -> bool:
        """Whether a replica that would campaign at this tick must wait for the next one; `others` are all that are
        awake."""
        if core.election_elapsed + 1 < core.randomized_timeout or core.role is _LEADER:
            return False
        return not self.admits(others)

    def admits(self, others: Iterable[RaftCore]) -> bool:
        """Whether one more election may start in this tick; if so, it counts."""
        if not self._most:
            return True
        if self._left is None:
            under_way = sum(
                1
                for other in others
                if other.role is not _FOLLOWER
                and other.role is not _LEADER
                and other.election_elapsed < UNDER_WAY_TICKS
            )
            self._left = max(self._most - under_way, 0)
        if not self._left:
            return False
        self._left -= 1
        return True
