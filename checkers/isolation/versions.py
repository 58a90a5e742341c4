"""The versions of registers, and what is known of their order from the transactions alone.

A version is what one committed transaction left at one key; each key also has an initial version. A transaction that
reads a version and overwrites it makes the next version of that key (nobody came between, else an update was lost),
so versions form *chains*. The order of the chains of a key is what remains to be found, except that the chain of the
initial version comes first (Cobra, OSDI 2020: combining writes). Where every transaction reads what it writes there
is one chain a key, and nothing remains (mini-transactions, arXiv 2504.02344).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from checkers.isolation.reads_from import ReadsFrom

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Versions:
    """v written versions, in the order of `ReadsFrom.write_*`, and after them an initial version for each key."""

    owner: NDArray[np.int32]
    """[v + keys] the transaction that wrote each version; the initial transaction for initial ones."""
    key: NDArray[np.int32]
    """[v + keys] its key."""
    next: NDArray[np.int64]
    """[v + keys] the version that is known to follow directly; -1 if none is."""
    read: NDArray[np.int64]
    """[reads] the version that each external read saw."""
    reader: NDArray[np.int32]
    """[reads] the transaction of each external read."""
    readers_first: NDArray[np.int64]
    """[v + keys + 1] where the reads of each version begin in `readers`."""
    readers: NDArray[np.int64]
    """Numbers of reads, by version; of several reads of a version by one transaction the first. The transaction that
    is known to have overwritten the version is left out."""
    tail: NDArray[np.int64]
    """[v + keys] the last version of the chain of each version."""
    heads: NDArray[np.int64]
    """The first version of each chain whose place is not known, by key."""
    updates_lost: NDArray[np.int64]
    """[lost, 2] pairs of reads of one version whose transactions both overwrote it."""
    written: int
    """v: how many versions were written."""


def find_versions(found: ReadsFrom) -> Versions:
    """The versions of a history in which no transaction depends on itself by reads (see `orders`); O(m log m)."""
    keys = len(found.transactions.keys)
    written = len(found.write_key)
    transactions = np.arange(found.initial, dtype=np.int32)
    owner = np.concatenate(
        [np.repeat(transactions, np.diff(found.write_first)), np.full(keys, found.initial, dtype=np.int32)]
    )
    key = np.concatenate([found.write_key, np.arange(keys, dtype=np.int32)])
    reader = np.repeat(transactions, np.diff(found.read_first))

    version_of = np.full(found.transactions.micro_operations, -1, dtype=np.int64)
    version_of[found.write_operation] = np.arange(written)
    read = written + found.read_key.astype(np.int64)
    seen = found.read_source != found.initial
    read[seen] = version_of[found.writer[found.read_operation[seen]]]

    # The version that the reader itself left at the key that it read, if it did.
    width = max(1, keys)
    codes = owner[:written].astype(np.int64) * width + key[:written]
    wanted = reader.astype(np.int64) * width + found.read_key
    place = np.searchsorted(codes, wanted)
    updates = place < written
    updates[updates] = codes[place[updates]] == wanted[updates]

    # One read for each version and transaction.
    order = np.lexsort((np.arange(len(read)), reader, read))
    same = np.zeros(len(order), dtype=np.bool_)
    same[1:] = (read[order[1:]] == read[order[:-1]]) & (reader[order[1:]] == reader[order[:-1]])
    distinct = order[~same]
    updating = distinct[updates[distinct]]
    twice = np.flatnonzero(read[updating[1:]] == read[updating[:-1]])
    lost = np.stack([updating[twice], updating[twice + 1]], axis=1)

    following = np.full(written + keys, -1, dtype=np.int64)
    following[read[updating]] = place[updating]
    others = distinct[~updates[distinct]]
    readers_first = np.concatenate([[0], np.cumsum(np.bincount(read[others], minlength=written + keys))])
    is_head = np.ones(written + keys, dtype=np.bool_)
    is_head[following[following >= 0]] = False
    is_head[written:] = False
    heads = np.flatnonzero(is_head)
    return Versions(
        owner=owner,
        key=key,
        next=following,
        read=read,
        reader=reader,
        readers_first=readers_first.astype(np.int64),
        readers=others,
        tail=_ends(following),
        heads=heads[np.argsort(key[heads], kind="stable")],
        updates_lost=lost,
        written=written,
    )


def _ends(following: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each chain ends, by jumping ever twice as far."""
    end = np.where(following >= 0, following, np.arange(len(following)))
    for _ in range(len(following).bit_length() + 1):
        further = end[end]
        if np.array_equal(further, end):
            break
        end = further
    return end
