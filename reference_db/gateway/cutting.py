"""Takes the operations of one request apart, so that each part lies in one range, and puts the replies together again.

A gateway plans by the ranges that it knows. When one of them was split meanwhile, its refusal says so, and what was one
request becomes several, without whoever planned it having to know. The parts of a request must be such that it does
not matter when each is carried out, as long as nobody believes in the whole before all are: reads at one given
timestamp, intents, refreshes, resolutions are. A scan is not sent to all of its ranges: the first answers, and says
where the scan goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from reference_db.api import (
    CHANGES,
    READ_OPERATIONS,
    Add,
    CheckLock,
    CollectVersions,
    CommitAtOnce,
    CompareAndSet,
    CreateRecord,
    Delete,
    DeleteRecord,
    EndTransaction,
    Get,
    HeartbeatRecord,
    Key,
    PushTransaction,
    Put,
    QueryIntent,
    RangeOperation,
    RangeReply,
    RecoverTransaction,
    Refresh,
    Resolved,
    ResolveIntents,
    Result,
    Scan,
    ScanResult,
    TakeTimestamps,
    Transaction,
    WriteIntent,
)
from reference_db.gateway.directory import Directory
from reference_db.ranges.descriptor import Descriptor
from reference_db.timestamp import ZERO

_KEYED = (
    Get,
    Put,
    Delete,
    CompareAndSet,
    Add,
    WriteIntent,
    QueryIntent,
    TakeTimestamps,
    CollectVersions,
    CheckLock,
    *CHANGES,
)
_AT_ANCHOR = (CreateRecord, HeartbeatRecord, EndTransaction, CommitAtOnce)


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What one range is asked for: operations, and where each stood in the whole."""

    descriptor: Descriptor
    operations: tuple[RangeOperation, ...]
    places: tuple[int, ...]

    @property
    def is_read(self) -> bool:
        """Whether it only reads."""
        return isinstance(self.operations[0], READ_OPERATIONS)


def range_of(key: Key, directory: Directory) -> tuple[int, int]:
    """What keys of one range have in common: its id, and the generation of it that is known."""
    descriptor = directory.find(key)
    return descriptor.id, descriptor.generation


def group_keys(keys: Sequence[Key], directory: Directory) -> list[list[Key]]:
    """The keys of each range, ranges by id, keys in the order in which they came."""
    by_range: dict[tuple[int, int], list[Key]] = {}
    for key in keys:
        by_range.setdefault(range_of(key, directory), []).append(key)
    return [mine for _, mine in sorted(by_range.items())]


def cut(
    operations: tuple[RangeOperation, ...], transaction: Transaction | None, directory: Directory
) -> list[Piece]:
    """The pieces, in the order in which their ranges are first named."""
    # Of a range whose newest descriptor is known for a part of its keys only, there are two.
    found: dict[tuple[int, int], tuple[Descriptor, list[RangeOperation], list[int]]] = {}

    def add(descriptor: Descriptor, operation: RangeOperation, place: int) -> None:
        piece = found.setdefault((descriptor.id, descriptor.generation), (descriptor, [], []))
        piece[1].append(operation)
        piece[2].append(place)

    for place, operation in enumerate(operations):
        match operation:
            case Scan(start=start, end=end):
                parts = directory.overlapping(start, end)
                descriptor, low, high = parts[-1 if operation.reverse else 0]
                whole = low == start and high == end
                add(descriptor, operation if whole else _part_of(operation, low, high), place)
            case Refresh(start=start, end=end, since=since):
                for descriptor, low, high in directory.overlapping(start, end):
                    add(descriptor, Refresh(low, high, since), place)
            case ResolveIntents(keys=keys):
                groups = group_keys(keys, directory)
                if len(groups) == 1:
                    add(directory.find(keys[0]), operation, place)
                    continue
                for mine in groups:
                    one = msgspec.structs.replace(operation, keys=tuple(mine))
                    add(directory.find(mine[0]), one, place)
            case _:
                add(directory.find(place_of(operation, transaction)), operation, place)
    return [Piece(descriptor, tuple(mine), tuple(places)) for descriptor, mine, places in found.values()]


def place_of(operation: RangeOperation, transaction: Transaction | None) -> Key:
    """The first key that decides which range an operation belongs to."""
    if isinstance(operation, _KEYED):
        return operation.key
    if isinstance(operation, _AT_ANCHOR):
        assert transaction is not None, f"{operation} without a transaction"
        return transaction.anchor
    match operation:
        case Scan(start=start) | Refresh(start=start):
            return start
        case ResolveIntents(keys=keys):
            return keys[0]
        case PushTransaction(pushee=pushee):
            return pushee.anchor
        case DeleteRecord(transaction=named) | RecoverTransaction(transaction=named):
            return named.anchor
        case _:
            raise ValueError(f"{type(operation).__name__} belongs to no key")


def join(
    operations: tuple[RangeOperation, ...], pieces: Sequence[Piece], replies: Sequence[RangeReply]
) -> RangeReply:
    """One reply for the whole: the first error, or one result an operation."""
    for reply in replies:
        if reply.error is not None:
            return reply
    results: list[Result | None] = [None] * len(operations)
    timestamp = ZERO
    for piece, reply in zip(pieces, replies, strict=True):
        timestamp = max(timestamp, reply.timestamp)
        for place, operation, result in zip(piece.places, piece.operations, reply.results, strict=True):
            whole = operations[place]
            earlier = results[place]
            if isinstance(operation, Scan) and isinstance(whole, Scan) and isinstance(result, ScanResult):
                result = _unfinished(whole, operation, result)
            elif isinstance(earlier, Resolved) and isinstance(result, Resolved):
                result = Resolved(earlier.count + result.count)
            results[place] = result
    whole_results = tuple([result for result in results if result is not None])
    assert len(whole_results) == len(operations), f"{operations} were answered with {replies}"
    return RangeReply(replies[0].request_id, whole_results, timestamp)


def _part_of(scan: Scan, start: Key, end: Key | None) -> Scan:
    return msgspec.structs.replace(scan, start=start, end=end)


def _unfinished(whole: Scan, part: Scan, result: ScanResult) -> ScanResult:
    """Where the whole scan goes on after a part of it."""
    if result.resume is not None or (part.start == whole.start and part.end == whole.end):
        return result
    return ScanResult(result.pairs, part.start if whole.reverse else part.end)
