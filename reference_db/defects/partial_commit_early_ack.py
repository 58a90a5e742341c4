"""Who waits for a transaction is told that it has committed when that is asked for, not when its record says so.

1. A commit is proposed at the anchor. 2. A reader that waits there is told COMMITTED and makes the intent final that it
met in another range. 3. The anchor's leader was cut off from its followers: the proposal is lost with its leadership.
4. The record is still PENDING, the coordinator hears nothing, and somebody aborts the transaction: half of it stays.
Seen in CockroachDB (cockroach#32220).
"""

from __future__ import annotations

from functools import partial

from reference_db.api import EndTransaction, PushTransaction, RangeReply, RangeRequest, RecordState
from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Done, Replica, Work

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "partition"
NODES = 5
SCENARIO = {"replication": 3, "ranges": 8, "rate": 200.0, "concurrency": "20", "operation_timeout": 1.0}

Asked = dict[bytes, RecordState]
"""Transactions whose commit is under way at a leader -> what becomes of their records if it succeeds."""


def plant(node: Node) -> None:
    """Override when this node's replicas answer a push."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    asked: Asked = {}
    replica.submit = partial(_submit, replica, asked, replica.submit)  # type: ignore[method-assign]
    replica._propose = partial(_propose, replica, asked, replica._propose)  # type: ignore[method-assign]


def _submit(replica: Replica, asked: Asked, submit: object, request: RangeRequest, done: Done) -> None:
    """A push that comes while the commit is under way need not wait."""
    assert callable(submit)
    state = _state_of(request, asked) if replica.group.is_leader else None
    if state is not None:
        done(RangeReply(request.request_id, (state,)))
    else:
        submit(request, done)


def _propose(replica: Replica, asked: Asked, propose: object, proposals: list[Work]) -> None:
    """Nor need those that wait already."""
    assert callable(propose)
    for work in proposals:
        operation, transaction = work.request.operations[0], work.request.transaction
        if not isinstance(operation, EndTransaction) or not operation.commit or transaction is None:
            continue
        assert work.reply is not None
        state = work.reply.results[0]
        assert isinstance(state, RecordState)
        asked[transaction.id] = state
        work.done = partial(_is_over, asked, transaction.id, work.done)
    propose(proposals)
    for number, work in list(replica._waiting.items()):
        told = _state_of(work.request, asked)
        if told is not None:
            del replica._waiting[number]
            replica._finished.append((work, RangeReply(work.request.request_id, (told,))))


def _is_over(asked: Asked, transaction_id: bytes, done: Done, reply: RangeReply) -> None:
    """The commit has come to something; from here on the record speaks for itself."""
    asked.pop(transaction_id, None)
    done(reply)


def _state_of(request: RangeRequest, asked: Asked) -> RecordState | None:
    operation = request.operations[0]
    return asked.get(operation.pushee.id) if isinstance(operation, PushTransaction) else None
