"""`harness defects`: the score of the harness against the bugs that are planted in the reference database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.scenario import ScenarioError

SEEDS = "1-60"
CPU_S = 120.0
SHRINK_BUDGET = "60runs"


@click.command(name="defects")
@click.option(
    "--only",
    metavar="NAME,...",
    help="Hunt for these defects only. One of your own is module:name, a function that plants it in a node.",
)
@click.option(
    "--mode",
    type=click.Choice(["black-box", "white-box", "both"]),
    default="both",
    show_default=True,
    help="Histories only, or also invariants and audits.",
)
@click.option(
    "--seeds",
    metavar="LIST",
    default=SEEDS,
    show_default=True,
    help="Seeds of each hunt, in order: 1-60, 7, 1-10,50.",
)
@click.option("--fresh", is_flag=True, help="Do not begin with the seeds that are known to show a defect.")
@click.option(
    "--cpu",
    metavar="S",
    type=float,
    default=CPU_S,
    show_default=True,
    help="Processor seconds after which a hunt is given up.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=None,
    help="Runs at a time.  [default: all cores]",
)
@click.option(
    "--workload", metavar="NAME", default=None, help="Hunt with this workload.  [default: the defect's]"
)
@click.option(
    "--nemesis", metavar="NAME,...", default=None, help="Hunt with these faults.  [default: the defect's]"
)
@click.option(
    "--time-limit",
    metavar="S",
    type=float,
    default=None,
    help="Main phase of each run, in virtual s.  [default: 20]",
)
@click.option("--clean/--no-clean", default=True, help="Repeat the runs without the defects: false alarms.")
@click.option("--shrink", is_flag=True, help="Make each run that found a defect as small as can be.")
@click.option(
    "--shrink-budget",
    metavar="BUDGET",
    default=SHRINK_BUDGET,
    show_default=True,
    help="For each of them: 90s, 5m, or 200runs.",
)
@click.option("--list", "list_only", is_flag=True, help="Show the defects, and stop.")
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where runs are kept.",
)
def command(
    only: str | None,
    mode: str,
    seeds: str,
    fresh: bool,
    cpu: float,
    jobs: int | None,
    workload: str | None,
    nemesis: str | None,
    time_limit: float | None,
    clean: bool,
    shrink: bool,
    shrink_budget: str,
    list_only: bool,
    runs_dir: Path,
) -> int:
    """Hunt for each planted defect: which seed and which checker found it first, and after how many steps. Then repeat
    the same runs without the defects, where nothing may be found.

    The score is in score.md and score.json. Ctrl-C keeps what is known so far.

    Exit code 0: every defect was found in each mode that should find it, and nobody else was blamed. 1: one was missed,
    or the clean database was blamed. 3: stopped before the end. 4: the harness failed in a run.
    """
    from harness.cli.hunting import Wanted, keep_score_of, list_defects

    if list_only:
        return list_defects()
    if not cpu > 0:
        raise ScenarioError(f"--cpu {cpu:g}: must be above 0 processor seconds")
    given: dict[str, Any] = {"workload": workload, "nemesis": nemesis, "time_limit": time_limit}
    return keep_score_of(
        Wanted(
            only=None if only is None else [name.strip() for name in only.split(",")],
            mode=mode,
            seeds=seeds,
            fresh=fresh,
            cpu_s=cpu,
            jobs=jobs,
            given={name: value for name, value in given.items() if value is not None},
            clean=clean,
            shrink_budget=shrink_budget if shrink else None,
        ),
        runs_dir,
    )
