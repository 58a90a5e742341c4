"""Which page evaluates a request that may write: the transaction's protocol says so, and timestamps have a page too."""

from __future__ import annotations

import msgspec

from ..api import (
    CheckLock,
    CollectVersions,
    CreateRecord,
    EndTransaction,
    PushTransaction,
    RangeRequest,
    RecoverTransaction,
    ResolveIntents,
    TakeTimestamps,
    Transaction,
    TransactionAborted,
    TransactionProtocol,
    WriteIntent,
)
from ..timestamp import Timestamp
from . import collecting, evaluate, oracle, primary_lock
from .evaluate import Leadership
from .evaluation import Evaluation, refuse
from .state import RangeState


def evaluate_write(
    request: RangeRequest,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    monotonic_ns: int,
    term: int,
) -> Evaluation:
    """As `evaluate.evaluate_write`."""
    first = request.operations[0]
    match first:
        case CollectVersions():
            return collecting.evaluate_collect(request, first, state, now, term)
        case CheckLock():
            return primary_lock.evaluate_locks(request, state, leadership, now)
        case RecoverTransaction(transaction=asked) if asked.protocol == TransactionProtocol.PRIMARY_LOCK:
            return primary_lock.evaluate_recover(request, first, state, leadership, now, term)
        case TakeTimestamps():
            return oracle.evaluate_take(request, first, state, leadership, now, term)
        case PushTransaction(pushee=transaction):
            pass
        case ResolveIntents() if request.transaction is not None:
            # Told by its coordinator: no request of the transaction that comes late may lay an intent again.
            leadership.markers.abort(request.transaction.id, now)
            return evaluate.evaluate_write(request, state, leadership, now, monotonic_ns, term)
        case WriteIntent() | CreateRecord() | EndTransaction():
            assert request.transaction is not None, f"{first} without a transaction passed the validation"
            transaction = request.transaction
        case _:
            return evaluate.evaluate_write(request, state, leadership, now, monotonic_ns, term)
    if transaction.protocol == TransactionProtocol.TWO_PHASE:
        refusal = _why_not_prepared(request, transaction, leadership)
        if refusal is not None:
            return refuse(request, TransactionAborted(refusal), confirm=True)
    if transaction.protocol != TransactionProtocol.PRIMARY_LOCK:
        return evaluate.evaluate_write(request, state, leadership, now, monotonic_ns, term)
    match first:
        case PushTransaction():
            return primary_lock.evaluate_check(request, first, state, leadership, now, monotonic_ns, term)
        case EndTransaction():
            return primary_lock.evaluate_end(request, first, state, leadership, now, term)
        case _:
            return primary_lock.evaluate_prewrite(request, state, leadership, now, monotonic_ns, term)


def _why_not_prepared(request: RangeRequest, transaction: Transaction, leadership: Leadership) -> str | None:
    """Where nothing is written down about a transaction, only a leader that has led since it began can know that it
    isn't over, and takes its intents."""
    for operation in request.operations:
        if isinstance(operation, WriteIntent):
            refusal = leadership.markers.why_refused(
                msgspec.structs.replace(transaction, anchor=operation.key)
            )
            if refusal is not None:
                return refusal
    return None
