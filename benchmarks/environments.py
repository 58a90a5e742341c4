"""The environments against each other and against their budgets: start-up, rules, latency, verdicts, what is left.

    python -m benchmarks.environments [--rows start,rule,latency,agree,refind,kills] [--environments netns,docker]
                                      [--pairs 5] [--kills 10] [--seed 1] [--runs-dir DIR] [--json FILE]

| row | what is measured | budget |
|---|---|---|
| `start` | five nodes of the reference database, from nothing to the first acknowledged write | netns 3 s, docker 8 s |
| `rule` | one link cut or mended by one rule, from outside, without the probes around it | 10 ms |
| `latency` | median of writes one after another; netns and docker in interleaved pairs | docker 1.2 times netns |
| `agree` | one scenario file in every environment: without a defect, and with one that needs no fault | same verdict |
| `refind` | a defect found in simulation, its run replayed in docker | found again |
| `kills` | the harness killed (-9) at moments drawn by the seed, then `harness heal` | nothing is left |

Each measurement is a process of its own. The load average stands beside the figures: on a busy machine times mean
little. Exit code 1 where a budget is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.catalog import make_parts
from harness.environments.disks.mounts import TABLE, mount_points
from harness.environments.ledger import read_ledger
from harness.environments.linux.namespace import NodeNamespace
from harness.environments.processes import processes_with_token
from harness.scenario import Option, Scenario, toml_value
from results.run_folder import RunFolder

BUDGET_START_S = {"netns": 3.0, "docker": 8.0}
BUDGET_RULE_MS = 10.0
BUDGET_LATENCY = 1.2
WRITES = 400
CUTS = 20
READY_S = 60.0
DEFECT_WITHOUT_FAULTS = "lock-released-early"
DEFECT_TO_REFIND = "leader-local-read"
MOST_SEEDS = 12
BEGUN_S = 180.0
RUN_S = 8
"""Length of the runs that are killed."""

Row = dict[str, Any]
ENVIRONMENTS = ("simulation", "local", "netns", "docker")


# Measurements, in this process


def measured(what: str, name: str) -> Row:
    """One measurement in an environment."""
    nodes = 5 if what == "start" else 3
    scenario = Scenario.from_dict(
        {"workload": "register", "environment": name, "nodes": nodes, "nemesis": "none", "seed": 1}
    )
    parts = make_parts(scenario)

    async def story() -> Row:
        with tempfile.TemporaryDirectory() as folder:
            run = RunFolder.create(Path(folder), "benchmark")
            began = time.monotonic()
            cluster = await parts.environment.create_cluster(parts.system, scenario.node_names, run, {})
            try:
                await cluster.start_all()
                await cluster.wait_ready(READY_S)
                node = scenario.node_names[0]
                session: Any = await parts.system.open_session(cluster.client_address(node), node)
                try:
                    await session.put("first", 1)
                    started_s = time.monotonic() - began
                    if what == "start":
                        return {"seconds": started_s}
                    if what == "latency":
                        return {"ms": await _latency_ms(session)}
                    return {"ms": await _rule_ms(cluster)}
                finally:
                    await session.close()
            finally:
                await cluster.destroy()

    return parts.environment.run(story())


async def _latency_ms(session: Any) -> float:
    """Median of writes, one after another, after some that warm up."""
    times = []
    for number in range(WRITES + WRITES // 4):
        began = time.perf_counter()
        await session.put(f"key{number % 16}", number)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[WRITES // 4 :])


async def _rule_ms(cluster: Any) -> float:
    """Median of what changing the rules of a namespace takes, among the probes of cuts and mends."""
    times: list[float] = []
    usual = NodeNamespace.want

    async def timed(self: NodeNamespace, wanted: Any) -> None:
        changes = wanted != self.current
        began = time.perf_counter()
        await usual(self, wanted)
        if changes:
            times.append((time.perf_counter() - began) * 1000)

    NodeNamespace.want = timed  # type: ignore[method-assign]
    try:
        for _ in range(CUTS):
            assert (await cluster.cut([("n1", "n2")])).took_effect
            assert (await cluster.mend([("n1", "n2")])).took_effect
    finally:
        NodeNamespace.want = usual  # type: ignore[method-assign]
    assert len(times) == 2 * CUTS, f"{len(times)} changes were seen, {2 * CUTS} made"
    return statistics.median(times)


# Rows, by processes


def harness(*words: str) -> tuple[int, str]:
    """Exit code and output of the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


def one(what: str, name: str) -> Row:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.environments", "--one", what, "--environments", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def start(arguments: argparse.Namespace) -> list[Row]:
    rows = []
    for name in arguments.environments:
        times = sorted(one("start", name)["seconds"] for _ in range(3))
        budget = BUDGET_START_S.get(name)
        rows.append(
            _row("start", name, f"{times[0]:.2f} to {times[-1]:.2f} s", budget is None or times[0] <= budget)
        )
    return rows


def rule(arguments: argparse.Namespace) -> list[Row]:
    rows = []
    for name in arguments.environments:
        if name in ("netns", "docker"):
            ms = one("rule", name)["ms"]
            rows.append(_row("rule", name, f"{ms:.1f} ms", ms <= BUDGET_RULE_MS))
    return rows


def latency(arguments: argparse.Namespace) -> list[Row]:
    """Ratios of pairs: what else the machine does hits both of a pair alike."""
    pairs = [(one("latency", "netns")["ms"], one("latency", "docker")["ms"]) for _ in range(arguments.pairs)]
    ratio = statistics.median(docker / netns for netns, docker in pairs)
    shown = ", ".join(f"{netns:.2f}/{docker:.2f}" for netns, docker in pairs)
    return [
        _row("latency", "netns/docker", f"ratio {ratio:.2f} (ms in pairs: {shown})", ratio <= BUDGET_LATENCY)
    ]


def agree(arguments: argparse.Namespace) -> list[Row]:
    """The same file everywhere: healthy under faults, and with a defect that needs none."""
    rows = []
    healthy: dict[str, Option] = {
        "workload": "bank",
        "nemesis": "partition,kill,pause",
        "time_limit": 15.0,
        "seed": arguments.seed,
    }
    broken: dict[str, Option] = {
        "workload": "bank",
        "nemesis": "none",
        "defect": DEFECT_WITHOUT_FAULTS,
        "time_limit": 15.0,
        "seed": arguments.seed,
    }
    for title, content in (("no defect", healthy), (DEFECT_WITHOUT_FAULTS, broken)):
        path = Path(arguments.runs_dir) / f"{title.replace(' ', '-')}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name} = {toml_value(value)}\n" for name, value in content.items()))
        words = ("test", "--scenario", str(path), "--runs-dir", str(Path(arguments.runs_dir) / "agree"))
        codes = {name: harness(*words, "--environment", name)[0] for name in ENVIRONMENTS}
        wanted = 0 if content is healthy else 1
        shown = ", ".join(f"{name} {code}" for name, code in codes.items())
        rows.append(_row("agree", title, f"exit codes: {shown}", set(codes.values()) == {wanted}))
    return rows


def refind(arguments: argparse.Namespace) -> list[Row]:
    """The first seed that finds it in simulation; its record, replayed in containers."""
    home = Path(arguments.runs_dir) / "refind"
    # fmt: off
    words = [
        "test", "--workload", "register", "--environment", "simulation", "--defect", DEFECT_TO_REFIND, "--nemesis",
        "partition:leader", "--time-limit", "45", "--ranges", "3", "--no-invariants",
    ]
    # fmt: on
    for seed in range(arguments.seed, arguments.seed + MOST_SEEDS):
        code, _ = harness(*words, "--seed", str(seed), "--runs-dir", str(home))
        if code == 1:
            break
    else:
        return [_row("refind", DEFECT_TO_REFIND, f"no seed of {MOST_SEEDS} found it in simulation", False)]
    found = max(path for path in home.iterdir() if path.is_dir())
    code, said = harness("replay", str(found), "--environment", "docker", "--runs-dir", str(home / "docker"))
    verdict = next((line for line in said.splitlines() if line.startswith("verdict:")), f"exit code {code}")
    return [
        _row(
            "refind", DEFECT_TO_REFIND, f"seed {seed} in simulation; replayed in docker: {verdict}", code == 1
        )
    ]


def kills(arguments: argparse.Namespace) -> list[Row]:
    """Nothing may be left of a run whose harness was killed, whenever that was since it began to do something."""
    moments = random.Random(arguments.seed)
    rows = []
    for number in range(arguments.kills):
        name = arguments.environments[number % len(arguments.environments)]
        after_s = round(moments.uniform(0.0, RUN_S + 2), 2)
        home = Path(arguments.runs_dir) / f"kill-{number}"
        # fmt: off
        run = subprocess.Popen(
            [
                sys.executable, "-m", "harness", "test", "--workload", "register", "--environment", name, "--nemesis",
                "partition,kill,pause,clock,packet,disk", "--intensity", "4", "--time-limit", str(RUN_S), "--seed",
                str(number), "--runs-dir", str(home),
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        # fmt: on
        deadline = time.monotonic() + BEGUN_S
        while not (folders := [path.parent for path in home.glob("*/ledger.jsonl")]) and run.poll() is None:
            assert time.monotonic() < deadline, f"the run of {home} has not begun within {BEGUN_S:g} s"
            time.sleep(0.01)
        try:
            run.wait(after_s)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        healed = [harness("heal", str(path)) for path in folders]
        left = [thing for path in folders for thing in what_is_left(path)]
        failures = [said.strip()[-200:] for code, said in healed if code != 0]
        undone = sum(said.count("\n") for _, said in healed)
        shown = "; ".join([*left, *failures]) or (
            f"nothing left ({undone} lines of heal)" if folders else "no run"
        )
        rows.append(
            _row("kills", f"{name} after {after_s} s", shown, bool(folders) and not left and not failures)
        )
    return rows


def what_is_left(run: Path) -> list[str]:
    """Processes, mounts, containers, networks and open entries of a run, looked for by its token and folder."""
    content = read_ledger(run / "ledger.jsonl")
    left = [f"process {process.pid}" for process in processes_with_token(content.header.token)]
    home = str(run.resolve())
    left += [f"mount {point}" for point in mount_points(TABLE.read_text()) if point.startswith(home)]
    if content.header.environment == "docker":
        label = f"label=multiraft-harness.folder={home}"
        for kind in (("ps", "--all"), ("network", "ls")):
            listed = subprocess.run(
                ["docker", *kind, "--quiet", "--filter", label], stdout=subprocess.PIPE, text=True, check=True
            )
            left += [f"{kind[0]} {identity}" for identity in listed.stdout.split()]
    return left + [f"open entry {entry.kind}" for entry in content.open_entries]


def _row(row: str, what: str, shown: str, good: bool) -> Row:
    found = {"row": row, "what": what, "shown": shown, "good": good, "load": round(os.getloadavg()[0], 1)}
    print(f"{'ok  ' if good else 'OVER'} {row:8} {what:24} {shown} (load {found['load']})", flush=True)
    return found


ROWS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "start": start,
    "rule": rule,
    "latency": latency,
    "agree": agree,
    "refind": refind,
    "kills": kills,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS))
    parser.add_argument("--environments", type=lambda text: text.split(","), default=["netns", "docker"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs-dir", default="runs/environments")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", choices=("start", "rule", "latency"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measured(arguments.one, arguments.environments[0])))
        return 0
    unknown = sorted(set(arguments.rows) - set(ROWS))
    if unknown:
        parser.error(f"unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    rows = [row for name in arguments.rows for row in ROWS[name](arguments)]
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(row["good"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
