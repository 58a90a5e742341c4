"""Transactions that a simulated store ran at one isolation level, as columns, with what they certainly satisfy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from checkers.isolation.lattice import implied_models
from checkers.synthetic import schedule_kernel, store_kernel
from checkers.synthetic.draws import Draws
from checkers.synthetic.plan import LATER, Plan, Shape, plan
from checkers.synthetic.scans import put_together, with_scans
from results.transactions import FOREVER, NIL, Transactions

if TYPE_CHECKING:
    from numpy.typing import NDArray

OK: Final = 1
INFO: Final = 3


@dataclass(frozen=True)
class Synthetic:
    """A history of transactions, and what is certain about it."""

    transactions: Transactions
    completed: NDArray[np.int64]
    """[n] index of the event that completed each transaction, with info too; -1 where none was recorded."""
    satisfies: frozenset[str]
    """Isolation levels that hold, by construction."""
    violates: frozenset[str] = frozenset()
    """Isolation levels that do not hold, by construction. About levels in neither set nothing is said."""
    anomalies: tuple[str, ...] = ()
    """Names of the stories (`checkers/synthetic/stories.py`) that were told in it."""

    @property
    def events(self) -> int:
        """Number of events: invocations and recorded completions."""
        return len(self.completed) + int((self.completed >= 0).sum())


class Rule(NamedTuple):
    """How a store has to run to keep a level."""

    kind: str
    """snapshots, statements or sites: the functions of `store_kernel`."""
    also: tuple[str, ...] = ()
    """Further levels that a store which runs so keeps."""
    apart: bool = False
    checked: bool = False
    stale: bool = False
    sessions: bool = False
    causal: bool = False
    dirty: bool = False
    overlooks: bool = False
    """Whether scans leave out some of the keys that there are."""
    reads_own_writes: bool = True
    """False where somebody else's write may come between a write and a later read of it: the order in which such a
    read saw the writes would not be that of the commits."""


RULES: Final[dict[str, Rule]] = {
    "strict-serializable": Rule("snapshots"),
    "strong-session-serializable": Rule("snapshots", stale=True, sessions=True),
    "serializable": Rule("snapshots", stale=True),
    # Without scans, this level is the one above.
    "repeatable-read": Rule("snapshots", stale=True, overlooks=True),
    "strong-snapshot-isolation": Rule("snapshots", apart=True, checked=True),
    "strong-session-snapshot-isolation": Rule(
        "snapshots", apart=True, checked=True, stale=True, sessions=True
    ),
    "snapshot-isolation": Rule("snapshots", apart=True, checked=True, stale=True),
    "prefix": Rule("snapshots", ("causal",), apart=True, stale=True, sessions=True, reads_own_writes=False),
    "parallel-snapshot-isolation": Rule("sites", ("causal",), checked=True, causal=True),
    "causal": Rule("sites", causal=True, reads_own_writes=False),
    "read-atomic": Rule("sites", reads_own_writes=False),
    "read-committed": Rule("statements", ("monotonic-atomic-view",), reads_own_writes=False),
    "read-uncommitted": Rule("statements", dirty=True, reads_own_writes=False),
}
"""The levels that a store can keep; names as in `checkers.isolation.lattice`."""


def run_store(shape: Shape, level: str = "strict-serializable", seed: int = 0) -> Synthetic:
    """A history of the shape from a store that keeps `level`, its clients interleaved by `seed`.

    The store decides at steps between invocation and completion, by rules that imply the level, so the result
    satisfies it without being checked. Values of a key count up from 1. Raises ValueError for an unknown level.
    """
    if level not in RULES:
        raise ValueError(f"{level!r} is no level that a store can keep (levels: {', '.join(RULES)})")
    rule = RULES[level]
    draws = Draws(seed, f"transactions at {level}")
    planned, scans = with_scans(
        plan(shape, draws, reads_own_writes=rule.reads_own_writes),
        shape,
        Draws(seed, "scans"),
        reads_own_writes=rule.reads_own_writes,
    )
    n = shape.transactions
    if rule.kind == "statements":
        inner = (np.diff(planned.first) + 1).astype(np.int32)
    else:
        inner = np.full(n, 2 if rule.apart or rule.kind == "sites" else 1, dtype=np.int32)
    process = np.empty(n, dtype=np.int32)
    start = np.empty(n, dtype=np.int64)
    completed = np.empty(n, dtype=np.int64)
    steps, processes = run_clients(
        shape.clients, draws.word(), inner, planned.fate, process, start, completed
    )
    seen = np.zeros(len(planned.kind), dtype=np.int32)
    outcome = np.zeros(n, dtype=np.int8)
    committed = np.full(n, -1, dtype=np.int64)
    version_write = np.full(int(planned.version_first[-1]), -1, dtype=np.int64)
    run = _Run(
        shape, rule, draws.word(), planned, steps, process, processes, version_write, seen, outcome, committed
    )
    {"snapshots": _snapshots, "statements": _statements, "sites": _sites}[rule.kind](run)
    element_first, elements = _elements(shape, planned, version_write, seen, outcome)
    transactions = Transactions(
        process=process,
        start=start,
        end=np.where(outcome == INFO, FOREVER, completed),
        outcome=outcome,
        first=planned.first,
        kind=planned.kind,
        key=planned.key,
        value=planned.value,
        known=(planned.value != NIL) | np.repeat(outcome == OK, np.diff(planned.first)),
        element_first=element_first,
        elements=elements,
        keys=range(planned.keys),
        values=range(1, planned.values + 1),
        committed_at=np.where(outcome == OK, committed, -1) if shape.is_timed else None,
        of_registers=shape.kind == "rw-register",
    )
    if scans is not None:
        overlooking = Draws(seed, "overlooked keys") if rule.overlooks else None
        transactions = put_together(transactions, scans, overlooking)
    return Synthetic(transactions, completed, implied_models((level, *rule.also)))


def run_clients(
    clients: int,
    seed: int,
    inner: NDArray[np.int32],
    fate: NDArray[np.int8],
    process: NDArray[np.int32],
    start: NDArray[np.int64],
    completed: NDArray[np.int64],
) -> tuple[NDArray[np.int32], int]:
    """Interleaves the clients (see `schedule_kernel`): fills the last three; the operation of each inner step, and
    the number of processes."""
    steps = np.empty(int(inner.sum()), dtype=np.int32)
    entities = clients + int(((fate & 3) == LATER).sum()) + 1
    space = [np.zeros(entities, dtype=kind) for kind in (np.int32, np.int32, np.int32, np.int8)]
    columns: list[NDArray[Any]] = [inner, fate, process, start, completed, steps, *space]
    views = [column.data for column in columns]
    _, processes = schedule_kernel.schedule(clients, seed, *views)
    return steps, processes


class _Run(NamedTuple):
    shape: Shape
    rule: Rule
    seed: int
    plan: Plan
    steps: NDArray[np.int32]
    process: NDArray[np.int32]
    processes: int
    version_write: NDArray[np.int64]
    seen: NDArray[np.int32]
    outcome: NDArray[np.int8]
    committed: NDArray[np.int64]

    def new(self, size: int, kind: type, fill: int = 0) -> memoryview:
        return np.full(size, fill, dtype=kind).data


def _snapshots(run: _Run) -> None:
    n = run.shape.transactions
    store_kernel.run_snapshots(
        run.seed,
        run.rule.apart,
        run.rule.checked,
        run.shape.stale if run.rule.stale else 0,
        run.rule.sessions,
        run.steps.data,
        run.plan.fate.data,
        run.process.data,
        run.plan.first.data,
        run.plan.kind.data,
        run.plan.key.data,
        run.plan.version_first.data,
        run.new(run.plan.keys, np.int32),
        run.new(len(run.version_write), np.int64),
        run.version_write.data,
        run.new(run.processes, np.int64),
        run.new(n, np.int64),
        run.new(n, np.int8),
        run.seen.data,
        run.outcome.data,
        run.committed.data,
    )


def _statements(run: _Run) -> None:
    n = run.shape.transactions
    store_kernel.run_statements(
        run.seed,
        run.rule.dirty,
        run.steps.data,
        run.plan.fate.data,
        run.plan.first.data,
        run.plan.kind.data,
        run.plan.key.data,
        run.plan.version_first.data,
        run.new(run.plan.keys, np.int32),
        run.version_write.data,
        run.new(len(run.version_write), np.int32),
        run.new(n, np.int32),
        run.seen.data,
        run.outcome.data,
        run.committed.data,
    )


def _sites(run: _Run) -> None:
    n, sites = run.shape.transactions, run.shape.sites
    home = (run.process % sites).astype(np.int32)
    local = int(np.bincount(home, minlength=sites).max(initial=0)) + 1

    def table(rows: int, columns: int) -> memoryview:
        return np.zeros((rows, columns), dtype=np.int32).data

    store_kernel.run_sites(
        run.seed,
        sites,
        run.rule.checked,
        run.rule.causal,
        run.steps.data,
        run.plan.fate.data,
        home.data,
        run.plan.first.data,
        run.plan.kind.data,
        run.plan.key.data,
        run.plan.version_first.data,
        run.new(run.plan.keys, np.int32),
        run.version_write.data,
        run.new(len(run.version_write), np.int32),
        table(sites, sites),
        table(sites, local),
        run.new(sites, np.int32),
        table(n, sites),
        table(n, sites),
        run.new(n, np.int8),
        run.seen.data,
        run.outcome.data,
        run.committed.data,
    )


def _elements(
    shape: Shape,
    planned: Plan,
    version_write: NDArray[np.int64],
    seen: NDArray[np.int32],
    outcome: NDArray[np.int8],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    element_first = np.zeros(len(planned.kind) + 1, dtype=np.int64)
    register = shape.kind == "rw-register"
    first, kind, key = planned.first.data, planned.kind.data, planned.key.data
    counted = element_first.data
    store_kernel.count_elements(register, first, kind, key, seen.data, outcome.data, counted)
    elements = np.empty(int(element_first[-1]), dtype=np.int32)
    store_kernel.fill_elements(
        register,
        first,
        kind,
        key,
        planned.value.data,
        seen.data,
        outcome.data,
        planned.version_first.data,
        version_write.data,
        counted,
        elements.data,
    )
    return element_first, elements
