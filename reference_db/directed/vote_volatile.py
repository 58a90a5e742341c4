"""A member votes, loses power before it hears from the leader that it helped, and votes again in the same term.

1. n2 and n3 do not hear each other. n2 campaigns, n1 votes for it, and n2 leads term 1. 2. n1 loses power before n2's
first entry arrives, and is cut off from n2. 3. n3 campaigns in term 1, too; if n1 has forgotten its vote, n3 leads. A
client adds 1 through n3, which n1 acknowledges. 4. n1 is started again, and reaches n2 only. A client adds 2 through
n2: entries of the same index and term are the same to n1, so it acknowledges what it does not have. 5. n2 serves reads.

Why a story: the power must fail within a round trip of the vote, and n1 must forget the second leader, too, before it
meets the first one again, or it ends itself. Random search has come to two leaders of one term, and no further.
"""

from __future__ import annotations

from collections.abc import Callable

from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage
from reference_db.raft import HardState, MemoryLogStore, MessageKind


class _Forgetful(MemoryLogStore):
    """A disk to which the vote is never written."""

    __slots__ = ()

    def set_hard_state(self, hard_state: HardState) -> None:
        super().set_hard_state(HardState(hard_state.term, commit=hard_state.commit))


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    return tell(_Forgetful if plant else MemoryLogStore)


def tell(disk: Callable[[], MemoryLogStore]) -> list[Event]:
    """The story, on disks of a kind."""
    stage = Stage((1, 2, 3), disk=disk)
    clients = Clients(stage)
    stage.cut = {(2, 3), (3, 2)}
    stage.holds = lambda message: message.kind is MessageKind.APPEND
    stage.campaign(2)
    assert stage.group(2).is_leader
    _lose_power(stage)
    stage.cut |= {(1, 2), (2, 1)}
    stage.campaign(3)
    clients.add(3, 1)
    _lose_power(stage)
    stage.cut = {(1, 3), (3, 1), (2, 3), (3, 2)}
    clients.add(2, 2)
    stage.tick(2, count=2)
    clients.read(2)
    return clients.end()


def _lose_power(stage: Stage) -> None:
    """n1 does, and everything that is on its way to it is lost."""
    stage.crash(1)
    stage.lose()
    stage.start(1)
