"""How much of its log a replica keeps: enough for followers that lag, and never more than a number of bytes.

1. The last `log_entries_kept` applied entries stay, so that a follower which was away for a moment needs no snapshot.
2. A leader keeps, beyond that, what followers that answer still have to receive: a snapshot of a whole range is dear,
   and while it is taken more entries are missed.
3. A log of more than `log_bytes_most` is cut whoever needs it, to three quarters of that, but never beyond what is
   applied. A follower that answers and cannot keep up gets a snapshot then, and so does one that does not answer.

Nothing is dropped but what is applied here. TiKV's policy is of the same kind (`raft_log_gc_*`): a threshold of
entries, what the slowest follower needs, and sizes above which it is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from reference_db.raft.progress import Progress, ProgressState

STEP = 500
"""Entries above the kept number before the log is cut, so that it is done seldom."""


def needed_by_followers(followers: Iterable[Progress]) -> int | None:
    """The last entry that every follower which answers has already; None if nobody answers. One that is being sent a
    snapshot needs what comes after that."""
    have = [
        max(one.match, one.pending_snapshot) if one.state is ProgressState.SNAPSHOT else one.match
        for one in followers
        if one.recent_active
    ]
    return min(have, default=None)


def cut_at(first: int, applied: int, kept: int, needed: int | None) -> int | None:
    """By rules 1 and 2: the last entry to drop of a log that begins with `first`; None if that is not worth it yet.
    `needed` is what followers that answer have, of a leader."""
    at = applied - kept
    if needed is not None:
        at = min(at, needed)
    return at if at - first >= min(STEP, kept) else None


def cut_at_size(
    first: int, applied: int, sizes: Iterable[int], size_bytes: int, most_bytes: int
) -> int | None:
    """By rule 3: the last entry to drop of a log of `size_bytes`, whose entries have these sizes; None if it is small
    enough, or if nothing of it is applied."""
    if size_bytes <= most_bytes:
        return None
    left, at = size_bytes, first - 1
    for size in sizes:
        if left <= most_bytes * 3 // 4 or at >= applied:
            break
        left -= size
        at += 1
    return at if at >= first else None
