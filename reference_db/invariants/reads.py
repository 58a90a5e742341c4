"""What was read, when, and what is written below it all the same.

A read that a leader has answered is noted when the answer leaves it. Whatever was evaluated before held the key's latch
until it was applied, so a version that appears later has a timestamp above the read's, whoever leads by then: this is
what timestamp caches are for, across transfers, splits and merges. A transaction's own reads stand in nobody's way but
others'. Intents may lie below: what counts is the version that becomes of one.

Reads outside of transactions that chose a lease say nothing of timestamps: the newest was what they were asked for, no
quorum has heard of the clock by which the leader noted them, and a later leader whose clock is behind writes below it
(decision 7).

That nothing is missed is not promised: of reads of several keys at once only the latest are remembered.
"""

from __future__ import annotations

from collections import deque

from reference_db.api import Consistency, Get, RangeReply, RangeRequest, Refresh, Scan, ScanResult
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutVersion

SPANS_KEPT = 300

Read = tuple[Timestamp, bytes]
"""When, and by which transaction; b"" for one outside of any."""


class ServedReads:
    """The reads of all ranges."""

    def __init__(self) -> None:
        self._points: dict[bytes, list[Read]] = {}
        """By key: the latest, and the latest of another reader."""
        self._spans: deque[tuple[bytes, bytes | None, Read]] = deque(maxlen=SPANS_KEPT)

    def served(self, request: RangeRequest, reply: RangeReply) -> None:
        """A leader answers."""
        if reply.error is not None or not isinstance(request.operations[0], Get | Scan | Refresh):
            return
        if request.transaction is None and request.consistency == Consistency.LEASE:
            return
        read = (reply.timestamp, b"" if request.transaction is None else request.transaction.id)
        for operation, result in zip(request.operations, reply.results, strict=True):
            match operation:
                case Get(key=key):
                    self._note(key, read)
                case Refresh(start=start, end=end) if end == start + b"\x00":
                    self._note(start, read)
                case Scan(start=start, end=end) | Refresh(start=start, end=end):
                    resume = result.resume if isinstance(result, ScanResult) else None
                    if resume is not None and isinstance(operation, Scan) and operation.reverse:
                        start = resume
                    elif resume is not None:
                        end = resume
                    self._spans.append((start, end, read))

    def _note(self, key: bytes, read: Read) -> None:
        reads = self._points.setdefault(key, [])
        for place, (timestamp, reader) in enumerate(reads):
            if reader == read[1]:
                reads[place] = (max(timestamp, read[0]), reader)
                break
        else:
            reads.append(read)
        reads.sort(reverse=True)
        del reads[2:]

    def broken_by(self, command: Command) -> str | None:
        """What a command that is applied for the first time anywhere writes below a read; None if it doesn't."""
        for mutation in command.mutations:
            if not isinstance(mutation, PutVersion):
                continue
            key, timestamp, writer = mutation.key, mutation.timestamp, mutation.writer
            reads = list(self._points.get(key, ()))
            reads += [read for start, end, read in self._spans if start <= key and (end is None or key < end)]
            for read_at, reader in reads:
                if read_at >= timestamp and not (reader and reader == writer):
                    return (
                        f"{key!r} gets a version at {timestamp}, and was read at {read_at} before, without it"
                    )
        return None
