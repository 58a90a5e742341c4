"""The story of `vote_volatile` on disks that take a vote a turn later than its term: the answer leaves in between."""

from __future__ import annotations

from collections.abc import Sequence

from reference_db.directed import vote_volatile
from reference_db.directed.clients import Event
from reference_db.raft import ConfState, Entry, HardState, MemoryLogStore


class _Late(MemoryLogStore):
    """A turn's term and commit index are written in that turn, its vote in the next one."""

    __slots__ = ("_in_turn", "_unwritten")

    def __init__(self) -> None:
        super().__init__()
        self._unwritten: HardState | None = None
        self._in_turn = False
        """Whether the vote that waits is of the turn that goes on: its entries are still to come."""

    def set_hard_state(self, hard_state: HardState) -> None:
        self._write_vote()
        known = self._hard_state
        vote = known.vote if known.term == hard_state.term else 0
        super().set_hard_state(HardState(hard_state.term, vote, hard_state.commit))
        self._unwritten, self._in_turn = hard_state, True

    def append(self, entries: Sequence[Entry]) -> None:
        if not self._in_turn:
            self._write_vote()
        self._in_turn = False
        super().append(entries)

    def initial_state(self) -> tuple[HardState, ConfState]:
        self._unwritten = None
        return super().initial_state()

    def _write_vote(self) -> None:
        if self._unwritten is not None:
            super().set_hard_state(self._unwritten)
            self._unwritten = None


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    return vote_volatile.tell(_Late if plant else MemoryLogStore)
