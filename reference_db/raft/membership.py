"""Who is in a group, and how that changes: one voter at a time, or through a joint configuration.

Pure functions from a configuration to the next one (Ongaro's thesis, chapter 4). Every refusal is a `ValueError`
whose text says the rule; nothing has changed then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from .messages import NO_NODE, ChangeKind, ConfChange, ConfState, NodeChange
from .progress import Inflights, Progress


class Configuration(msgspec.Struct, frozen=True):
    """The members of a group.

    `outgoing` is empty unless the configuration is joint. A node is never both a voter and a learner; one that is a
    voter of `outgoing` and shall become a learner waits in `learners_next` until the joint configuration is left.
    """

    voters: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()
    learners: frozenset[int] = frozenset()
    learners_next: frozenset[int] = frozenset()
    auto_leave: bool = False

    @property
    def is_joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def all_voters(self) -> frozenset[int]:
        return self.voters | self.outgoing

    def conf_state(self) -> ConfState:
        return ConfState(
            voters=tuple(sorted(self.voters)),
            learners=tuple(sorted(self.learners)),
            voters_outgoing=tuple(sorted(self.outgoing)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=self.auto_leave,
        )

    def __str__(self) -> str:
        text = f"voters={_listed(self.voters)}"
        if self.outgoing:
            text += f"&&{_listed(self.outgoing)}"
        if self.learners:
            text += f" learners={_listed(self.learners)}"
        if self.learners_next:
            text += f" learners_next={_listed(self.learners_next)}"
        if self.auto_leave:
            text += " autoleave"
        return text


ProgressMap = dict[int, Progress]


class Changer:
    """Works out the next configuration, and the progress records that go with it.

    `last_index` is where replication to a new member starts to probe; `inflights` is the window it gets.
    """

    def __init__(
        self, configuration: Configuration, progress: ProgressMap, last_index: int, inflights: Inflights
    ) -> None:
        self._before = configuration
        self._last_index = last_index
        self._inflights = inflights
        self._progress: ProgressMap = {node: record.copy() for node, record in progress.items()}
        self._voters = set(configuration.voters)
        self._outgoing = set(configuration.outgoing)
        self._learners = set(configuration.learners)
        self._learners_next = set(configuration.learners_next)

    def change(self, change: ConfChange) -> tuple[Configuration, ProgressMap]:
        """Whatever a committed `ConfChange` asks for."""
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.auto_leave, change.changes)
        return self.simple(change.changes)

    def simple(self, changes: Sequence[NodeChange]) -> tuple[Configuration, ProgressMap]:
        """At most one voter comes or goes, so old and new majorities overlap without a joint configuration."""
        if self._outgoing:
            raise ValueError("can't apply simple config change in joint config")
        self._apply(changes)
        if len(self._before.voters ^ self._voters) > 1:
            raise ValueError("more than one voter changed without entering joint config")
        return self._result(self._before.auto_leave)

    def enter_joint(
        self, auto_leave: bool, changes: Sequence[NodeChange]
    ) -> tuple[Configuration, ProgressMap]:
        """From now on both the old and the new voters must agree."""
        if self._outgoing:
            raise ValueError("config is already joint")
        if not self._voters:
            raise ValueError("can't make a zero-voter config joint")
        self._outgoing = set(self._voters)
        self._apply(changes)
        return self._result(auto_leave)

    def leave_joint(self) -> tuple[Configuration, ProgressMap]:
        """From now on the new voters decide alone; demoted ones become learners, removed ones are forgotten."""
        if not self._outgoing:
            raise ValueError("can't leave a non-joint config")
        for node in sorted(self._learners_next):
            self._learners.add(node)
            self._progress[node].is_learner = True
        self._learners_next.clear()
        for node in sorted(self._outgoing):
            if node not in self._voters and node not in self._learners:
                del self._progress[node]
        self._outgoing.clear()
        return self._result(False)

    def _apply(self, changes: Iterable[NodeChange]) -> None:
        for change in changes:
            if change.node == NO_NODE:
                continue
            if change.kind == ChangeKind.ADD_VOTER:
                self._make_voter(change.node)
            elif change.kind == ChangeKind.ADD_LEARNER:
                self._make_learner(change.node)
            elif change.kind == ChangeKind.REMOVE:
                self._remove(change.node)
        if not self._voters:
            raise ValueError("removed all voters")

    def _make_voter(self, node: int) -> None:
        record = self._progress.get(node)
        if record is None:
            self._progress[node] = self._new_progress(is_learner=False)
        else:
            record.is_learner = False
            self._learners.discard(node)
            self._learners_next.discard(node)
        self._voters.add(node)

    def _make_learner(self, node: int) -> None:
        record = self._progress.get(node)
        if record is None:
            self._progress[node] = self._new_progress(is_learner=True)
            self._learners.add(node)
            return
        if record.is_learner:
            return
        self._remove(node)
        self._progress[node] = record
        if node in self._outgoing:
            self._learners_next.add(node)
        else:
            record.is_learner = True
            self._learners.add(node)

    def _remove(self, node: int) -> None:
        if node not in self._progress:
            return
        self._voters.discard(node)
        self._learners.discard(node)
        self._learners_next.discard(node)
        if node not in self._outgoing:
            del self._progress[node]

    def _new_progress(self, *, is_learner: bool) -> Progress:
        return new_progress(self._last_index, self._inflights, is_learner=is_learner)

    def _result(self, auto_leave: bool) -> tuple[Configuration, ProgressMap]:
        after = Configuration(
            voters=frozenset(self._voters),
            outgoing=frozenset(self._outgoing),
            learners=frozenset(self._learners),
            learners_next=frozenset(self._learners_next),
            auto_leave=auto_leave,
        )
        check_configuration(after, self._progress)
        return after, self._progress


def restore(
    conf_state: ConfState, last_index: int, inflights: Inflights
) -> tuple[Configuration, ProgressMap]:
    """The configuration that a snapshot or a disk describes. Raises `ValueError` for an impossible one."""
    if _has_voters_only(conf_state):
        # Of thousands of groups that a node starts with nearly all; the way below takes ten times as long.
        plain: ProgressMap = {
            node: new_progress(last_index, inflights, is_learner=False) for node in conf_state.voters
        }
        return _shared(Configuration(voters=frozenset(conf_state.voters))), plain
    configuration, progress = Configuration(), ProgressMap()
    outgoing = [NodeChange(ChangeKind.ADD_VOTER, node) for node in conf_state.voters_outgoing]
    incoming = [NodeChange(ChangeKind.REMOVE, node) for node in conf_state.voters_outgoing]
    incoming += [NodeChange(ChangeKind.ADD_VOTER, node) for node in conf_state.voters]
    incoming += [NodeChange(ChangeKind.ADD_LEARNER, node) for node in conf_state.learners]
    incoming += [NodeChange(ChangeKind.ADD_LEARNER, node) for node in conf_state.learners_next]
    one_by_one = outgoing or incoming
    for change in one_by_one:
        changer = Changer(configuration, progress, last_index, inflights)
        configuration, progress = changer.simple((change,))
    if outgoing:
        changer = Changer(configuration, progress, last_index, inflights)
        configuration, progress = changer.enter_joint(conf_state.auto_leave, incoming)
    restored = configuration.conf_state()
    if restored != normalized(conf_state):
        raise ValueError(f"{conf_state} is no possible configuration; the nearest is {restored}")
    return _shared(configuration), progress


def _has_voters_only(conf_state: ConfState) -> bool:
    voters = conf_state.voters
    return (
        bool(voters)
        and not (conf_state.voters_outgoing or conf_state.learners or conf_state.learners_next)
        and not conf_state.auto_leave
        and NO_NODE not in voters
        and len(set(voters)) == len(voters)
    )


def new_progress(last_index: int, inflights: Inflights, *, is_learner: bool) -> Progress:
    """The record of a new member."""
    # It counts as active: it hadn't a chance to answer before the next check for a quorum.
    return Progress(
        match=0,
        next=max(last_index, 1),
        inflights=inflights.empty_copy(),
        is_learner=is_learner,
        recent_active=True,
    )


@lru_cache(maxsize=1000)
def _shared(configuration: Configuration) -> Configuration:
    """One object for all equal ones: thousands of groups on a node have the same few memberships."""
    return configuration


def normalized(conf_state: ConfState) -> ConfState:
    """The same members in ascending order."""
    return ConfState(
        voters=tuple(sorted(conf_state.voters)),
        learners=tuple(sorted(conf_state.learners)),
        voters_outgoing=tuple(sorted(conf_state.voters_outgoing)),
        learners_next=tuple(sorted(conf_state.learners_next)),
        auto_leave=conf_state.auto_leave,
    )


def check_configuration(configuration: Configuration, progress: ProgressMap) -> None:
    """The invariants of a configuration and its progress records."""
    members = configuration.all_voters | configuration.learners | configuration.learners_next
    assert members == progress.keys(), f"members {_listed(members)}, progress of {_listed(progress)}"
    for node in sorted(configuration.learners_next):
        assert node in configuration.outgoing, f"{node} is in learners_next but not in the outgoing voters"
        assert not progress[node].is_learner, f"{node} is in learners_next and already counts as a learner"
    for node in sorted(configuration.learners):
        assert node not in configuration.all_voters, f"{node} is both learner and voter"
        assert progress[node].is_learner, f"{node} is a learner but doesn't count as one"
    assert configuration.outgoing or not configuration.learners_next, (
        "learners_next outside a joint configuration"
    )
    assert configuration.outgoing or not configuration.auto_leave, "auto_leave outside a joint configuration"


def _listed(nodes: Iterable[int]) -> str:
    return "(" + " ".join(str(node) for node in sorted(nodes)) + ")"
