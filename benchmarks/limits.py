"""How well `harness check` keeps to its limits: hard histories, each once with little time and once with little memory.

Every history is hostile to its checker in another way: a search, a SAT solver, long reads, a large file. What is
measured is the time of the child that judges, and the most memory that any process of the command ever held, by the
kernel's own account. Ends with 1 where a limit was exceeded by more than a second or ten percent.

    python -m benchmarks.limits [--time 2] [--memory 250] [--only NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from checkers.synthetic.formats import json_lines, transaction_lines
from checkers.synthetic.objects import ObjectShape, run_object
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import run_store

LATE_S = 1.0
ABOVE = 1.1
PLENTY_S, PLENTY_MB = 30.0, 4000


@dataclass(frozen=True)
class Hard:
    """One history, and the question about it."""

    options: str
    lines: Callable[[], Iterator[str]]


def of_object(shape: ObjectShape) -> Callable[[], Iterator[str]]:
    return lambda: iter([json_lines(run_object(shape, 1).history())])


def of_store(shape: Shape, level: str) -> Callable[[], Iterator[str]]:
    return lambda: transaction_lines(run_store(shape, level, 1), "jsonl")


HARD = {
    "stack, a third of it crashed": Hard(
        "--model stack", of_object(ObjectShape("stack", 20_000, 60, crash_share=0.3))
    ),
    "counter, amounts of both signs": Hard(
        "--model counter", of_object(ObjectShape("counter", 20_000, 200, crash_share=0.1))
    ),
    "cas-register, 200 clients": Hard(
        "--model cas-register",
        of_object(ObjectShape("cas-register", 50_000, 200, values=3, crash_share=0.05)),
    ),
    "set, long reads": Hard("--model set", of_object(ObjectShape("set", 4_000, 20))),
    "rw-register, 1000 clients": Hard(
        "--model rw-register --isolation snapshot-isolation",
        of_store(Shape(1500, 1000, "rw-register", keys=4, writes_per_key=0), "snapshot-isolation"),
    ),
    "list-append, a large file": Hard(
        "--model list-append", of_store(Shape(300_000, 20, "list-append"), "snapshot-isolation")
    ),
}


def measured(path: Path, options: str, time_s: float, memory_mb: int) -> tuple[str, float, float]:
    """The verdict, the seconds that judging took, and the most megabytes that a process of it held."""
    command = [sys.executable, "-m", "harness", "check", "--json", *options.split()]
    command += ["--check-time-limit", str(time_s), "--check-memory-limit", str(memory_mb), str(path)]
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        answer = json.load(out)["files"][0]
    return answer["outcome"] or "no verdict", answer["seconds"] or 0.0, usage.ru_maxrss * 1024 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--time", type=float, default=2)
    parser.add_argument("--memory", type=int, default=250)
    parser.add_argument("--only", default="", help="only histories whose name has this")
    asked = parser.parse_args()
    exceeded = 0
    print(f"{'history':32} {'limit':>8} {'seconds':>8} {'MB':>8}  verdict")
    with tempfile.TemporaryDirectory() as folder:
        for name, hard in HARD.items():
            if asked.only not in name:
                continue
            path = Path(folder, "history.jsonl")
            with path.open("w") as file:
                file.writelines(hard.lines())
            for time_s, memory_mb in ((asked.time, PLENTY_MB), (PLENTY_S, asked.memory)):
                verdict, seconds, most_mb = measured(path, hard.options, time_s, memory_mb)
                wrong = seconds > time_s + LATE_S or most_mb > memory_mb * ABOVE
                exceeded += wrong
                limit = f"{memory_mb} MB" if memory_mb == asked.memory else f"{time_s:g} s"
                told = "  EXCEEDED" if wrong else ""
                print(f"{name:32} {limit:>8} {seconds:8.2f} {most_mb:8.0f}  {verdict}{told}", flush=True)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
