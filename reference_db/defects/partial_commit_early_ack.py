"""Who waits for a transaction is told that it has committed when that was asked for, whatever its record comes to.

1. A transaction asks its record's leader to commit. 2. Pushes of others wait there until that is over. 3. The command
fails: the record was pushed meanwhile, or aborted, or the proposal is lost with the leadership. 4. Those who waited are
told COMMITTED all the same, and make the intents final that they met elsewhere. 5. The coordinator hears the truth, and
aborts: half of the transaction stays. Seen in CockroachDB (cockroach#32220).
"""

from __future__ import annotations

from functools import partial

from reference_db.api import (
    EndTransaction,
    PushTransaction,
    RangeReply,
    RangeRequest,
    RecordState,
    Transaction,
    TransactionStatus,
)
from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Done, Replica, Work

LAYER = "transaction"
ROUTES = ("H", "I", "A")
WORKLOAD = "bank"
NEMESIS = "partition,kill"
SCENARIO = {"ranges": 8, "concurrency": "20"}
SYSTEM_OPTIONS = {"parallel_commit": False, "one_range_commit": False}
"""Only where the record is asked whether it commits can somebody wait for what it says."""
SEEDS = (1,)

Asked = dict[bytes, RecordState]
"""Transactions whose commit is under way at a leader -> what becomes of their records if it succeeds."""


def plant(node: Node) -> None:
    """Override when this node's replicas answer a push."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    asked: Asked = {}
    replica.submit = partial(_submit, replica, asked, replica.submit)  # type: ignore[method-assign]
    replica._propose = partial(_propose, replica, asked, replica._propose)  # type: ignore[method-assign]
    replica._answer = partial(_answer, replica, replica._answer)  # type: ignore[method-assign]


def _submit(replica: Replica, asked: Asked, submit: object, request: RangeRequest, done: Done) -> None:
    """A push that comes while the commit is under way need not wait."""
    assert callable(submit)
    operation = request.operations[0]
    state = asked.get(operation.pushee.id) if isinstance(operation, PushTransaction) else None
    if state is not None and replica.group.is_leader:
        done(RangeReply(request.request_id, (state,)))
    else:
        submit(request, done)


def _propose(replica: Replica, asked: Asked, propose: object, proposals: list[Work]) -> None:
    """Nor need those that wait already."""
    assert callable(propose)
    for work in proposals:
        transaction = _committing(work)
        if transaction is not None:
            assert work.reply is not None
            state = work.reply.results[0]
            assert isinstance(state, RecordState)
            asked[transaction.id] = state
            work.done = partial(_is_over, asked, transaction.id, work.done)
            _tell(replica, transaction, state)
    propose(proposals)


def _is_over(asked: Asked, transaction_id: bytes, done: Done, reply: RangeReply) -> None:
    """The commit has come to something; from here on the record speaks for itself."""
    asked.pop(transaction_id, None)
    done(reply)


def _answer(replica: Replica, answer: object, work: Work, reply: RangeReply) -> None:
    """Those that waited for a commit that was refused hear of the commit, and not of the refusal."""
    assert callable(answer)
    transaction = _committing(work)
    if transaction is not None and reply.error is not None and work.request.timestamp is not None:
        asked_for = RecordState(TransactionStatus.COMMITTED, work.request.timestamp)
        _tell(replica, transaction, asked_for)
    answer(work, reply)


def _committing(work: Work) -> Transaction | None:
    """The transaction that a request wants to commit."""
    operation = work.request.operations[0]
    return work.request.transaction if isinstance(operation, EndTransaction) and operation.commit else None


def _tell(replica: Replica, transaction: Transaction, state: RecordState) -> None:
    """Answer the pushes of this transaction that wait."""
    for number, work in list(replica._waiting.items()):
        operation = work.request.operations[0]
        if isinstance(operation, PushTransaction) and operation.pushee.id == transaction.id:
            del replica._waiting[number]
            replica._finished.append((work, RangeReply(work.request.request_id, (state,))))
