"""Numbers about a run: how often, how fast, and how available, over all and during each fault.

Latency is from the actual start of an operation to its completion. Rates and gaps count completions with ok in the
main phase, the part of a run in which faults happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from results.history import FaultInterval, History, Pair
from results.operation import FAIL, FINAL_PHASE, INFO, MAIN_PHASE, OK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OUTCOME_CODES = {OK: 0, FAIL: 1, INFO: 2}
OPEN_CODE = 3
"""Info, and no completion was recorded."""
NO_LAG = -1


@dataclass(frozen=True)
class OperationTable:
    """The client operations as NumPy columns, one entry an operation, in the order of invocation."""

    pairs: list[Pair]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    """Of the completion; of the run's end where there is none."""
    outcome: NDArray[np.int8]
    """By `OUTCOME_CODES`, or `OPEN_CODE`."""
    process: NDArray[np.int64]
    """Position in `processes`."""
    function: NDArray[np.int64]
    """Position in `functions`."""
    lag_ns: NDArray[np.int64]
    """Actual minus intended start; `NO_LAG` where no start was intended."""
    index: NDArray[np.int64]
    """Of the invocation, in the history."""
    is_final: NDArray[np.bool_]
    processes: list[int]
    functions: list[str]
    nodes: list[str]
    """Of each process: the node that it talks to, or an empty text."""
    span_ns: int
    next_phase_ns: int | None
    """When the phase after the main one began; None if the record does not say."""

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def ok_ends_ns(self) -> NDArray[np.int64]:
        """When operations of the main phase completed with ok, sorted."""
        import numpy as np

        return np.sort(self.end_ns[(self.outcome == 0) & ~self.is_final])

    @cached_property
    def main_end_ns(self) -> int:
        """When the main phase ended: at the mark of the next phase, else when its last operation was invoked."""
        if self.next_phase_ns is not None:
            return self.next_phase_ns
        main = self.start_ns[~self.is_final]
        return int(main.max()) if main.size else self.span_ns


def tabulate(history: History) -> OperationTable:
    """The client operations of a history as columns."""
    import numpy as np

    pairs = history.pairs()
    count = len(pairs)
    span = history.duration_ns
    processes: dict[int, int] = {}
    functions: dict[str, int] = {}
    nodes: list[str] = []
    start = np.empty(count, np.int64)
    end = np.empty(count, np.int64)
    outcome = np.empty(count, np.int8)
    process_column = np.empty(count, np.int64)
    function_column = np.empty(count, np.int64)
    lag = np.full(count, NO_LAG, np.int64)
    index = np.empty(count, np.int64)
    is_final = np.zeros(count, np.bool_)
    for row, pair in enumerate(pairs):
        invocation, completion = pair.invocation, pair.completion
        assert isinstance(invocation.process, int), f"{invocation.process!r} is no client"
        process = processes.setdefault(invocation.process, len(processes))
        if process == len(nodes):
            nodes.append(invocation.node or "")
        start[row] = invocation.time
        if completion is None:
            end[row], outcome[row] = max(span, invocation.time), OPEN_CODE
        else:
            end[row], outcome[row] = completion.time, OUTCOME_CODES[completion.type]
        process_column[row] = process
        function_column[row] = functions.setdefault(invocation.f, len(functions))
        if invocation.intended is not None:
            lag[row] = max(0, invocation.time - invocation.intended)
        index[row] = invocation.index
        is_final[row] = invocation.phase == FINAL_PHASE
    return OperationTable(
        pairs=pairs,
        start_ns=start,
        end_ns=end,
        outcome=outcome,
        process=process_column,
        function=function_column,
        lag_ns=lag,
        index=index,
        is_final=is_final,
        processes=list(processes),
        functions=list(functions),
        nodes=nodes,
        span_ns=max(span, int(end.max()) if count else 0),
        next_phase_ns=next((time for name, time in history.phases() if name != MAIN_PHASE), None),
    )


@dataclass(frozen=True)
class FunctionMeasures:
    """How the operations of one function ended, and how long those with ok took."""

    function: str
    ok: int
    fail: int
    info: int
    quantiles_ms: tuple[float, float, float, float] | None
    """p50, p95, p99 and maximum of those with ok."""

    @property
    def total(self) -> int:
        return self.ok + self.fail + self.info


def measure_functions(table: OperationTable) -> list[FunctionMeasures]:
    """One entry a function, sorted by name, and one for all together."""
    import numpy as np

    everything = np.ones(len(table), np.bool_)
    chosen: list[tuple[str, Any]] = [
        (name, table.function == position)
        for name, position in sorted((name, position) for position, name in enumerate(table.functions))
    ]
    if len(chosen) != 1:
        chosen.append(("all", everything))
    measures = []
    for name, mask in chosen:
        outcome = table.outcome[mask]
        latency_ms = (table.end_ns - table.start_ns)[mask & (table.outcome == 0)] / 1e6
        quantiles = None
        if latency_ms.size:
            p50, p95, p99 = np.percentile(latency_ms, [50, 95, 99], method="inverted_cdf")
            quantiles = (float(p50), float(p95), float(p99), float(latency_ms.max()))
        ok, fail = int((outcome == 0).sum()), int((outcome == 1).sum())
        measures.append(FunctionMeasures(name, ok, fail, int(outcome.size) - ok - fail, quantiles))
    return measures


@dataclass(frozen=True)
class Availability:
    """What clients got between two times."""

    ok: int
    seconds: float
    longest_gap_s: float
    """Longest time without an ok, the edges of the interval included."""

    @property
    def rate(self) -> float:
        return self.ok / self.seconds if self.seconds > 0 else 0.0


def measure_availability(table: OperationTable, start_ns: int, end_ns: int) -> Availability:
    """What clients got between `start_ns` and `end_ns`."""
    import numpy as np

    low, high = np.searchsorted(table.ok_ends_ns, [start_ns, end_ns])
    times = np.concatenate(([start_ns], table.ok_ends_ns[low:high], [max(start_ns, end_ns)]))
    return Availability(
        ok=int(high - low),
        seconds=max(0, end_ns - start_ns) / 1e9,
        longest_gap_s=float(np.diff(times).max()) / 1e9,
    )


def measure_fault(table: OperationTable, fault: FaultInterval) -> Availability | None:
    """What clients got while the fault was effective; None if it never was."""
    if fault.effective_ns is None:
        return None
    end_ns = fault.end_ns if fault.end_ns is not None else table.span_ns
    return measure_availability(
        table, fault.effective_ns, min(end_ns, max(fault.effective_ns, table.main_end_ns))
    )


def faults_during(faults: list[FaultInterval], start_ns: int, end_ns: int) -> list[FaultInterval]:
    """The faults that were effective at some time between the two, in their order."""
    return [
        fault
        for fault in faults
        if fault.effective_ns is not None
        and fault.effective_ns <= end_ns
        and (fault.end_ns is None or fault.end_ns >= start_ns)
    ]
