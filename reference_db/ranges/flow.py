"""How much a node takes on at once: every queue has an end, and what finds it full is refused before anything was done.

| queue | bound | beyond it |
|---|---|---|
| requests of a node's replicas | `requests_most`, and `request_bytes_most` of what they write | *overloaded* |
| requests of one range | `range_requests_most` | *overloaded* |
| proposals of a range that are not committed | `proposal_bytes_most` | *overloaded* |
| entries on their way to a follower, of one range | `inflight_bytes_most`, and 256 messages | they wait in the log |
| Raft messages that arrive while a sync is under way | `INBOX_BYTES_MOST` of entries | dropped; Raft sends them again |
| requests that a gateway waits for | `router.PENDING_MOST`, `PENDING_BYTES_MOST` | *overloaded* |
| clients' requests of a node | `node.CLIENT_REQUESTS_MOST` | *overloaded* |
| pieces of snapshots on their way | `snapshots_most` windows of four, at either end | the others wait |
| frames to another node that have not left | `links.BUFFER_LIMIT_BYTES` | dropped: Raft sends them again |
| answers that a client does not read | `connections.UNREAD_LIMIT_BYTES` | nothing more is read from it |

*Overloaded* is definite. So memory is bounded by these numbers whatever clients send, however slow a follower or a disk
is. Reads count as requests and not as bytes: what they return is bounded by the connection that it goes to.
"""

from __future__ import annotations

from collections.abc import Iterable

from reference_db.api import (
    CommitAtOnce,
    CompareAndSet,
    CreateRecord,
    Put,
    RangeOperation,
    WriteIntent,
)
from reference_db.raft import Message

INBOX_BYTES_MOST = 32 << 20
"""Of entries that arrived during a sync."""
PENDING_BYTES_MOST = 64 << 20
"""Of what is written by the requests that one gateway waits for."""


class OpenRequests:
    """What the replicas of one store have under way, all together."""

    __slots__ = ("count", "refused", "size_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.refused = 0
        """How many were refused because a range had too much uncommitted, since the node was started."""
        self.size_bytes = 0
        """Of what they write."""


def written_bytes(operations: Iterable[RangeOperation]) -> int:
    """Bytes of the keys and values that these write; 0 for reads, and for what only names keys."""
    size = 0
    for operation in operations:
        if isinstance(operation, (Put, WriteIntent)):
            size += len(operation.key) + len(operation.value or b"")
        elif isinstance(operation, CompareAndSet):
            size += len(operation.key) + len(operation.expected or b"") + len(operation.new or b"")
        elif isinstance(operation, CommitAtOnce):
            size += sum(len(key) + len(value or b"") for key, value in operation.writes)
        elif isinstance(operation, CreateRecord):
            size += sum(map(len, operation.keys))
    return size


def entry_bytes(message: Message) -> int:
    """Bytes of the entries in a Raft message."""
    return sum([len(entry.data) for entry in message.entries])


class Inbox:
    """Raft messages that wait for the end of a sync, with a bound on what is in them."""

    __slots__ = ("_messages", "dropped", "most", "size_bytes")

    def __init__(self, most: int = INBOX_BYTES_MOST) -> None:
        self._messages: list[tuple[int, Message]] = []
        self.most = most
        self.size_bytes = 0
        self.dropped = 0
        """Messages with entries for which there was no room."""

    def __bool__(self) -> bool:
        return bool(self._messages)

    def extend(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Keep these, by range, but for those with entries that are too many: an APPEND that is lost is sent again."""
        for one in messages:
            entries = one[1].entries
            if entries:
                size = entry_bytes(one[1])
                if self._messages and self.size_bytes + size > self.most:
                    self.dropped += 1
                    continue
                self.size_bytes += size
            self._messages.append(one)

    def take(self) -> list[tuple[int, Message]]:
        """All of them."""
        messages, self._messages = self._messages, []
        self.size_bytes = 0
        return messages
