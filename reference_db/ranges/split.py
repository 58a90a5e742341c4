"""How one range becomes two: what a leader decides, what every replica writes, and how the new range begins.

A split is one entry in the log of the range that is cut. Data lie under their keys and not under their range, so
nothing is copied. When the entry is applied, one batch holds the applied index of the left range, both descriptors,
and the right range's first Raft state: an empty log that begins after `FIRST_INDEX`, in `FIRST_TERM`, the same on every
replica. A crash leaves all of it or nothing.

Why no read is contradicted: the leader evaluates nothing between proposing the entry and applying it. So the entry's
timestamp is above every read that the left range has served of the right one's keys in this term, earlier leaders'
reads are below it as well, and later ones have applied it. Whoever has a replica of the right range has the entry, or
a snapshot of somebody who had, and with it heard of that timestamp.

The node that leads the left range campaigns for the right one at once. If it wins the first term that there can be
(`FIRST_TERM + 1`), nobody else has led before it, and it goes on with what it remembers of reads, of promises about
transactions, and of coordinators; else the new leader begins as any new leader does.
"""

from __future__ import annotations

import msgspec

from reference_db.api import (
    BadRequest,
    RangeReply,
    RangeRequest,
    Reshaped,
    SplitRange,
)
from reference_db.raft.messages import ConfState, HardState
from reference_db.ranges.descriptor import Descriptor, encode_descriptor
from reference_db.storage.engine import WriteBatch
from reference_db.storage.raft_log import begin_range
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, SplitAt
from reference_db.txn.evaluate import Leadership
from reference_db.txn.evaluation import Evaluation, answer, refuse

FIRST_INDEX = 10
"""The log of a range that came from a split begins after this index: a replica that has nothing of it needs a snapshot,
and can be told apart."""
FIRST_TERM = 5
"""The term in which that log begins; nobody has led it."""


class SplitOff(msgspec.Struct, frozen=True):
    """A new range that a replica has just cut off."""

    right: Descriptor
    conf_state: ConfState
    is_heir: bool
    """The replica leads the range that was cut, in the entry's term."""
    heritage: Leadership | None
    """What it remembers; None unless it is the heir."""


def split_descriptor(descriptor: Descriptor, change: SplitAt) -> tuple[Descriptor, Descriptor]:
    """The two that come of one. Both get the same generation, which no descriptor of their keys has had."""
    inside = descriptor.start < change.key and descriptor.contains(change.key)
    assert inside, f"{change} does not cut {descriptor}"
    generation = descriptor.generation + 1
    left = msgspec.structs.replace(descriptor, end=change.key, generation=generation)
    # Both know which ranges are gone.
    right = msgspec.structs.replace(descriptor, id=change.right_id, start=change.key, generation=generation)
    return left, right


def evaluate_split(
    request: RangeRequest, operation: SplitRange, descriptor: Descriptor, now: Timestamp, term: int
) -> Evaluation:
    """What the leader of the range makes of the wish. `now` is fresh from its clock."""
    if not descriptor.contains(operation.key):
        error = BadRequest(
            f"range {descriptor.id} cannot be split at {operation.key!r}: it holds [{descriptor.start!r}, "
            f"{'end' if descriptor.end is None else repr(descriptor.end)})"
        )
        return refuse(request, error)
    if operation.key == descriptor.start:
        done = Reshaped((encode_descriptor(descriptor),))
        return answer(request, done, confirm=True)
    change = SplitAt(operation.key, operation.right_id)
    both = Reshaped(tuple(map(encode_descriptor, split_descriptor(descriptor, change))))
    command = Command(term, now, (), descriptor.generation, change)
    return Evaluation(RangeReply(request.request_id, (both,), now), command)


def write_right(batch: WriteBatch, right: Descriptor, conf_state: ConfState, early: HardState) -> None:
    """The right range's first state on this node. `early` is what a replica that came before the split, because it was
    asked to vote, has promised: a vote that was given stays given."""
    if early.term > FIRST_TERM:
        hard_state = HardState(early.term, early.vote, FIRST_INDEX)
    else:
        hard_state = HardState(FIRST_TERM, early.vote if early.term == FIRST_TERM else 0, FIRST_INDEX)
    begin_range(
        batch,
        right.id,
        encode_descriptor(right),
        conf_state,
        index=FIRST_INDEX,
        term=FIRST_TERM,
        hard_state=hard_state,
    )
