"""What the coordinator keeps of one open transaction, and the exception that ends one.

Nothing of an open transaction is anywhere but here: what it has read, where, and what it will write.
"""

from __future__ import annotations

import asyncio

from reference_db.api import ClientError as Refusal
from reference_db.api import Isolation, Key, Pushed, Transaction, TransactionProtocol, Value
from reference_db.timestamp import Timestamp

Span = tuple[Key, Key | None]


class Failed(Exception):
    """The transaction ends with this error for the client."""

    def __init__(self, error: Refusal) -> None:
        super().__init__(str(error))
        self.error = error


class OpenTransaction:
    """What the coordinator knows of one transaction."""

    __slots__ = (
        "committed_at",
        "id",
        "isolation",
        "observed",
        "one_at_a_time",
        "over",
        "priority",
        "promise",
        "protocol",
        "puts",
        "read_timestamp",
        "reads",
        "writes",
        "written_bytes",
    )

    def __init__(
        self,
        identity: bytes,
        priority: Timestamp,
        protocol: TransactionProtocol = TransactionProtocol.RECORD,
        isolation: Isolation = Isolation.SERIALIZABLE,
    ) -> None:
        self.id = identity
        self.priority = priority
        self.protocol = protocol
        """Who drives it."""
        self.isolation = isolation
        self.read_timestamp: Timestamp | None = None
        """Where all reads so far hold; None before the first."""
        self.reads: dict[Span, None] = {}
        self.writes: dict[Key, Value | None] = {}
        """The last value written to each key, in order of the first write; None deletes."""
        self.puts = 0
        """How many writes were taken."""
        self.written_bytes = 0
        """Of the keys and values in `writes`."""
        self.observed = False
        """Whether its protocol has looked for a timestamp to read at."""
        self.promise: tuple[Pushed, ...] = ()
        """That whatever was acknowledged before it began is at or below its timestamp; empty where nobody knows."""
        self.committed_at: Timestamp | None = None
        """The timestamp of its versions, once it is committed and has written."""
        self.over = False
        self.one_at_a_time = asyncio.Lock()
        """Reads and the commit of a client that doesn't wait for answers come one after the other: each may move the
        timestamp that the others read at."""

    def identity(self, began: Timestamp) -> Transaction:
        """As ranges know it."""
        return Transaction(self.id, next(iter(self.writes), b""), self.priority, began, self.protocol)
