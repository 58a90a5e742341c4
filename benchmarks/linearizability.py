"""Time and memory of the linearizability checker: from columns and from a history, on one core.

Histories come from objects that a simulated store runs (`checkers/synthetic`), each of a stated shape and seed; the
invalid ones are the valid ones with one read of the last quarter answered by an earlier value. Times are CPU time, the
least of several runs, of the decision alone; *history* adds taking a history in memory apart.

    python -m benchmarks.linearizability [--runs R] [--large] [--interpreted] [--histories FOLDER] [--json]

`--large` adds growth: each fast path on a hundred times as many operations. `--histories` names a folder of recorded
histories, of which `porcupine/etcd` and `porcupine/kv` are judged. `--interpreted` runs without compiled kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checkers.linearizability.models import Model
    from results.history import History


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    operations: int
    outcome: str
    ways: str
    columns_ms: float
    """To decide, from columns."""
    history_ms: float
    """To decide, from a history in memory."""
    target_ms: float | None = None
    memory_mb: int | None = None
    """The most memory of the process so far, if the row has a target for it."""

    @property
    def us_per_operation(self) -> float:
        return self.columns_ms * 1000 / self.operations


def cpu_ms(run: Callable[[], Any], runs: int) -> float:
    """The least CPU time of several runs, in milliseconds."""
    best = float("inf")
    for _ in range(runs):
        started = time.process_time_ns()
        run()
        best = min(best, (time.process_time_ns() - started) / 1e6)
    return best


def judged(
    name: str,
    histories: list[History],
    model: Model,
    *,
    keyed: bool = False,
    runs: int,
    target_ms: float | None = None,
    memory: bool = False,
) -> Row:
    """Decides all histories, several times."""
    from checkers.checker import Limits
    from checkers.linearizability.columns import CallColumns
    from checkers.linearizability.decide import decide

    limits = Limits(time_s=600, memory_mb=4000)
    taken = [CallColumns.of(history, keyed=keyed) for history in histories]

    def from_columns() -> list[Any]:
        return [decide(columns, model, limits) for columns in taken]

    def from_histories() -> None:
        for history in histories:
            decide(CallColumns.of(history, keyed=keyed), model, limits)

    found = [item for objects in from_columns() for item in objects]
    wrong = sum(item.wrong for item in found)
    if any(item.undecided for item in found):
        outcome = "unknown"
    elif len(histories) > 1:
        outcome = f"{wrong} of {len(found)} wrong"
    else:
        outcome = "invalid" if wrong else "valid"
    columns_ms = cpu_ms(from_columns, runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Row(
        name,
        sum(len(columns) for columns in taken),
        outcome,
        ", ".join(sorted({item.way for item in found})),
        columns_ms,
        cpu_ms(from_histories, runs),
        target_ms,
        peak if memory else None,
    )


def drawn(model: str, operations: int, clients: int, seed: int = 1, **shape: Any) -> History:
    """A valid history."""
    from checkers.synthetic.objects import ObjectShape, run_object

    wanted = ObjectShape(model=model, operations=operations, clients=clients, **shape)
    return run_object(wanted, seed).history()


def spoilt(history: History, model: Model, f: str, keyed: bool) -> History:
    """The history with one read of the last quarter, the first that makes it invalid, answered as an earlier one."""
    from checkers.checker import Limits
    from checkers.linearizability.columns import CallColumns
    from checkers.linearizability.decide import decide
    from results.history import History

    events = list(history.operations)
    reads = [event for event in events if event.f == f and event.type == "ok"]
    for late in reads[len(reads) * 3 // 4 :]:
        for early in reads[: len(reads) // 4][-40:]:
            if early.value == late.value or (keyed and early.value[0] != late.value[0]):
                continue
            changed = list(events)
            changed[late.index] = _answered(late, early.value)
            made = History(changed)
            columns = CallColumns.of(made, keyed=keyed)
            if any(item.wrong for item in decide(columns, model, Limits(time_s=60))):
                return made
    raise ValueError("no read of the last quarter makes this history invalid; take a longer one")


def _answered(event: Any, value: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(event, value=value)


def rows(asked: argparse.Namespace) -> Iterator[Row]:
    """The table, line by line."""
    from checkers.linearizability.models import model_named

    runs = asked.runs
    cas, kv = model_named("cas-register"), model_named("kv")
    if asked.histories is not None:
        yield from _recorded(asked.histories, runs)
    shape: dict[str, Any] = {"values": 5, "cas_share": 0.4}
    ten = drawn("cas-register", 10_000, 10, **shape)
    yield judged("cas-register, 5 values, 10 clients, valid", [ten], cas, runs=runs, target_ms=12)
    bad = spoilt(ten, cas, "read", False)
    yield judged("the same, invalid", [bad], cas, runs=runs, target_ms=12)
    if not asked.interpreted:
        hundred = drawn("cas-register", 100_000, 10, **shape)
        yield judged("the same, valid", [hundred], cas, runs=runs, target_ms=150, memory=True)
    maps = drawn("kv", 2_000, 50, keys=10)
    yield judged("kv, 50 clients, 10 keys, valid", [maps], kv, keyed=True, runs=runs, target_ms=10)
    yield judged("the same, invalid", [spoilt(maps, kv, "get", True)], kv, keyed=True, runs=runs, target_ms=5)
    large = 1_000_000 if asked.large else 100_000
    for name, more in FAST_PATHS.items():
        small: float | None = None
        for operations in (10_000, large):
            history = drawn(name, operations, 20, **more)
            row = judged(
                f"{name}, unique, 20 clients",
                [history],
                model_named(name),
                runs=runs if operations < 10**6 else 2,
            )
            if small is None:
                small = row.us_per_operation
                yield row
                continue
            target = 2.5 * small * operations / 1000
            if name == "register":
                target = min(target, 200 * operations / 10**6) if asked.large else target
            yield replace(row, target_ms=target)


FAST_PATHS: dict[str, dict[str, Any]] = {
    "register": {},
    "cas-register": {"cas_share": 0.3},
    "queue": {},
    "stack": {},
    "priority-queue": {},
    "mutex": {},
}
"""Models with a way that needs no search, or one that hardly has a choice."""


def _recorded(folder: Path, runs: int) -> Iterator[Row]:
    from checkers.linearizability.models import model_named
    from results.interchange import jepsen

    logs = [jepsen.load(path) for path in sorted((folder / "porcupine/etcd").glob("*.log"))]
    logs = [history for history in logs if history.operations]
    if logs:
        cas = model_named("cas-register")
        target = 25 * len(logs) / 102
        yield judged(f"Porcupine's etcd logs ({len(logs)})", logs, cas, runs=runs, target_ms=target)
    for path in sorted((folder / "porcupine/kv").glob("*.txt")):
        yield judged(
            f"Porcupine's {path.stem}", [jepsen.load(path)], model_named("kv"), keyed=True, runs=runs
        )


def main() -> int:
    """Prints the table; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--interpreted", action="store_true")
    parser.add_argument("--histories", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.interpreted:
        os.environ["HARNESS_KERNELS"] = "interpreted"
    missed = False
    if not asked.json:
        print(
            f"{'history':45} {'operations':>10} {'outcome':>16} {'columns':>10} {'history':>10} {'target':>9}  way"
        )
    for row in rows(asked):
        if asked.json:
            print(json.dumps({name: getattr(row, name) for name in Row.__dataclass_fields__}), flush=True)
        else:
            target = "" if row.target_ms is None else f"{row.target_ms:.1f} ms"
            memory = "" if row.memory_mb is None else f", {row.memory_mb} MB"
            print(
                f"{row.name:45} {row.operations:>10} {row.outcome:>16} {row.columns_ms:>7.2f} ms "
                f"{row.history_ms:>7.1f} ms {target:>9}  {row.ways}{memory}",
                flush=True,
            )
        missed |= row.target_ms is not None and row.columns_ms > row.target_ms
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
