"""Everybody in the group as this node sees them: configuration, progress of each, votes received.

Keeps the lists that the hot path needs (peers in order, progress of the voters), so that acknowledging an append
sorts three numbers and builds nothing else.
"""

from __future__ import annotations

from . import quorum
from .membership import Configuration, ProgressMap
from .progress import Progress
from .quorum import VoteResult


class Peers:
    """One per group. `install` is the only way to change the configuration."""

    __slots__ = ("_incoming", "_node_id", "_outgoing", "_votes", "configuration", "others", "progress")

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        self._votes: dict[int, bool] = {}
        self.install(Configuration(), {})

    def install(self, configuration: Configuration, progress: ProgressMap) -> None:
        self.configuration = configuration
        self.progress: ProgressMap = dict(sorted(progress.items()))
        """By node, in ascending order."""
        self.others: list[int] = [node for node in self.progress if node != self._node_id]
        """All members but ourselves, in ascending order."""
        self._incoming = [self.progress[node] for node in sorted(configuration.voters)]
        self._outgoing = [self.progress[node] for node in sorted(configuration.outgoing)]

    @property
    def is_singleton(self) -> bool:
        """Whether this node is the only voter, so that what it knows is what a quorum knows."""
        return len(self._incoming) == 1 and not self._outgoing and self._node_id in self.configuration.voters

    def is_voter(self, node: int) -> bool:
        return node in self.configuration.voters or node in self.configuration.outgoing

    def committed(self) -> int:
        """The highest index that is durable on a quorum."""
        if not self._outgoing:
            if not self._incoming:
                return quorum.NO_LIMIT
            return _majority_match(self._incoming)
        return min(
            _majority_match(self._incoming) if self._incoming else quorum.NO_LIMIT,
            _majority_match(self._outgoing),
        )

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since the last check."""
        active = {
            node: record.recent_active for node, record in self.progress.items() if not record.is_learner
        }
        return self._tally(active) is VoteResult.WON

    def reset_votes(self) -> None:
        self._votes.clear()

    def record_vote(self, node: int, granted: bool) -> None:
        """The first answer of a node counts; a repeated message changes nothing."""
        self._votes.setdefault(node, granted)

    def tally(self) -> VoteResult:
        return self._tally(self._votes)

    def _tally(self, votes: dict[int, bool]) -> VoteResult:
        return quorum.joint_vote(self.configuration.voters, self.configuration.outgoing, votes)


def _majority_match(records: list[Progress]) -> int:
    matches = [record.match for record in records]
    matches.sort()
    return matches[(len(matches) - 1) // 2]
