"""How much processor time a simulated minute takes: set-up, run, faults, final reads and verdict, on one core.

The cluster has 3 nodes and 8 ranges, 10 clients ask 100 operations a second. Rows: `register` without faults, `bank`
with every fault that the simulation has, each with and without the invariants after every step; then, with --sweep,
how busy a sweep keeps all cores. The targets are those of the project's plan: 4 s and 8 s, and at most three times that
with invariants.

    python -m benchmarks.simulation [--seconds 60] [--seeds 3] [--sweep 40] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.scenario import Scenario

CASES = (
    ("register", "none", False, 4.0),
    ("bank", "all", False, 8.0),
    ("register", "none", True, 12.0),
    ("bank", "all", True, 24.0),
)
"""Workload, nemesis, invariants, and the processor seconds that a virtual minute may take."""


def scenario(workload: str, nemesis: str, invariants: bool, seconds: float, seed: int) -> Scenario:
    """A minute of the benchmark's cluster."""
    return Scenario(
        seed=seed,
        workload=workload,
        environment="simulation",
        nodes=3,
        ranges=8,
        nemesis=nemesis,
        time_limit=seconds,
        concurrency="10",
        rate=100.0,
        invariants=invariants,
    )


def measure(one: Scenario) -> TrialResult:
    """Runs it once; the folder is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return run_trial(TrialRequest(scenario=one), Path(folder), "never")


def profile(one: Scenario) -> None:
    """Where the time goes: the most expensive functions by themselves."""
    profiler = cProfile.Profile()
    profiler.runcall(measure, one)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def sweep(seeds: int) -> None:
    """Processor time over wall time and cores, of a whole `harness sweep` with its start and its end."""
    words = ["sweep", "--workload", "bank", "--nemesis", "all", "--seeds", f"1-{seeds}", "--runs-dir"]
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words, folder], capture_output=True, text=True, check=False
        )
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"sweep of {seeds} seeds: exit code {done.returncode}, {wall:.1f} s, {used:.1f} s of {cores} cores: "
        f"{used / wall / cores:.0%} busy, {seeds * 20 / wall:.0f} virtual seconds a second"
    )


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sweep", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this row, from 0")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    measure(scenario("register", "none", True, 5.0, 1))  # Everything is loaded.
    print(
        f"{'workload':10}{'nemesis':9}{'invariants':12}{'outcome':9}{'operations':>11}{'steps':>10}", end=""
    )
    print(f"{'CPU s':>8}{'limit':>7}{'virtual s / CPU s':>19}")
    for number, (workload, nemesis, invariants, limit) in enumerate(CASES):
        if arguments.case not in (None, number):
            continue
        results = [
            measure(scenario(workload, nemesis, invariants, arguments.seconds, seed))
            for seed in range(1, arguments.seeds + 1)
        ]
        cpu = statistics.median(one.cpu_s for one in results)
        outcomes = ",".join(sorted({one.outcome for one in results}))
        print(
            f"{workload:10}{nemesis:9}{'on' if invariants else 'off':12}{outcomes:9}"
            f"{statistics.median(one.operations for one in results):11.0f}"
            f"{statistics.median(one.events for one in results):10.0f}{cpu:8.2f}"
            f"{limit * arguments.seconds / 60:7.1f}{arguments.seconds / cpu:19.1f}"
        )
        if arguments.profile:
            profile(scenario(workload, nemesis, invariants, arguments.seconds, 1))
    if arguments.sweep:
        sweep(arguments.sweep)


if __name__ == "__main__":
    main()
