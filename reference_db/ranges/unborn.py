"""Ranges of a new cluster that nobody has led yet: who campaigns for them, and when, so that thousands begin in turn.

Left to election timeouts, all replicas of thousands of ranges give up waiting within the same second, campaign against
each other, and keep their nodes too busy to answer. So no time passes for a range before its first election, and its
replicas are not among those that a tick goes through:

1. Its preferred replica campaigns, without asking first. A node starts so many at a time as the bound on elections
   allows, and while fewer than `AWAKE_MOST` of its replicas are awake: those that are led fall asleep after a moment,
   and make room. `FLOOR` a tick start in any case.
2. Where the preferred one's node is silent, the next in the order of succession takes its place, after `PATIENCE`
   election timeouts.
3. If for `STUCK` election timeouts nobody was born, the rest wake some at a time, and their own election timeouts run.

A message about a range, or a connection, is all it takes to be born: whoever hears a candidate or a leader is awake.
Nothing is promised and nothing kept by those who are not; safety does not depend on any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reference_db.ranges.elections import succession
from reference_db.ranges.replica import Replica

CAMPAIGN_TICK = 3
"""When preferred replicas begin to campaign: once the nodes have had the time to connect."""
AWAKE_MOST = 1000
FLOOR = 20
PATIENCE = 3
STUCK = 10


class Unborn:
    """Those of one node."""

    def __init__(self, node: str, election_ticks: int, may_sleep: bool) -> None:
        """`may_sleep`: whether ranges that are led fall asleep, so that there will be room again."""
        self._node = node
        self._election_ticks = election_ticks
        self._may_sleep = may_sleep
        self._replicas: dict[int, Replica] = {}
        self._turn: list[Replica] = []
        """Those whose turn to campaign has come, the first at the end."""
        self._fewest = 0
        self._fewest_at = 0
        """The tick in which there became so few."""

    def __bool__(self) -> bool:
        return bool(self._replicas)

    def __len__(self) -> int:
        return len(self._replicas)

    def add(self, replica: Replica) -> None:
        self._replicas[replica.id] = replica
        self._fewest = len(self._replicas)

    def remove(self, range_id: int) -> bool:
        """It is born, or gone. Says whether it was here."""
        return self._replicas.pop(range_id, None) is not None

    def tick(
        self, ticks: int, awake: int, silent: Callable[[], Collection[str]], admits: Callable[[], bool]
    ) -> tuple[list[Replica], list[Replica]]:
        """Those that campaign in this tick, and those that wake. `silent` are the nodes that are not heard, `admits`
        says whether one more election may start."""
        if len(self._replicas) < self._fewest or ticks < CAMPAIGN_TICK:
            self._fewest, self._fewest_at = len(self._replicas), ticks
        if ticks == CAMPAIGN_TICK:
            self._turn = self._whose_turn(())
        elif (
            not self._turn and ticks >= PATIENCE * self._election_ticks and ticks % self._election_ticks == 0
        ):
            self._turn = self._whose_turn(silent())
        room = AWAKE_MOST - awake if self._may_sleep else len(self._turn)
        room = max(room, FLOOR)
        campaigning: list[Replica] = []
        while self._turn and len(campaigning) < room:
            if self._turn[-1].id not in self._replicas:
                self._turn.pop()
            elif admits():
                campaigning.append(self._turn.pop())
            else:
                break
        waking: list[Replica] = []
        if ticks - self._fewest_at > STUCK * self._election_ticks:
            waking = list(self._replicas.values())[:FLOOR]
        return campaigning, waking

    def _whose_turn(self, silent: Collection[str]) -> list[Replica]:
        """Those that come first among the nodes that are heard; the last range first."""
        found = []
        for _, replica in sorted(self._replicas.items(), reverse=True):
            heard = [one for one in succession(replica.descriptor) if one == self._node or one not in silent]
            if heard[0] == self._node:
                found.append(replica)
        return found
