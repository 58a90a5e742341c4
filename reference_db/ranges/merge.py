"""How two neighbours become one range: freeze the right one, wait for all its replicas, let the left one absorb it.

The steps, and who may die in between:

1. FREEZE, an entry of the right range: from then on it serves nothing, reads included, and its descriptor says for whom
   (`merging`: the left range, as of which generation). Its leader keeps requests meanwhile.
2. Every replica of the right range says that the freeze is applied *and durable* on its disk. A merge takes all of
   them; with one that is silent it is undone.
3. ABSORB, an entry of the left range. Where it is applied, the node's right replica holds all that there will ever be,
   so one batch widens the left descriptor and removes the right range's Raft state, for good (a tombstone).

To undo: the *left* range decides. BUMP raises its generation, after which an ABSORB that was decided under the old one
is dropped when it is applied; only then THAW lets the right range serve again. Whoever finds a range frozen for long
does that, so it does not matter who began and died. If the left range has absorbed it already, nothing is left to undo.

Why no read is contradicted: FREEZE's timestamp is above every read that the right range has served (nothing is
evaluated between its proposal and its application, see `split`), ABSORB's is above that, and the left leader counts all
keys of the right range as read up to there. Promises about transactions without a record are gone with the right
leader, so for those with their anchor there the left one refuses to create records that began before.

The ids of absorbed ranges stay in the descriptor. A replica that has missed the merge, and gets the wide range's
snapshot, learns from them which replicas to give up; and who wants to undo a merge learns that it has happened.
"""

from __future__ import annotations

import msgspec

from reference_db.api import (
    AbsorbRange,
    BadRequest,
    BumpRange,
    FreezeRange,
    RangeReply,
    RangeRequest,
    Reshaped,
    ThawRange,
)
from reference_db.ranges.descriptor import Descriptor, Merging, decode_descriptor, encode_descriptor
from reference_db.ranges.tombstones import GONE, Tombstone
from reference_db.storage import keys
from reference_db.storage.engine import WriteBatch
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Absorb, Bump, Command, Freeze, Thaw
from reference_db.txn.evaluation import Evaluation, refuse


def changed(descriptor: Descriptor, change: Freeze | Thaw | Bump | Absorb) -> Descriptor:
    """What a range is after one of these entries."""
    generation = descriptor.generation + 1
    match change:
        case Freeze():
            merging = Merging(change.left_id, change.left_generation, change.left_start)
            return msgspec.structs.replace(descriptor, generation=generation, merging=merging)
        case Thaw():
            return msgspec.structs.replace(descriptor, generation=generation, merging=None)
        case Bump():
            return msgspec.structs.replace(descriptor, generation=generation)
        case Absorb():
            right = decode_descriptor(change.right)
            return msgspec.structs.replace(
                descriptor,
                end=right.end,
                generation=max(descriptor.generation, right.generation) + 1,
                absorbed=tuple(sorted({*descriptor.absorbed, *right.absorbed, right.id})),
            )


def evaluate_merge(
    request: RangeRequest,
    operation: FreezeRange | ThawRange | BumpRange | AbsorbRange,
    descriptor: Descriptor,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """What the leader of a range makes of one of the steps. `now` is fresh from its clock, and not below the request's
    timestamp. A step that was taken already is answered with the range as it is."""
    outcome = _decide(operation, descriptor)
    if isinstance(outcome, str):
        return refuse(request, BadRequest(outcome), confirm=True)
    if outcome is None:
        done = Reshaped((encode_descriptor(descriptor),))
        return Evaluation(RangeReply(request.request_id, (done,), now), confirm=True)
    done = Reshaped((encode_descriptor(changed(descriptor, outcome)),))
    command = Command(term, now, (), descriptor.generation, outcome)
    return Evaluation(RangeReply(request.request_id, (done,), now), command)


def _decide(
    operation: FreezeRange | ThawRange | BumpRange | AbsorbRange, descriptor: Descriptor
) -> Freeze | Thaw | Bump | Absorb | str | None:
    """The change; or why there can be none; None if it was made already, or need not be made any more."""
    match operation:
        case FreezeRange():
            return _freeze(operation, descriptor)
        case ThawRange():
            return _thaw(operation, descriptor)
        case BumpRange():
            return _bump(operation, descriptor)
        case AbsorbRange():
            return _absorb(operation, descriptor)


def _freeze(operation: FreezeRange, descriptor: Descriptor) -> Freeze | str | None:
    wish = Merging(operation.left_id, operation.left_generation, operation.left_start)
    if descriptor.merging == wish:
        return None
    if descriptor.merging is not None:
        return f"range {descriptor.id} is being merged into range {descriptor.merging.left_id} already"
    if descriptor.start != operation.key:
        return f"range {descriptor.id} begins at {descriptor.start!r}, not at {operation.key!r}"
    return Freeze(operation.left_id, operation.left_generation, operation.left_start)


def _thaw(operation: ThawRange, descriptor: Descriptor) -> Thaw | None:
    if descriptor.id == operation.range_id and descriptor.generation == operation.frozen_generation:
        return Thaw()
    return None


def _bump(operation: BumpRange, descriptor: Descriptor) -> Bump | None:
    if descriptor.id == operation.left_id and descriptor.generation == operation.left_generation:
        return Bump()
    return None


def _absorb(operation: AbsorbRange, descriptor: Descriptor) -> Absorb | str | None:
    right = decode_descriptor(operation.right)
    if right.id in descriptor.absorbed:
        return None
    wanted = right.merging
    assert wanted is not None, f"{right} is to be absorbed, and is not frozen"
    if (descriptor.id, descriptor.generation) != (wanted.left_id, wanted.left_generation):
        return (
            f"range {wanted.left_id} was to absorb range {right.id} as of generation {wanted.left_generation}"
        )
    if descriptor.is_moving or right.is_moving:
        return f"{descriptor} or {right} is being moved"
    if descriptor.end != right.start or sorted(descriptor.replicas) != sorted(right.replicas):
        return f"{right} is no neighbour of {descriptor} on the same nodes"
    return Absorb(operation.right)


def erase_range(batch: WriteBatch, range_id: int, tombstone: Tombstone = GONE) -> None:
    """Remove the Raft state and the descriptor of a range's replica, and remember why; by default, because the range
    will never live again. Its data are not touched."""
    for key in (keys.descriptor_key, keys.hard_state_key, keys.applied_key, keys.truncated_key):
        batch.delete(key(range_id))
    batch.delete_range(*keys.log_span(range_id))
    batch.put(keys.tombstone_key(range_id), tombstone.encode())
