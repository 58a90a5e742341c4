"""Time and memory of reading histories: a million operations of a register, a million transactions, from files.

    python -m benchmarks.readers [--operations N] [--runs R] [--folder PATH] [--interpreted] [--json]

An operation is an invocation and its completion, so N operations are 2 N events. Register histories: 20 processes, half
reads, values that are written once, events of 85 bytes. Transactions: `checkers.synthetic`, serializable, 10 hot keys.
Each row runs in a process of its own; the time is its CPU time from the bytes to the history (or columns), the
least of R runs, and the memory is the most that the process held, with the bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

SEED = 1
TO_REACH_S = {"register edn": 4.0, "register jsonl": 1.5}
"""For a million operations, on one core of this class of machine."""


def write_registers(folder: Path, operations: int) -> None:
    """The same history in EDN and in JSON lines."""
    random = Random(SEED)
    free, busy = list(range(20)), []
    started = done = index = now = 0
    with (folder / "register.edn").open("w") as edn, (folder / "register.jsonl").open("w") as lines:
        while done < operations:
            if started < operations and (not busy or (free and random.random() < 0.5)):
                process = free.pop(random.randrange(len(free)))
                f = "write" if random.random() < 0.5 else "read"
                value = started if f == "write" else None
                busy.append((process, f, value))
                type_ = "invoke"
                started += 1
            else:
                process, f, value = busy.pop(random.randrange(len(busy)))
                free.append(process)
                type_ = "ok"
                done += 1
                value = started - 1 if f == "read" else value
            now += random.randrange(100_000)
            shown = "nil" if value is None else value
            edn.write(
                f"{{:process {process}, :type :{type_}, :f :{f}, :value {shown}, :time {now}, :index {index}}}\n"
            )
            more = "" if value is None else f',"value":{value}'
            lines.write(
                f'{{"index":{index},"time":{now},"process":{process},"type":"{type_}","f":"{f}"{more}}}\n'
            )
            index += 1


def write_transactions(folder: Path, transactions: int) -> None:
    for format_ in ("edn", "jsonl"):
        with (folder / f"list-append.{format_}").open("w") as file:
            command = [
                sys.executable,
                "-m",
                "checkers.synthetic",
                "--level",
                "serializable",
                "--format",
                format_,
            ]
            command += ["--transactions", str(transactions), "--seed", str(SEED)]
            subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=True)


def _history(path: Path) -> Callable[[], Any]:
    from results.history import History
    from results.interchange.formats import read_text

    if path.suffix == ".jsonl":
        return lambda: History.load(path)
    text = path.read_bytes()
    return lambda: read_text(text).history


def _columns(path: Path) -> Callable[[], Any]:
    from results.interchange.straight import read_transactions

    text, format_ = path.read_bytes(), "edn" if path.suffix == ".edn" else "json"
    return lambda: read_transactions(text, format_, of_registers=False)


def _verdict(path: Path) -> Callable[[], Any]:
    from checkers.checker import Limits
    from checkers.isolation.list_append import ListAppendChecker

    read = _columns(path)
    return lambda: ListAppendChecker("serializable").check_transactions(read().transactions, Limits())


ROWS: dict[str, tuple[str, Callable[[Path], Callable[[], Any]]]] = {
    "register edn": ("register.edn", _history),
    "register jsonl": ("register.jsonl", _history),
    "list-append edn, a history": ("list-append.edn", _history),
    "list-append edn, columns": ("list-append.edn", _columns),
    "list-append jsonl, columns": ("list-append.jsonl", _columns),
    "list-append edn, to the verdict": ("list-append.edn", _verdict),
}


def measure_here(name: str, folder: Path) -> dict[str, Any]:
    """One row, once, in this process."""
    file, prepare = ROWS[name]
    run = prepare(folder / file)
    started = time.process_time()
    kept = run()
    seconds = time.process_time() - started
    assert kept is not None, f"{name}: nothing was read"
    return {"cpu_s": seconds, "most_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(name: str, folder: Path, runs: int, environment: dict[str, str]) -> dict[str, Any]:
    """One row: the least time of some runs, each in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.readers", "--row", name, "--folder", str(folder)]
    found = [
        json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
        for _ in range(runs)
    ]
    return {
        "row": name,
        "mb": round((folder / ROWS[name][0]).stat().st_size / 1e6, 1),
        "cpu_s": round(min(one["cpu_s"] for one in found), 3),
        "most_mb": round(max(one["most_mb"] for one in found)),
        "to_reach_s": TO_REACH_S.get(name),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where files are kept, and found again")
    parser.add_argument("--interpreted", action="store_true", help="without compiled kernels")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure_here(arguments.row, arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="readers-") as temporary:
        folder = Path(arguments.folder or temporary) / str(arguments.operations)
        if not (folder / "list-append.jsonl").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_registers(folder, arguments.operations)
            write_transactions(folder, arguments.operations)
        environment = dict(os.environ)
        if arguments.interpreted:
            environment["HARNESS_KERNELS"] = "interpreted"
        rows = [measure(name, folder, arguments.runs, environment) for name in ROWS]
    if arguments.json:
        print(json.dumps({"operations": arguments.operations, "rows": rows}, indent=2))
        return
    print(f"{arguments.operations:,} operations (twice as many events)")
    print(f"{'':34}{'file MB':>9}{'CPU s':>9}{'to reach':>9}{'most MB':>9}")
    for row in rows:
        goal = row["to_reach_s"] if row["to_reach_s"] is not None else ""
        print(f"{row['row']:34}{row['mb']:>9}{row['cpu_s']:>9}{goal:>9}{row['most_mb']:>9}")


if __name__ == "__main__":
    main()
