"""Heartbeats in short: what a node says for all its groups at once, instead of a message for each.

A heartbeat of a leader at rest says hardly anything: its group, its term, how far the follower may commit, and which
round of reads it asks for. An owner with thousands of groups (`Config.own_heartbeats` off) collects that from all of
them with `due`, sends it in one envelope a node, and gives each piece to `heard` and `answered` there. These do what
the messages would have done, where that is nothing but a note; else they say no, and the owner steps the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import leading
from .messages import Message, MessageKind, Role
from .progress import ProgressState
from .reads import context_of, number_of

if TYPE_CHECKING:
    from .core import RaftCore

# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_LEADER = Role.LEADER
_FOLLOWER = Role.FOLLOWER
_PROBE = ProgressState.PROBE


def due(raft: RaftCore) -> tuple[int, list[tuple[int, int]]]:
    """A leader's heartbeats of now: the number of the round of reads that they ask for (0: none), and for each other
    member how far it may commit."""
    number = number_of(leading.heartbeat_context(raft))
    committed = raft.log.committed
    told = []
    for node, record in raft.peers.progress.items():
        if node != raft.node_id:
            # Never tell a follower a commit index that it may not have the entries for.
            commit = min(record.match, committed)
            record.sent_commit(commit)
            told.append((node, commit))
    return number, told


def heard(raft: RaftCore, source: int, term: int, commit: int) -> bool:
    """A follower takes its leader's heartbeat in. False, with nothing changed: it must be stepped as a message."""
    if raft.role is not _FOLLOWER or raft.term != term or raft.leader_id != source:
        return False
    raft.election_elapsed = 0
    raft.commit_to(commit)
    return True


def answered(raft: RaftCore, source: int, term: int, number: int) -> bool:
    """A leader takes a follower's answer in. False, with nothing changed: it must be stepped as a message."""
    if number or raft.role is not _LEADER or raft.term != term:
        return False
    record = raft.peers.progress.get(source)
    if record is None or record.match < raft.log.last_index or record.state is _PROBE:
        return False
    record.recent_active = True
    record.flow_paused = False
    return True


def heartbeat(source: int, target: int, term: int, commit: int, number: int) -> Message:
    """The message that a short heartbeat stands for."""
    return Message(
        MessageKind.HEARTBEAT, target, source, term, commit=commit, context=context_of(term, number)
    )


def answer(source: int, target: int, term: int, number: int) -> Message:
    """The message that a short answer stands for."""
    return Message(MessageKind.HEARTBEAT_RESPONSE, target, source, term, context=context_of(term, number))
