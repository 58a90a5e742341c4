"""`harness sweep`: one workload with many seeds, each of which draws a scenario of its own."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import click

from harness.cli.check import finite
from harness.cli.test import command as test_command
from harness.scenario import ScenarioError

DEFAULT_SEEDS = "1-100"

NOT_OF_A_SWEEP = ("seed", "runs_dir", "dry_run", "keep_running", "schedule_file", "operations_file")
"""Flags of `harness test` that mean one run."""

DRAWN = (
    "nodes",
    "replication",
    "ranges",
    "concurrency",
    "rate",
    "intensity",
    "operation_timeout",
)
"""What a seed draws unless it is given."""

OTHER_DEFAULTS = {
    "environment": "simulation",
    "time_limit": "20",
    "nemesis": "all, of which a seed draws some",
}


def _flags_of_test() -> list[click.Parameter]:
    """The flags of a scenario are those of `harness test`, with what a sweep makes of those that are not given."""
    flags: list[click.Parameter] = []
    for parameter in test_command.params:
        if parameter.name in NOT_OF_A_SWEEP or not isinstance(parameter, click.Option):
            continue
        flag = copy.copy(parameter)
        text = re.sub(r"\s*\[default: [^]]*\]$", "", flag.help or "").rstrip()
        if flag.name in DRAWN:
            text += "  [drawn]"
        elif flag.name in OTHER_DEFAULTS:
            text += f"  [default: {OTHER_DEFAULTS[flag.name]}]"
        else:
            text = flag.help or ""
        flag.help = text
        flags.append(flag)
    return flags


@click.command(name="sweep")
@click.option(
    "--seeds",
    metavar="LIST",
    default=None,
    help=f"Which seeds: 1-2000, 7, 1-10,50.  [default: {DEFAULT_SEEDS}]",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=None,
    help="How many at once.  [default: all cores; 1 where nodes are real]",
)
@click.option(
    "--until-failure", is_flag=True, help="Go on behind the last seed, and end at the first failure."
)
@click.option(
    "--budget", metavar="TIME", default=None, help="Hand out no more seeds after this time: 90s, 10m, 2h."
)
@click.option(
    "--resume",
    metavar="FOLDER",
    default=None,
    help="Go on with a sweep that was stopped; `latest` is the newest.",
)
@click.option(
    "--any-code", is_flag=True, help="Go on although the code is not the one that the sweep began with."
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    default=None,
    help="Run on the Dask cluster of this scheduler: tcp://host:8786.",
)
@click.option(
    "--no-swarm", is_flag=True, help="Draw nothing but the seed: what is not given is as in `harness test`."
)
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Keep at most so many run folders, those of the shortest failures.",
)
@click.option("--keep-valid", is_flag=True, help="Keep the run folders of valid seeds as well.")
@click.option(
    "--seed-cpu-limit",
    metavar="S",
    type=click.FloatRange(1),
    callback=finite,
    default=600.0,
    show_default=True,
    help="Give up a seed after so much processor time.",
)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
@click.option("--dry-run", is_flag=True, help="Print the command of every seed and stop.")
def command(
    seeds: str | None,
    jobs: int | None,
    until_failure: bool,
    budget: str | None,
    resume: str | None,
    any_code: bool,
    scheduler: str | None,
    no_swarm: bool,
    keep: int,
    keep_valid: bool,
    seed_cpu_limit: float,
    runs_dir: Path,
    dry_run: bool,
    scenario_file: Path | None = None,
    system_option: tuple[str, ...] = (),
    environment_option: tuple[str, ...] = (),
    workload_option: tuple[str, ...] = (),
    **flags: Any,
) -> int:
    """Run a workload with many seeds. Each seed draws what is not given: cluster, load, faults, timing.

    Exit code: that of the worst seed. 1: invalid. 4: the harness failed. 3: unknown. 0: all valid.
    """
    from harness.cli.sweeping import Settings, dry_run_sweep, given_fields, new_plan, resume_sweep, run_sweep
    from harness.explore.durations import parse_duration
    from harness.explore.seed_ranges import parse_seeds

    options = {
        "system_options": system_option,
        "environment_options": environment_option,
        "workload_options": workload_option,
    }
    settings = Settings(
        jobs=jobs,
        budget_s=None if budget is None else parse_duration(budget),
        scheduler=scheduler,
        keep=keep,
        keep_valid=keep_valid,
        cpu_limit_s=seed_cpu_limit,
    )
    if resume is not None:
        asked = sorted(name for name, value in flags.items() if value is not None)
        asked += [name for name, value in options.items() if value]
        asked += ["seeds"] * (seeds is not None) + ["scenario"] * (scenario_file is not None)
        asked += ["until_failure"] * until_failure + ["no_swarm"] * no_swarm
        if asked:
            raise ScenarioError(
                f"--resume goes on with what was asked at first; leave out {', '.join(asked)}, or begin a new sweep"
            )
        return resume_sweep(resume, runs_dir, settings, any_code=any_code)
    parse_seeds(seeds if seeds is not None else DEFAULT_SEEDS)
    plan = new_plan(
        given_fields(scenario_file, options, flags, draw=not no_swarm),
        DEFAULT_SEEDS if seeds is None else seeds,
        draw=not no_swarm,
        until_failure=until_failure,
    )
    if dry_run:
        return dry_run_sweep(plan)
    return run_sweep(plan, runs_dir, settings)


command.params = [*_flags_of_test(), *command.params]


def all_cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
