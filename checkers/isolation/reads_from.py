"""Who wrote what each read saw: the ground of all isolation checks of registers whose writes are unique.

From the transactions come those that must have committed, the reads of one transaction from another, and the last
write of each transaction to each key; and on the way whatever is wrong at every level, read committed included:

- a read of what nobody wrote, or of what a failed transaction wrote (aborted read, Adya's G1a);
- a read of a write that its transaction itself overwrote (intermediate read, G1b);
- a read that misses its own transaction's earlier write, or sees its own later one.

These are the axioms of read consistency in *On the Complexity of Checking Transactional Consistency* (Biswas and
Enea, OOPSLA 2019) and in AWDIT (PLDI 2025). Read committed as they define it includes them, and so does Adya's idea
of a history (his thesis, 4.2).

A transaction whose outcome is unknown counts as committed once somebody has read a write of it, and never happened
otherwise: leaving an unread transaction out of a history that satisfies a level leaves one that satisfies it too.
A read whose writer is not certain (a value that was written twice; an absent key that was deleted) is left out for
the same reason, and counted: what is wrong without it is wrong with it, but nothing can be called right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from checkers.isolation import reads_from_kernel
from results.history import TYPE_CODES
from results.operation import FAIL, OK
from results.transactions import APPEND, NIL, READ, WRITE, Transactions

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXTERNAL: Final = 0
OWN: Final = 1
OWN_MISSED: Final = 2
OVERWRITTEN: Final = 3
LAST: Final = 4
UNANSWERED: Final = 5
"""Roles of micro-operations (`Roles.role`); the kernel has the same numbers."""

NOBODY: Final = -1
AMBIGUOUS: Final = -2
FAILED: Final = -3


@dataclass(frozen=True)
class Roles:
    """What each of m micro-operations is within its own transaction."""

    role: NDArray[np.int8]
    """[m] a read is `EXTERNAL` (its transaction has not written the key before), `OWN` (it saw its transaction's
    latest write), `OWN_MISSED` or `UNANSWERED`; a write is `OVERWRITTEN` by a later one of its transaction, or
    `LAST`."""
    other: NDArray[np.int64]
    """[m] the write of the own transaction that an `OWN` or `OWN_MISSED` read should see; the write that overwrote
    an `OVERWRITTEN` one; the earlier read of the key to which an `EXTERNAL` read gives another answer; else -1."""
    value: NDArray[np.int32]
    """[m] number of the value written or read; `NIL` for the absence of one."""
    transaction: NDArray[np.int32]
    """[m] the transaction that it belongs to."""
    range: NDArray[np.int32]
    """[m] the number of the range whose scan it stands for (see `predicates`); -1 if it stands for itself."""


@dataclass(frozen=True)
class ReadsFrom:
    """The committed part of a history: n transactions by their numbers in it, and n for the initial state."""

    transactions: Transactions
    roles: Roles
    committed: NDArray[np.bool_]
    """[n] whether it must have committed."""
    sessions: NDArray[np.int32]
    """The committed transactions by process, and each process's in their order."""
    session_first: NDArray[np.int64]
    """[sessions + 1] where each session begins in `sessions`."""
    read_first: NDArray[np.int64]
    """[n + 1] first of each transaction's external reads, which stand in the order of the transaction."""
    read_operation: NDArray[np.int64]
    """The micro-operation of each external read."""
    read_key: NDArray[np.int32]
    read_source: NDArray[np.int32]
    """The transaction that wrote what was read; n if it was the initial state."""
    write_first: NDArray[np.int64]
    """[n + 1] first of each transaction's last writes, sorted by key."""
    write_key: NDArray[np.int32]
    write_operation: NDArray[np.int64]
    unwritten: NDArray[np.int64]
    """Reads of what nobody wrote."""
    aborted: NDArray[np.int64]
    """Reads of what a failed transaction wrote."""
    intermediate: NDArray[np.int64]
    """Reads of what the writing transaction overwrote itself."""
    future: NDArray[np.int64]
    """Reads that saw a later write of their own transaction."""
    missed: NDArray[np.int64]
    """Reads that did not see the latest earlier write of their own transaction."""
    unrepeatable: NDArray[np.int64]
    """External reads that gave another answer than the one before of the same key and transaction (`Roles.other`)."""
    writer: NDArray[np.int64]
    """[m] of external reads, the write that they saw; `NOBODY`, `AMBIGUOUS` or `FAILED`; `NOBODY` for the rest."""
    ambiguous: int
    """Reads left out because their writer is not certain."""

    @property
    def initial(self) -> int:
        """The number of the transaction that wrote the initial state."""
        return len(self.transactions)


def find_reads_from(transactions: Transactions, range_: NDArray[np.int32] | None = None) -> ReadsFrom:
    """Finds for each read the write that it saw, in O(m log m) for m micro-operations; scans are passed over.

    `range_` says which reads stand for scans. Raises ValueError for transactions that append to lists: their reads
    tell more than this.
    """
    if (transactions.kind == APPEND).any():
        raise ValueError(
            "transactions that append to lists are no register transactions; check them as list-append"
        )
    roles = _find_roles(transactions, range_)
    external = np.flatnonzero(roles.role == EXTERNAL)
    writer, ambiguous = _find_writers(transactions, roles, external)
    seen = writer[external]

    by_failed = seen == FAILED
    unknown = seen == NOBODY
    initial = unknown & _may_be_initial(transactions, roles.value, external, unknown)
    found = seen >= 0
    source = np.full(len(external), len(transactions), dtype=np.int32)
    source[found] = roles.transaction[seen[found]]
    reader = roles.transaction[external]
    own = source == reader
    overwritten = np.zeros(len(external), dtype=np.bool_)
    overwritten[found] = roles.role[seen[found]] == OVERWRITTEN
    overwritten &= ~own

    committed = transactions.outcome == TYPE_CODES[OK]
    committed[source[found & ~own]] = True
    sessions, session_first = _sessions(transactions, committed)
    kept = (found & ~own) | initial
    read_first = _starts(reader[kept], len(transactions))

    writes = np.flatnonzero((roles.role == LAST) & committed[roles.transaction])
    width = max(1, len(transactions.keys))
    writes = writes[
        np.argsort(
            roles.transaction[writes].astype(np.int64) * width + transactions.key[writes], kind="stable"
        )
    ]
    return ReadsFrom(
        transactions=transactions,
        roles=roles,
        committed=committed,
        sessions=sessions,
        session_first=session_first,
        read_first=read_first,
        read_operation=external[kept],
        read_key=transactions.key[external[kept]],
        read_source=source[kept],
        write_first=_starts(roles.transaction[writes], len(transactions)),
        write_key=transactions.key[writes],
        write_operation=writes,
        unwritten=external[unknown & ~initial],
        aborted=external[by_failed],
        intermediate=external[overwritten],
        future=external[found & own],
        missed=np.flatnonzero(roles.role == OWN_MISSED),
        unrepeatable=external[roles.other[external] >= 0],
        writer=writer,
        ambiguous=ambiguous,
    )


def _find_roles(transactions: Transactions, range_: NDArray[np.int32] | None) -> Roles:
    count = transactions.micro_operations
    sizes = np.diff(transactions.first)
    transaction = np.repeat(np.arange(len(transactions), dtype=np.int32), sizes)
    is_read = transactions.kind == READ
    is_ok = transactions.outcome == TYPE_CODES[OK]
    answered = is_read & transactions.known & is_ok[transaction]
    value = transactions.value.copy()
    some = answered & (np.diff(transactions.element_first) > 0)
    value[answered] = NIL
    value[some] = transactions.elements[transactions.element_first[:-1][some]]
    role = np.empty(count, dtype=np.int8)
    other = np.empty(count, dtype=np.int64)
    keys = max(1, len(transactions.keys))
    reads_from_kernel.find_roles(
        transactions.first,
        transactions.kind,
        transactions.key,
        value,
        answered.view(np.int8),
        np.full(keys, -1, dtype=np.int64),
        np.full(keys, -1, dtype=np.int64),
        role,
        other,
    )
    if range_ is None:
        range_ = np.full(count, -1, dtype=np.int32)
    return Roles(role, other, value, transaction, range_)


def _find_writers(
    transactions: Transactions, roles: Roles, external: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Of each micro-operation the write that it saw, and how many reads may have seen several."""
    writer = np.full(transactions.micro_operations, NOBODY, dtype=np.int64)
    has_failed = transactions.outcome == TYPE_CODES[FAIL]
    writes = np.flatnonzero(transactions.kind == WRITE)
    failed = has_failed[roles.transaction[writes]]
    width = np.int64(len(transactions.values) + 1)
    code = transactions.key.astype(np.int64) * width + (roles.value.astype(np.int64) + 1)

    seen, several = _look_up(code, roles.transaction, writes[~failed], external)
    # That a key is absent may be the work of any deletion, or of none.
    absent = roles.value[external] == NIL
    several |= absent & (seen != NOBODY)
    if failed.any():
        lost = np.flatnonzero((seen == NOBODY) & ~absent)
        by_failed, _ = _look_up(code, roles.transaction, writes[failed], external[lost])
        seen[lost[by_failed != NOBODY]] = FAILED
    # A read that may have seen a write of its own transaction, too, is no clearer.
    seen[several] = AMBIGUOUS
    writer[external] = seen
    return writer, int(several.sum())


def _may_be_initial(
    transactions: Transactions,
    value: NDArray[np.int32],
    external: NDArray[np.int64],
    unknown: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which of the reads of what nobody wrote may have seen the initial state.

    Keys are absent at first. But where transactions have times and nobody said so, the database may have been in use
    before; then all may that saw the same value of a key, if nobody saw another that was not written.
    """
    absent: NDArray[np.bool_] = value[external] == NIL
    if transactions.is_initial_known or not transactions.has_real_time:
        return absent
    lowest = np.full(len(transactions.keys), np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.full(len(transactions.keys), NIL, dtype=np.int32)
    key = transactions.key[external]
    np.minimum.at(lowest, key[unknown], value[external[unknown]])
    np.maximum.at(highest, key[unknown], value[external[unknown]])
    possible: NDArray[np.bool_] = absent | (lowest == highest)[key]
    return possible


def _look_up(
    code: NDArray[np.int64],
    transaction: NDArray[np.int32],
    writes: NDArray[np.int64],
    reads: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each read the last of the writes with its code, or `NOBODY`, and whether several transactions have one."""
    order = writes[np.argsort(code[writes], kind="stable")]
    sorted_codes = code[order]
    wanted = code[reads]
    end = np.searchsorted(sorted_codes, wanted, side="right")
    place = np.maximum(end - 1, 0)
    if not len(order):
        return np.full(len(reads), NOBODY, dtype=np.int64), np.zeros(len(reads), dtype=np.bool_)
    hit = (end > 0) & (sorted_codes[place] == wanted)
    seen = np.where(hit, order[place], NOBODY)
    # Equal codes stand together in the order of the transactions, so that neighbours tell whether all are of one.
    differs = np.zeros(len(order), dtype=np.bool_)
    differs[1:] = (sorted_codes[1:] == sorted_codes[:-1]) & (
        transaction[order[1:]] != transaction[order[:-1]]
    )
    if not differs.any():
        return seen, np.zeros(len(reads), dtype=np.bool_)
    before = np.concatenate([[0], np.cumsum(differs)])
    begin = np.searchsorted(sorted_codes, wanted, side="left")
    return seen, before[end] > before[begin]


def _sessions(
    transactions: Transactions, committed: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    members = np.flatnonzero(committed)
    members = members[np.argsort(transactions.process[members], kind="stable")]
    process = transactions.process[members]
    begins = np.flatnonzero(np.concatenate([[True], process[1:] != process[:-1]])[: len(members)])
    return members.astype(np.int32), np.concatenate([begins, [len(members)]]).astype(np.int64)


def _starts(owner: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Where each owner's entries begin; `owner` is sorted."""
    return np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]).astype(np.int64)
