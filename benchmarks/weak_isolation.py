"""Isolation of registers without an order of versions: CPU time, memory, growth, for several shapes.

Weak levels: histories from a store of one commit order in which every transaction sees a prefix that may lag behind,
but never behind its own session: causal, and far from serializable. Half of the micro-operations write.

Polygraphs: 30 sessions, 6,000 transactions of 20 micro-operations on average (half of them write, without reading
first), the shape of Plume's figure 8a, from simulated stores (`checkers.synthetic`).
Run: `python -m benchmarks.weak_isolation [--micro-operations 1000000]`.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from bisect import bisect_right
from random import Random

import numpy as np

from checkers.checker import Limits
from checkers.isolation import weak_kernel
from checkers.isolation.polygraph_checker import check_polygraph
from checkers.isolation.weak_levels import LEVELS, check_weak
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store
from results.kernels import is_compiled
from results.transactions import NIL, READ, WRITE, Transactions

SHAPES = (
    ("10 sessions, 1 operation", 10, 1, 1000),
    ("10 sessions, 4 operations", 10, 4, 1000),
    ("30 sessions, 20 operations", 30, 20, 10_000),
    ("100 sessions, 20 operations", 100, 20, 10_000),
)
"""Name, sessions, micro-operations of a transaction, keys."""


def lagging_store(
    seed: int, sessions: int, transactions: int, size: int, keys: int, lag: int = 50, blind: float = 0.5
) -> Transactions:
    """A history of that many transactions of `size` micro-operations, `blind` of which write without having read."""
    random = Random(seed)
    micro_operations = transactions * size
    kind = np.empty(micro_operations, dtype=np.int8)
    key = np.empty(micro_operations, dtype=np.int32)
    value = np.full(micro_operations, NIL, dtype=np.int32)
    counts = np.zeros(micro_operations, dtype=np.int64)
    elements: list[int] = []
    process = np.empty(transactions, dtype=np.int32)
    committed_at: list[list[int]] = [[] for _ in range(keys)]
    versions: list[list[int]] = [[] for _ in range(keys)]
    last = [0] * sessions
    written = 0
    m = 0
    draw = random.random
    for number in range(transactions):
        session = int(draw() * sessions)
        process[number] = session
        snapshot = max(last[session], number - int(draw() * lag))
        last[session] = number + 1
        own: dict[int, int] = {}
        for _ in range(size):
            k = int(draw() * keys)
            key[m] = k
            if draw() < blind:
                kind[m] = WRITE
                value[m] = own[k] = written
                written += 1
            else:
                kind[m] = READ
                at = bisect_right(committed_at[k], snapshot - 1)
                seen = own[k] if k in own else versions[k][at - 1] if at else NIL
                if seen != NIL:
                    elements.append(seen)
                    counts[m] = 1
            m += 1
        for k, v in own.items():
            committed_at[k].append(number)
            versions[k].append(v)
    indexes = np.arange(transactions, dtype=np.int64)
    return Transactions(
        process=process,
        start=indexes * 2,
        end=indexes * 2 + 1,
        outcome=np.ones(transactions, dtype=np.int8),
        first=np.arange(transactions + 1, dtype=np.int64) * size,
        kind=kind,
        key=key,
        value=value,
        known=np.ones(micro_operations, dtype=np.bool_),
        element_first=np.concatenate([[0], np.cumsum(counts)]),
        elements=np.array(elements, dtype=np.int32),
        keys=range(keys),
        values=range(written),
        of_registers=True,
    )


def cpu_seconds(transactions: Transactions, level: str, times: int = 3) -> float:
    """The least CPU time of several checks; every one must find the history valid."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        started = time.process_time()
        verdict = check_weak(transactions, level, Limits(time_s=3600, memory_mb=4096))
        best = min(best, time.process_time() - started)
        assert verdict.outcome == "valid", f"a causal history is {verdict.outcome}: {verdict.sentence}"
    return best


def polygraphs() -> None:
    """Snapshot isolation and serializability of 6,000 transactions, whatever the store keeps."""
    print(
        f"\n{'store':24}{'keys':>16}{'level':>24}{'outcome':>9}{'CPU s':>8}  decided by, of so many choices"
    )
    for keys, distribution in ((10_000, "uniform"), (1_000, "uniform"), (1_000, "zipf")):
        shape = Shape(
            transactions=6_000,
            clients=30,
            kind="rw-register",
            keys=keys,
            distribution=distribution,
            writes_per_key=0,
            micro_operations=20,
        )
        for store in ("strict-serializable", "serializable", "snapshot-isolation", "causal"):
            transactions = run_store(shape, store, seed=1).transactions
            for level in ("snapshot-isolation", "serializable", "strict-serializable"):
                started = time.process_time()
                verdict = check_polygraph(transactions, level, Limits(time_s=600))
                spent = time.process_time() - started
                print(
                    f"{store:24}{f'{keys} {distribution}':>16}{level:>24}{verdict.outcome:>9}{spent:8.2f}  "
                    f"{verdict.details['decided_by']}, {verdict.details.get('choices', 0)}",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--micro-operations", type=int, default=1_000_000)
    most = parser.parse_args().micro_operations
    print(
        f"kernels {'compiled' if is_compiled(weak_kernel) else 'interpreted'}; CPU seconds, and growth per operation"
    )
    print(f"{'':32}{'operations':>12}" + "".join(f"{level:>24}" for level in LEVELS))
    for name, sessions, size, keys in SHAPES:
        small: dict[str, float] = {}
        for micro_operations in (most // 100, most):
            history = lagging_store(1, sessions, micro_operations // size, size, keys)
            cells = []
            for level in LEVELS:
                each = cpu_seconds(history, level, 9 if level not in small else 3) / micro_operations
                growth = f"x {each / small[level]:.2f}" if level in small else ""
                small.setdefault(level, each)
                cells.append(f"{each * micro_operations:14.4f} {growth:>9}")
            print(f"{name:32}{micro_operations:12}{''.join(cells)}", flush=True)
    polygraphs()
    print(f"most memory held: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
