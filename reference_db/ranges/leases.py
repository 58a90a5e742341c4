"""How long a leader may answer reads without asking anybody: a lease, measured on its own monotonic clock.

A leader's numbered heartbeats say when it certainly still led: if a quorum has answered a round, then until a while
after that round was *sent* nobody else can have been elected, because each who answered helps no other candidate before
an election timeout has passed since it heard the round (thesis 6.4.1), also if it restarts meanwhile. What follows:

1. The lease ends `length_ns` after the round was sent, never after it was answered. A round counts as sent at the tick
   in which it was opened, whose beginning is noted before anything leaves.
2. Ticks are not aligned. A follower may count one at once after it has heard the round, and a second that was late:
   the least that it waits is `election_ticks - 2` ticks of its own clock.
3. Clocks run about alike: `DRIFT_PERMILLE` is taken off for what they may differ in rate. That is all that a lease
   trusts. A wall clock has no part in it, and may jump as it likes.
4. A leader that hands over gives its lease up before it tells its successor to campaign, and has none any more in that
   term: the message may arrive at any time.
5. Whoever serves by a lease looks at it once more when the reply is there: the process may have been paused while it
   made it. A clock that stands still while the machine sleeps would not notice (`server/clock.py`).

A lease is kept alive only where reads ask for it. While nobody does, heartbeats are not numbered and nothing is noted;
the first reads go the long way. TiKV's leases begin at the sending of a round for the same reason (1); it has a state
*suspect* for (4).

Nothing in this file knows the time; whoever asks hands it in.
"""

from __future__ import annotations

from reference_db.raft.core import RaftCore
from reference_db.raft.messages import NO_NODE, Role
from reference_db.ranges.options import StoreOptions, is_on

DRIFT_PERMILLE = 50
"""Taken off the lease: enough where no two monotonic clocks differ in rate by more than 2.5 %. (Quartz: 0.02 %.)"""
WANTED_TIMEOUTS = 5
"""For how many election timeouts after the last read by lease it is kept alive."""

_LEADER = Role.LEADER


def lease_ns(options: StoreOptions) -> int:
    """How long a lease lasts from the moment at which its round was sent; see (2) and (3)."""
    return (options.election_ticks - 2) * options.tick_ms * 1_000_000 * (1000 - DRIFT_PERMILLE) // 1000


class Lease:
    """The lease of one replica, whether or not it leads."""

    __slots__ = ("_core", "_election_ticks", "_is_offered", "_sent_ns", "_wanted_until", "length_ns")

    def __init__(self, core: RaftCore, options: StoreOptions) -> None:
        self._core = core
        self._is_offered = is_on(options.leases)
        self._election_ticks = options.election_ticks
        self.length_ns = lease_ns(options)
        self._wanted_until = 0
        """In ticks of the core."""
        self._sent_ns: dict[int, int] = {}
        """When the latest ticks began, by their numbers: no round of such a tick was sent before."""

    def want(self) -> None:
        """A read has asked for it: keep it alive for a while."""
        if self._is_offered:
            self._wanted_until = self._core.ticks + WANTED_TIMEOUTS * self._election_ticks
            self._core.renews_lease = True

    def tick(self, now_ns: int) -> None:
        """The core has counted a tick. `now_ns` was read before: it is not later than anything sent in this tick."""
        core = self._core
        if not core.renews_lease:
            return
        if core.role != _LEADER or core.ticks > self._wanted_until:
            core.renews_lease = False
            self._sent_ns.clear()
            return
        sent = self._sent_ns
        sent[core.ticks] = now_ns
        if len(sent) > self._election_ticks:
            # What is older has ended.
            del sent[next(iter(sent))]

    def is_valid(self, now_ns: int) -> bool:
        """Whether nobody else can lead at this moment. `now_ns` is the monotonic clock, read just now."""
        return self.left_ns(now_ns) > 0

    def left_ns(self, now_ns: int) -> int:
        """For how long that will be so if nothing happens; 0 or less: it is not. A group of one: its whole length."""
        core = self._core
        if (
            core.role != _LEADER
            or core.lease_broken
            or core.transfer_target != NO_NODE
            or not core.committed_in_term
        ):
            return 0
        if core.peers.is_singleton:
            return self.length_ns if self._is_offered else 0
        sent_ns = self._sent_ns.get(core.reads.confirmed_tick)
        return 0 if sent_ns is None else sent_ns + self.length_ns - now_ns
