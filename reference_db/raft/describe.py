"""Messages, entries and Readys as lines for people, in the notation of etcd's raft: `1->2 MsgApp Term:1 Log:1/3 ...`.

Used by traces and by tests; nothing on the way of a request calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .group import Ready
from .messages import (
    LOCAL_APPEND,
    LOCAL_APPLY,
    ChangeKind,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    NodeChange,
    Role,
    Snapshot,
    SoftState,
    decode_conf_change,
)

MESSAGE_NAMES = {
    MessageKind.PROPOSE: "MsgProp",
    MessageKind.APPEND: "MsgApp",
    MessageKind.APPEND_RESPONSE: "MsgAppResp",
    MessageKind.VOTE: "MsgVote",
    MessageKind.VOTE_RESPONSE: "MsgVoteResp",
    MessageKind.PRE_VOTE: "MsgPreVote",
    MessageKind.PRE_VOTE_RESPONSE: "MsgPreVoteResp",
    MessageKind.HEARTBEAT: "MsgHeartbeat",
    MessageKind.HEARTBEAT_RESPONSE: "MsgHeartbeatResp",
    MessageKind.SNAPSHOT: "MsgSnap",
    MessageKind.SNAPSHOT_ANSWER: "MsgSnapAnswer",
    MessageKind.TRANSFER_LEADER: "MsgTransferLeader",
    MessageKind.TIMEOUT_NOW: "MsgTimeoutNow",
    MessageKind.READ_INDEX: "MsgReadIndex",
    MessageKind.READ_INDEX_RESPONSE: "MsgReadIndexResp",
    MessageKind.STORAGE_APPEND: "MsgStorageAppend",
    MessageKind.STORAGE_APPEND_RESPONSE: "MsgStorageAppendResp",
    MessageKind.STORAGE_APPLY: "MsgStorageApply",
    MessageKind.STORAGE_APPLY_RESPONSE: "MsgStorageApplyResp",
}
ROLE_NAMES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
ENTRY_NAMES = {
    EntryKind.NORMAL: "EntryNormal",
    EntryKind.SINGLE_CHANGE: "EntryConfChange",
    EntryKind.CONF_CHANGE: "EntryConfChangeV2",
}
CHANGE_LETTERS = {
    ChangeKind.ADD_VOTER: "v",
    ChangeKind.ADD_LEARNER: "l",
    ChangeKind.REMOVE: "r",
    ChangeKind.UPDATE: "u",
}


def describe_change(change: ConfChange) -> str:
    """`v1 l2 r3`: voter 1, learner 2, 3 removed."""
    return " ".join(f"{CHANGE_LETTERS[step.kind]}{step.node}" for step in change.changes)


def parse_changes(text: str) -> tuple[NodeChange, ...]:
    """The inverse of `describe_change`. Raises `ValueError` for anything else."""
    kinds = {letter: kind for kind, letter in CHANGE_LETTERS.items()}
    changes = []
    for word in text.split():
        if word[0] not in kinds or not word[1:].isdigit():
            raise ValueError(
                f"{word!r} is no change of a node; write v1 (voter), l2 (learner), r3 (remove) or u4"
            )
        changes.append(NodeChange(kinds[word[0]], int(word[1:])))
    return tuple(changes)


def describe_entry(entry: Entry) -> str:
    if entry.kind == EntryKind.NORMAL:
        payload = msgspec.json.encode(entry.data.decode("utf-8", "backslashreplace")).decode()
    else:
        try:
            payload = describe_change(decode_conf_change(entry))
        except msgspec.DecodeError:
            payload = f"undecodable {entry.data.hex()}"
    return f"{entry.term}/{entry.index} {ENTRY_NAMES[entry.kind]} {payload}".rstrip()


def describe_conf_state(conf_state: ConfState) -> str:
    def listed(nodes: Iterable[int]) -> str:
        return "[" + " ".join(str(node) for node in nodes) + "]"

    return (
        f"Voters:{listed(conf_state.voters)} VotersOutgoing:{listed(conf_state.voters_outgoing)} "
        f"Learners:{listed(conf_state.learners)} LearnersNext:{listed(conf_state.learners_next)} "
        f"AutoLeave:{str(conf_state.auto_leave).lower()}"
    )


def describe_snapshot(snapshot: Snapshot) -> str:
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{describe_conf_state(snapshot.conf_state)}"


def describe_hard_state(hard_state: HardState) -> str:
    vote = f" Vote:{hard_state.vote}" if hard_state.vote else ""
    return f"Term:{hard_state.term}{vote} Commit:{hard_state.commit}"


def describe_soft_state(soft_state: SoftState) -> str:
    return f"Lead:{soft_state.leader} State:{ROLE_NAMES[soft_state.role]}"


def describe_node(node: int) -> str:
    return {LOCAL_APPEND: "AppendThread", LOCAL_APPLY: "ApplyThread"}.get(node, str(node))


def describe_message(m: Message) -> str:
    """One line; several entries, a snapshot and the responses of a storage message add indented ones."""
    text = (
        f"{describe_node(m.source)}->{describe_node(m.target)} {MESSAGE_NAMES[m.kind]} "
        f"Term:{m.term} Log:{m.log_term}/{m.index}"
    )
    if m.reject:
        text += f" Rejected (Hint: {m.hint})"
    if m.commit:
        text += f" Commit:{m.commit}"
    if m.vote:
        text += f" Vote:{m.vote}"
    if len(m.entries) == 1:
        text += f" Entries:[{describe_entry(m.entries[0])}]"
    elif m.entries:
        inner = "\n".join(indent(describe_entry(entry)) for entry in m.entries)
        text += f" Entries:[\n{inner}\n]"
    if m.snapshot is not None:
        text += f"\n  Snapshot: {describe_snapshot(m.snapshot)}"
    if m.responses:
        inner = "\n".join(indent(describe_message(response)) for response in m.responses)
        text += f" Responses:[\n{inner}\n]"
    return text


def describe_ready(ready: Ready, messages: Sequence[Message] | None = None) -> str:
    """All parts of a Ready. `messages`: what to show as its messages, by default both lists one after the other."""
    if messages is None:
        messages = [*ready.messages, *ready.messages_after_append]
    lines: list[str] = []
    if ready.soft_state is not None:
        lines.append(describe_soft_state(ready.soft_state))
    if ready.hard_state is not None:
        lines.append(f"HardState {describe_hard_state(ready.hard_state)}")
    if ready.read_states:
        states = " ".join(
            f"{state.context.decode(errors='replace')}@{state.index}" for state in ready.read_states
        )
        lines.append(f"ReadStates {states}")
    if ready.dropped_reads:
        dropped = " ".join(context.decode(errors="replace") for context in ready.dropped_reads)
        lines.append(f"DroppedReads {dropped}")
    if ready.entries:
        lines += ["Entries:", *map(describe_entry, ready.entries)]
    if ready.snapshot is not None:
        lines.append(f"Snapshot {describe_snapshot(ready.snapshot)}")
    if ready.committed_entries:
        lines += ["CommittedEntries:", *map(describe_entry, ready.committed_entries)]
    if messages:
        lines += ["Messages:", *map(describe_message, messages)]
    if not lines:
        return "<empty Ready>"
    return "\n".join([f"Ready MustSync={str(ready.must_sync).lower()}:", *lines])


def indent(text: str) -> str:
    return "\n".join("  " + line for line in text.split("\n"))
