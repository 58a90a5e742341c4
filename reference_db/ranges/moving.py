"""How a range's replica goes from one node to another: add a learner, catch it up, swap by joint consensus, remove.

    replicas n1 n2 n3                     n1 leaves for n4; n2 leads
    1. n4 says, durably, that it has no replica of the range, and will take none older than the present generation
    2. ADD_LEARNER   replicas n1 n2 n3, learners n4          the leader pushes a snapshot to n4
    3. PROMOTE       replicas n4 n2 n3, leaving n1           quorums of (n1 n2 n3) and of (n4 n2 n3)
    4. LEAVE         replicas n4 n2 n3                       n1 is told, removes its replica, and keeps a tombstone

Steps 2 to 4 are one entry each. The entry is a change of the Raft group's membership and carries the command that
changes the descriptor, so both change together on every replica, and each raises the generation: what was evaluated for
other replicas is dropped, requests under an old descriptor are refused and find their way anew. As with a split the
leader evaluates nothing between proposing such an entry and applying it.

Rules that live here:

- A range never has more than one change under way, and as many voters before as after: `replicas` keeps its length, so
  whoever asks as many nodes as meet every quorum may go on counting.
- Nobody proposes its own removal: a leader that is to go hands over first.
- A range that is moving is neither split nor merged, one that is being merged does not move.

Whoever drives a move may die after any step. The leader then leaves a joint configuration by itself, and drops a
learner that nobody has asked about for a while (`gateway.moving`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from reference_db.api import (
    BadRequest,
    MoveReplica,
    RangeError,
    RangeReply,
    RangeRequest,
    Reshaped,
    TimedOut,
    TransferRange,
)
from reference_db.raft.messages import ChangeKind, ConfChange, NodeChange, Transition
from reference_db.ranges.cores import why_not_beside
from reference_db.ranges.descriptor import Descriptor, encode_descriptor
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, Move, MoveStep
from reference_db.txn.evaluation import Evaluation, refuse

LEARNER_LAG_MOST = 64
"""Entries that a learner may lack when it becomes a voter: more would stall the range while it catches up."""


def moved(descriptor: Descriptor, move: Move) -> Descriptor:
    """What a range is after a step."""
    after = msgspec.structs.replace(descriptor, generation=descriptor.generation + 1)
    match move.step:
        case MoveStep.ADD_LEARNER:
            return msgspec.structs.replace(after, learners=(*descriptor.learners, move.target))
        case MoveStep.PROMOTE:
            # In the source's place: where that was preferred as the leader, the target is.
            replicas = tuple(move.target if one == move.source else one for one in descriptor.replicas)
            learners = tuple(one for one in descriptor.learners if one != move.target)
            return msgspec.structs.replace(
                after, replicas=replicas, learners=learners, leaving=(move.source,)
            )
        case MoveStep.LEAVE:
            return msgspec.structs.replace(after, leaving=())
        case MoveStep.DROP_LEARNER:
            learners = tuple(one for one in descriptor.learners if one != move.target)
            return msgspec.structs.replace(after, learners=learners)


def membership_change(move: Move, id_of: Callable[[str], int], command: bytes) -> ConfChange:
    """The same step in Raft's words; `command` travels with it."""
    target, source = id_of(move.target), id_of(move.source)
    match move.step:
        case MoveStep.ADD_LEARNER:
            return ConfChange((NodeChange(ChangeKind.ADD_LEARNER, target),), context=command)
        case MoveStep.PROMOTE:
            changes = (NodeChange(ChangeKind.ADD_VOTER, target), NodeChange(ChangeKind.REMOVE, source))
            return ConfChange(changes, Transition.JOINT_EXPLICIT, command)
        case MoveStep.LEAVE:
            return ConfChange(context=command)
        case MoveStep.DROP_LEARNER:
            return ConfChange((NodeChange(ChangeKind.REMOVE, target),), context=command)


@dataclass(frozen=True, slots=True)
class Leading:
    """What the leader of a range knows and can do when it is asked for a step."""

    node: str
    lag_of: Callable[[str], int | None]
    """How many entries a member lacks; None for one that is not being sent entries yet."""
    hand_over: Callable[[str | None], str | None]
    """Begin to hand over, to this node or to whoever is nearest; to whom, None if there is nobody."""
    may_hold: Callable[[str], bool] = lambda _node: True
    """Whether a node may become a member, as far as the leader's node knows (`gateway.members`)."""
    cores: int = 1
    """Stores of each node."""


def evaluate_move(
    request: RangeRequest,
    operation: MoveReplica,
    descriptor: Descriptor,
    leading: Leading,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """What the leader of the range makes of the wish. `now` is fresh from its clock."""
    outcome = _decide(operation, descriptor, leading)
    if outcome is None:
        done = Reshaped((encode_descriptor(descriptor),))
        return Evaluation(RangeReply(request.request_id, (done,), now), confirm=True)
    if not isinstance(outcome, Move):
        return refuse(request, outcome, confirm=True)
    done = Reshaped((encode_descriptor(moved(descriptor, outcome)),))
    command = Command(term, now, (), descriptor.generation, outcome)
    return Evaluation(RangeReply(request.request_id, (done,), now), command)


def evaluate_transfer(
    request: RangeRequest, operation: TransferRange, descriptor: Descriptor, leading: Leading, now: Timestamp
) -> Evaluation:
    """Whether the node leads that shall; if another one does, it begins to hand over."""
    error: RangeError | None = None
    if descriptor.id != operation.range_id:
        error = _is_another(operation.range_id, descriptor)
    elif operation.target not in descriptor.replicas:
        error = BadRequest(
            f"{operation.target} cannot lead range {descriptor.id}: its replicas are on "
            f"{', '.join(descriptor.replicas)}"
        )
    elif operation.target != leading.node:
        heir = leading.hand_over(operation.target)
        going = "is handing over" if heir else "cannot hand over yet"
        error = TimedOut(f"{leading.node} leads range {descriptor.id} and {going} to {operation.target}")
    if error is not None:
        return refuse(request, error, confirm=True)
    done = Reshaped((encode_descriptor(descriptor),))
    return Evaluation(RangeReply(request.request_id, (done,), now), confirm=True)


def _decide(operation: MoveReplica, descriptor: Descriptor, leading: Leading) -> Move | RangeError | None:
    """The step; or why there can be none (now); None if it was taken already."""
    if descriptor.id != operation.range_id:
        return _is_another(operation.range_id, descriptor)
    move = Move(MoveStep(operation.step), operation.target, operation.source)
    match move.step:
        case MoveStep.ADD_LEARNER:
            return _add_learner(move, operation.generation, descriptor, leading)
        case MoveStep.PROMOTE:
            return _promote(move, descriptor, leading)
        case MoveStep.LEAVE:
            return _leave(move, descriptor, leading)
        case MoveStep.DROP_LEARNER:
            return move if move.target in descriptor.learners else None


def _add_learner(
    move: Move, generation: int, descriptor: Descriptor, leading: Leading
) -> Move | RangeError | None:
    if move.target in descriptor.learners:
        return None
    if move.target in descriptor.replicas or move.source not in descriptor.replicas:
        return BadRequest(
            f"cannot move range {descriptor.id} from {move.source} to {move.target}: its replicas are on "
            f"{', '.join(descriptor.replicas)}"
        )
    if not leading.may_hold(move.target):
        return _may_not_hold(move, descriptor, leading)
    refusal = why_not_beside(move.target, move.source, descriptor.members, leading.cores)
    if refusal is not None:
        return BadRequest(f"cannot move range {descriptor.id} to {move.target}: {refusal}")
    if descriptor.is_moving:
        return TimedOut(f"range {descriptor.id} is being moved already: {shown_move(descriptor)}")
    if descriptor.generation != generation:
        return TimedOut(
            f"range {descriptor.id} has generation {descriptor.generation}, {move.target} was asked about "
            f"{generation}"
        )
    return move


def _promote(move: Move, descriptor: Descriptor, leading: Leading) -> Move | RangeError | None:
    if move.target in descriptor.replicas and move.source not in descriptor.replicas:
        return None
    if move.target not in descriptor.learners or move.source not in descriptor.replicas:
        return TimedOut(f"range {descriptor.id} is not about to move from {move.source} to {move.target}")
    if not leading.may_hold(move.target):
        return _may_not_hold(move, descriptor, leading)
    lag = leading.lag_of(move.target)
    if lag is None or lag > LEARNER_LAG_MOST:
        return TimedOut(f"{move.target} has not caught up with range {descriptor.id}")
    return _handed_over(move.source, descriptor, leading) or move


def _leave(move: Move, descriptor: Descriptor, leading: Leading) -> Move | RangeError | None:
    if not descriptor.leaving:
        return None
    (source,) = descriptor.leaving
    return _handed_over(source, descriptor, leading) or msgspec.structs.replace(move, source=source)


def _handed_over(source: str, descriptor: Descriptor, leading: Leading) -> RangeError | None:
    """What to answer while the node that is to go leads."""
    if leading.node != source:
        return None
    heir = leading.hand_over(None)
    to = f"is handing over to {heir}" if heir else "finds nobody to hand over to"
    return TimedOut(f"{source} leads range {descriptor.id}, which it is about to leave, and {to}")


def _may_not_hold(move: Move, descriptor: Descriptor, leading: Leading) -> BadRequest:
    return BadRequest(
        f"{move.target} gets no replica of range {descriptor.id}: as far as {leading.node} knows it is no active node"
    )


def _is_another(range_id: int, descriptor: Descriptor) -> BadRequest:
    return BadRequest(
        f"range {range_id} is not here any more: range {descriptor.id} has its keys, from {descriptor.start!r} on"
    )


def shown_move(descriptor: Descriptor) -> str:
    """`n1, n2, n3, learner n4`, for people."""
    parts = [*descriptor.replicas]
    parts += [f"learner {one}" for one in descriptor.learners]
    parts += [f"{one} leaving" for one in descriptor.leaving]
    return ", ".join(parts)
