"""Speed and memory of the checkers: one table and one JSON file, with what was to be reached and whether it was.

Each row is made by a seed (or read from the folder of recorded histories, named by HARNESS_HISTORIES), and measured
in a process of its own: the least CPU time of several runs, and the most memory that the process ever held, the
history and Python itself included. *check* rows start from a history in memory, *file* rows from a file on disk.
Growth compares the time an operation at two sizes; a factor compares interpreted kernels with compiled ones.

    python -m benchmarks.checkers [--only WORD]... [--runs N] [--json FILE] [--list]
                                  [--porcupine PATH] [--elle-cli PATH]

Porcupine has no command line of its own: PATH is a program that is called with the model and a file of JSON lines
and prints true or false. PATH of elle-cli may be its jar; it is called with EDN files.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.checker_rows import FACTORS, GROWTH, ROWS, Row
from results.kernels import INTERPRETED, VARIABLE, is_compiled

AS_BUILT = ""
"""Kernels compiled where they are."""
LONGEST_S = 600
"""A row that takes longer than this is given up."""


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.measure:
        return _measure_here(ROWS[arguments.measure], Path(arguments.folder), arguments.runs)
    if arguments.make:
        ROWS[arguments.make].make(Path(arguments.folder))
        return 0
    wanted = [
        row for row in ROWS.values() if not arguments.only or any(word in row.name for word in arguments.only)
    ]
    if arguments.list:
        for row in wanted:
            print(f"{row.name:34} {row.shape}")
        return 0
    with tempfile.TemporaryDirectory(prefix="checkers-benchmark-") as folder:
        report = _run(wanted, Path(folder), arguments)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.checkers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--only", action="append", default=[], help="rows whose names contain this; repeatable"
    )
    parser.add_argument(
        "--runs", type=int, default=5, help="of each row, at most; long ones are run less often"
    )
    parser.add_argument("--json", help="where to write everything that was measured")
    parser.add_argument("--list", action="store_true", help="say which rows there are, and their shapes")
    parser.add_argument("--porcupine", help="a program that judges `MODEL FILE` by Porcupine")
    parser.add_argument("--elle-cli", help="elle-cli, or its jar")
    for hidden in ("--measure", "--make", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    return parser


def _run(rows: list[Row], folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": machine(), "runs": arguments.runs, "rows": {}}
    print(f"{report['machine']}; CPU seconds, least of up to {arguments.runs} runs; MB at most")
    print(f"{'':34}{'operations':>11}{'CPU s':>10}{'to reach':>10}{'MB':>7}{'to reach':>10}  verdict")
    for row in rows:
        measured = _measured(row, folder, arguments.runs)
        report["rows"][row.name] = {"shape": row.shape, **measured, **_peers(row, folder, arguments)}
        print(_line(row, report["rows"][row.name]), flush=True)
    names = {row.name for row in rows}
    report["growth"] = _growth(report["rows"])
    report["factors"] = {}
    for name, limit in FACTORS.items():
        if name in names and "cpu_s" in report["rows"][name]:
            measured = _measured(ROWS[name], folder, min(3, arguments.runs), INTERPRETED)
            factor = measured.get("cpu_s", float("inf")) / max(report["rows"][name]["cpu_s"], 1e-9)
            report["factors"][name] = {"factor": factor, "to_reach": limit, "interpreted": measured}
            print(f"interpreted / compiled  {name:34} x {factor:7.1f}  {_reached(factor, limit)}", flush=True)
    return report


def machine() -> str:
    """What the figures were measured on, without its name."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    from checkers.synthetic import schedule_kernel

    return (
        f"kernels {'compiled' if is_compiled(schedule_kernel) else 'interpreted'}, "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"commit {commit.stdout.strip() or 'unknown'}"
    )


def _measured(row: Row, folder: Path, runs: int, kernels: str = AS_BUILT) -> dict[str, Any]:
    """What a child process says about a row; `skipped` or `broken` instead of figures where there are none."""
    reason = row.missing()
    if reason:
        return {"skipped": reason}
    place = folder / row.name
    if not place.is_dir():
        place.mkdir()
        made = _child(["--make", row.name, "--folder", str(place)])
        if made.returncode != 0:
            return {"broken": made.stderr[-2000:]}
    try:
        done = _child(["--measure", row.name, "--folder", str(place), "--runs", str(runs)], kernels)
    except subprocess.TimeoutExpired:
        return {"broken": f"took more than {LONGEST_S} s"}
    if done.returncode != 0:
        return {"broken": done.stderr[-2000:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(arguments: list[str], kernels: str = AS_BUILT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.checkers", *arguments],
        env={**os.environ, VARIABLE: kernels},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


def _measure_here(row: Row, folder: Path, runs: int) -> int:
    subject = row.load(folder)
    before_mb = _most_mb()
    best = float("inf")
    spent = 0.0
    verdicts = set()
    for _ in range(runs):
        gc.collect()
        started = time.process_time()
        verdicts.add(row.judge(subject))
        took = time.process_time() - started
        best = min(best, took)
        spent += took
        if spent > 20:
            break
    found = {
        "cpu_s": best,
        "memory_mb": _most_mb(),
        "memory_before_mb": before_mb,
        "operations": row.operations(subject) if callable(row.operations) else row.operations,
        "verdict": " ".join(sorted(verdicts)),
    }
    print(json.dumps(found))
    return 0


def _most_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _reached(figure: float, limit: float | None) -> str:
    if limit is None:
        return ""
    return f"(to reach: {limit:g}: {'yes' if figure <= limit else 'NO'})"


def _line(row: Row, found: dict[str, Any]) -> str:
    if "cpu_s" not in found:
        why = found.get("skipped") or str(found.get("broken", "")).strip().splitlines()[-1:]
        return f"{row.name:34}  {'skipped' if 'skipped' in found else 'BROKEN'}: {why}"
    found["reached"] = (row.to_reach_s is None or found["cpu_s"] <= row.to_reach_s) and (
        row.to_reach_mb is None or found["memory_mb"] <= row.to_reach_mb
    )
    found |= {"to_reach_s": row.to_reach_s, "to_reach_mb": row.to_reach_mb, "peer": row.peer}
    found["right"] = found["verdict"] == row.expected
    seconds = "" if row.to_reach_s is None else f"{row.to_reach_s:g}"
    megabytes = "" if row.to_reach_mb is None else f"{row.to_reach_mb:g}"
    words = found["verdict"] + ("" if found["right"] else f" WRONG: it is {row.expected}")
    if row.to_reach_s is not None or row.to_reach_mb is not None:
        words += ", reached" if found["reached"] else ", NOT REACHED"
    peers = "".join(
        f"; {peer} {took['cpu_s']:.3g} s" for peer, took in found.get("peers", {}).items() if "cpu_s" in took
    )
    return (
        f"{row.name:34}{found['operations']:>11,}{found['cpu_s']:>10.4f}{seconds:>10}"
        f"{found['memory_mb']:>7.0f}{megabytes:>10}  {words}{peers}"
    )


def _growth(rows: dict[str, Any]) -> dict[str, Any]:
    """How the time an operation grows from the smaller row to the larger one."""
    found = {}
    for small, large, limit in GROWTH:
        if all("cpu_s" in rows.get(name, {}) for name in (small, large)):
            each = [rows[name]["cpu_s"] / rows[name]["operations"] for name in (small, large)]
            factor = each[1] / max(each[0], 1e-12)
            found[large] = {"from": small, "factor": factor, "to_reach": limit}
            print(f"growth an operation     {small} -> {large:34} x {factor:5.2f}  {_reached(factor, limit)}")
    return found


def _peers(row: Row, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What other tools take for the same history, by the CPU time of their processes, start included."""
    commands = {}
    if arguments.porcupine and row.porcupine is not None:
        commands["Porcupine"] = [arguments.porcupine, *row.porcupine(folder / row.name)]
    if arguments.elle_cli and row.elle is not None:
        start = ["java", "-jar"] if arguments.elle_cli.endswith(".jar") else []
        commands["Elle"] = [*start, arguments.elle_cli, *row.elle(folder / row.name)]
    found = {}
    for peer, command in commands.items():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        except subprocess.TimeoutExpired:
            found[peer] = {"broken": f"took more than {LONGEST_S} s"}
            continue
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found[peer] = {"cpu_s": took, "says": done.stdout.strip()[-200:]}
    return {"peers": found} if found else {}


if __name__ == "__main__":
    sys.exit(main())
