"""What a leader learns: acknowledgements, refusals, heartbeat responses, and what its disk has done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import leading, replication
from .log import payload_of, size_of
from .messages import Message
from .progress import Progress, ProgressState

if TYPE_CHECKING:
    from .core import RaftCore


# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_PROBE = ProgressState.PROBE
_REPLICATE = ProgressState.REPLICATE


def on_append_response(raft: RaftCore, m: Message) -> None:
    """A follower, or our own disk, acknowledges or refuses an append."""
    record = raft.peers.progress.get(m.source)
    if record is None:
        return
    record.recent_active = True
    if m.reject:
        _on_append_refused(raft, m, record)
        return
    index = m.index
    if not record.maybe_update(index) and not (record.match == index and record.state is _PROBE):
        return
    log = raft.log
    if record.state is _REPLICATE:
        record.inflights.free_to(index)
    elif record.state is _PROBE:
        record.become_replicate()
    elif record.match + 1 >= log.first_index:
        # Whatever snapshot arrived there: from here on the log is enough.
        record.become_probe()
        record.become_replicate()
    if index > log.committed and replication.maybe_commit(raft):
        replication.broadcast_append(raft)
    elif m.source != raft.node_id and record.can_bump_commit(log.committed):
        if raft.config.coalesce_appends:
            # Unless commits are announced, there is nothing to send, and no Ready to hand out for it.
            raft.append_due = raft.append_due or raft.config.announce_commits
        else:
            replication.send_append(raft, m.source)
    if m.source != raft.node_id:
        if not raft.config.coalesce_appends:
            replication.fill_window(raft, m.source)
        elif record.next <= log.last_index:
            raft.append_due = True
        if m.source == raft.transfer_target and record.match == log.last_index:
            leading.send_timeout_now(raft, m.source)


def _on_append_refused(raft: RaftCore, m: Message, record: Progress) -> None:
    """The logs don't agree at `m.index`; the follower has `m.log_term` at `m.hint`.

    Probing one index less each time could take as many rounds as the logs differ in length. Instead whole terms are
    skipped, on both sides: the follower's hint is already the last place whose term isn't beyond the leader's, and
    among the leader's entries those with a term above `m.log_term` can't agree either. For example

        index         1 2 3 4 5 6 7 8 9
        leader's term 1 3 3 3 5 5 5 5 5
        follower's    1 1 1 1 2 2

    a probe at 9 is refused with hint 6 of term 2, and the leader goes straight to 1.
    """
    probe_at = m.hint
    if m.log_term > 0:
        probe_at, _ = raft.log.find_conflict_by_term(m.hint, m.log_term)
    if record.maybe_decrease(m.index, probe_at):
        if record.state is _REPLICATE:
            record.become_probe()
        replication.send_append(raft, m.source)


def on_heartbeat_response(raft: RaftCore, m: Message) -> None:
    record = raft.peers.progress.get(m.source)
    if record is None:
        return
    record.recent_active = True
    record.flow_paused = False
    # Also with a full window: what filled it may all have been lost. And a follower that is complete but probed
    # needs one answer to an append to get out of that state.
    if record.match < raft.log.last_index or record.state is _PROBE:
        replication.send_append(raft, m.source)
    if m.context:
        leading.on_round_answered(raft, m)


def on_storage_appended(raft: RaftCore, m: Message) -> None:
    raft.storage_appended(m.term, m.index, m.log_term, m.snapshot)


def on_storage_applied(raft: RaftCore, m: Message) -> None:
    if m.entries:
        raft.storage_applied(m.entries[-1].index, size_of(m.entries), payload_of(m.entries))
