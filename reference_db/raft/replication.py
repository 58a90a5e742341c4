"""What a leader sends: appends, snapshots, heartbeats; and what it may commit (paper 5.3, 5.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .log import payload_of
from .log_store import Compacted, SnapshotUnavailable, Unavailable
from .messages import Entry, Message, MessageKind
from .progress import Progress, ProgressState

if TYPE_CHECKING:
    from .core import RaftCore


# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_REPLICATE = ProgressState.REPLICATE
_SNAPSHOT = ProgressState.SNAPSHOT
_APPEND = MessageKind.APPEND
_HEARTBEAT = MessageKind.HEARTBEAT


def broadcast_append(raft: RaftCore) -> None:
    """Spread new entries or a new commit index: at once, or with the next Ready where appends are coalesced."""
    if raft.config.coalesce_appends:
        raft.append_due = True
        return
    for node in raft.peers.others:
        maybe_send_append(raft, node, send_if_empty=True)


def flush_appends(raft: RaftCore) -> None:
    """Coalesced: each follower gets what is new for it, entries and commit index in one message if they fit."""
    log = raft.log
    announce = raft.config.announce_commits
    progress = raft.peers.progress
    for node in raft.peers.others:
        record = progress[node]
        if record.next <= log.last_index:
            while maybe_send_append(raft, node, send_if_empty=False) and record.next <= log.last_index:
                pass
        elif announce and record.can_bump_commit(log.committed):
            maybe_send_append(raft, node, send_if_empty=True)


def send_append(raft: RaftCore, node: int) -> None:
    """Send an append to one follower, an empty one if there is nothing new; nothing while it is paused."""
    maybe_send_append(raft, node, send_if_empty=True)


def maybe_send_append(raft: RaftCore, node: int, *, send_if_empty: bool) -> bool:
    """Send the next entries (or a snapshot, where the log doesn't reach back). Says whether a message left."""
    record = raft.peers.progress[node]
    if record.flow_paused or record.state is _SNAPSHOT:
        return False
    log = raft.log
    previous = record.next - 1
    entries: tuple[Entry, ...] = ()
    try:
        previous_term = log.term(previous)
        # A full window still lets an empty append through, so that lost messages are noticed.
        if record.state is not _REPLICATE or not record.inflights.full:
            entries = log.entries(record.next, log.last_index + 1, raft.config.max_bytes_per_message)
    except (Compacted, Unavailable):
        return _maybe_send_snapshot(raft, node, record)
    if not entries and not send_if_empty:
        return False
    raft.messages.append(
        Message(_APPEND, node, raft.node_id, raft.term, previous, previous_term, log.committed, entries)
    )
    record.sent_entries(len(entries), payload_of(entries))
    record.sent_commit(log.committed)
    return True


def push_snapshot(raft: RaftCore, node: int) -> bool:
    """Send a snapshot to a member that is known to have nothing, without asking it first. Says whether one left."""
    record = raft.peers.progress.get(node)
    if record is None or record.match or record.state is _SNAPSHOT:
        return False
    record.recent_active = True
    return _maybe_send_snapshot(raft, node, record)


def _maybe_send_snapshot(raft: RaftCore, node: int, record: Progress) -> bool:
    if not record.recent_active:
        # It would be lost, and a snapshot is expensive. A heartbeat's response will tell when it is back.
        return False
    try:
        snapshot = raft.log.leader_snapshot()
    except SnapshotUnavailable:
        return False
    assert snapshot.index > 0, f"the store gave an empty snapshot for {node}"
    record.become_snapshot(snapshot.index)
    record.snapshot_tick = raft.ticks
    raft.send(Message(MessageKind.SNAPSHOT, node, raft.node_id, raft.term, snapshot=snapshot))
    if raft.trace is not None:
        raft.trace("snapshot-sent", {"target": node, "index": snapshot.index, "term": snapshot.term})
    return True


def fill_window(raft: RaftCore, node: int) -> None:
    while maybe_send_append(raft, node, send_if_empty=False):
        pass


def maybe_commit(raft: RaftCore) -> bool:
    """Commit what is durable on a quorum, but count only entries of our own term (paper 5.4.2, figure 8)."""
    log = raft.log
    index = raft.peers.committed()
    if index <= log.committed or index > log.last_index or log.term(index) != raft.term:
        return False
    return raft.commit_to(index)


def broadcast_heartbeat(raft: RaftCore, context: bytes) -> None:
    for node, record in raft.peers.progress.items():
        if node != raft.node_id:
            # Never tell a follower a commit index that it may not have the entries for.
            commit = min(record.match, raft.log.committed)
            raft.messages.append(
                Message(_HEARTBEAT, node, raft.node_id, raft.term, commit=commit, context=context)
            )
            record.sent_commit(commit)


def report_unreachable(raft: RaftCore, node: int) -> None:
    """A message to `node` was probably lost: probe instead of streaming."""
    record = raft.peers.progress.get(node)
    if record is not None and record.state is _REPLICATE:
        record.become_probe()


def report_snapshot(raft: RaftCore, node: int, ok: bool) -> None:
    """The snapshot to `node` has been delivered, or has failed."""
    record = raft.peers.progress.get(node)
    if record is None or record.state is not _SNAPSHOT:
        return
    if not ok:
        record.pending_snapshot = 0
    record.become_probe()
    # Delivered: its APPEND_RESPONSE comes next. Failed: not again before the next heartbeat.
    record.flow_paused = True


def give_up_lost_snapshots(raft: RaftCore) -> None:
    """The receiver may have crashed with a snapshot in its hands; nobody would ever report on it."""
    limit = raft.config.snapshot_ticks
    if not limit:
        return
    for node, record in raft.peers.progress.items():
        if record.state is _SNAPSHOT and raft.ticks - record.snapshot_tick >= limit:
            report_snapshot(raft, node, ok=False)
