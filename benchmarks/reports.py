"""The report of very large runs: how big the page is, how long it takes to write, and how soon a browser has it alive.

    python -m benchmarks.reports [--operations N] [--rounds R] [--keep FOLDER] [--json]

Two runs are drawn from a seed: N register operations (open loop, 50 processes, 7 keys, one in a hundred fails and one
in a hundred is never answered) and N list-append transactions (`checkers.synthetic`, serializable). Each page is
opened R times in Chromium, and the best counts, since the machine does other things too: the time from the start of the
navigation until the page says that it is ready, the processor time of all processes of the browser meanwhile (what an
idle machine with one core would take), and the longest time from a key press to the frame after it, for ten zooms.
Budgets for a million: 10 MB and 25 MB, 3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from results.operation import FAIL, INFO, INVOKE, OK, Operation, encode_line
from results.report import write_report
from results.run_folder import RunFolder
from tests.results.report.chromium import browser

SEED = 5
BUDGETS = {"register": (10e6, 3.0), "list-append": (25e6, 3.0)}
"""Bytes and seconds until it is ready, for a million."""
SCENARIO = 'seed = 5\nworkload = "{}"\nsystem = "reference-db"\nenvironment = "local"\nnodes = 3\nconcurrency = "50"\n'

FRAMES = """(async () => {
const place = document.getElementById("timeline");
let longest = 0;
for (const key of "+++++++++0") {
  const before = performance.now();
  place.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  longest = Math.max(longest, performance.now() - before);
}
const table = document.getElementById("operations");
table.open = true;
const status = () => document.querySelector("#operation-table span").textContent;
while (!status().startsWith("1 to")) await new Promise((later) => setTimeout(later, 20));
return { ready_ms: Number(document.documentElement.dataset.ready), frame_ms: longest, rows: status() };
})()"""


def register_events(operations: int) -> Iterator[Operation]:
    """As a run with a fixed rate leaves them, in the order of time."""
    stream = random.Random(SEED)
    waiting: list[tuple[int, int, dict[str, Any]]] = []
    events: list[tuple[int, dict[str, Any]]] = []
    free = {process: 0 for process in range(50)}
    for number in range(operations):
        at = number * 100_000
        process = min(free, key=free.__getitem__)
        start = max(at, free.pop(process)) + stream.randrange(90_000)
        end = start + int(min(4_900_000, stream.lognormvariate(14, 0.6)))
        key = stream.randrange(7)
        f, value = ("write", [key, number]) if stream.random() < 0.5 else ("read", [key, None])
        answer = value if f == "write" else [key, max(0, number - stream.randrange(200))]
        luck = stream.random()
        type_, more = (FAIL, {"error": ["conflict", "somebody else"]}) if luck < 0.01 else (OK, {})
        asked = dict(process=process, type=INVOKE, f=f, value=value, node=f"n{process % 3 + 1}", intended=at)
        events.append((start, asked))
        if luck > 0.99:
            events.append((end, dict(process=process, type=INFO, f=f, error=["timeout", "no answer"])))
            process += 50
        else:
            events.append((end, dict(process=process, type=type_, f=f, value=answer, **more)))
        free[process] = end
    assert not waiting
    events.sort(key=lambda event: event[0])
    for index, (at, fields) in enumerate(events):
        yield Operation(index=index, time=at, **fields)


def write_register(folder: RunFolder, operations: int) -> None:
    with folder.history_path.open("wb") as file:
        file.writelines(map(encode_line, register_events(operations)))


def write_list_append(folder: RunFolder, transactions: int) -> None:
    command = [sys.executable, "-m", "checkers.synthetic", "--level", "serializable", "--format", "jsonl"]
    with folder.history_path.open("w") as file:
        subprocess.run(
            [*command, "--transactions", str(transactions), "--seed", str(SEED)],
            stdout=file,
            stderr=subprocess.DEVNULL,
            check=True,
        )


WRITERS = {"register": write_register, "list-append": write_list_append}


def processor_s() -> float:
    """What this process's children have computed so far: the browser."""
    children = psutil.Process().children(recursive=True)
    return sum(sum(child.cpu_times()[:2]) for child in children)


def measure(name: str, place: Path, operations: int, rounds: int) -> dict[str, Any]:
    """One row: the page is written, and opened so often."""
    folder = RunFolder(place / name)
    if not folder.history_path.exists():
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_scenario(SCENARIO.format(name))
        WRITERS[name](folder, operations)
    began = time.process_time()
    page = write_report(folder)
    row: dict[str, Any] = {
        "run": name,
        "operations": operations,
        "history_mb": round(folder.history_path.stat().st_size / 1e6, 1),
        "page_mb": round(page.stat().st_size / 1e6, 2),
        "write_s": round(time.process_time() - began, 1),
    }
    with browser() as chromium:
        for _ in range(rounds):
            before = processor_s()
            chromium.open(page)
            spent = processor_s() - before
            told = {"processor_ms": spent * 1000, **chromium.ask(FRAMES)}
            assert chromium.console == [], chromium.console
            for field in ("ready_ms", "processor_ms", "frame_ms"):
                row[field] = min(row.get(field, 1e9), round(told[field]))
            row["rows"] = told["rows"]
    return row


def main(arguments: list[str] | None = None) -> int:
    """Prints a table; exit code 1 where a budget (scaled to N) is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="make the runs here, or take those that are there")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("names", nargs="*", default=list(WRITERS))
    asked = parser.parse_args(arguments)
    over = False
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.keep or Path(temporary)
        for name in asked.names:
            row = measure(name, place, asked.operations, asked.rounds)
            size, seconds = BUDGETS[name]
            missed = row["page_mb"] * 1e6 > size * asked.operations / 1e6 or row["ready_ms"] > seconds * 1000
            over = over or missed
            if asked.json:
                print(json.dumps(row), flush=True)
                continue
            print(
                f"{name:12} {row['operations']:>9,} operations, history {row['history_mb']:7.1f} MB: page "
                f"{row['page_mb']:6.2f} MB, written in {row['write_s']:5.1f} s; ready after {row['ready_ms']:5} ms, "
                f"{row['processor_ms']:5} ms of them computing; longest frame {row['frame_ms']:5} ms "
                f"(load {os.getloadavg()[0]:.0f})   {'OVER' if missed else 'ok'}",
                flush=True,
            )
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())
