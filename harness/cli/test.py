"""`harness test`: one scenario from its flags or its file, run and judged."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.cli import names
from harness.scenario import MAX_SEED, Scenario, ScenarioError, fields_in, parse_options

DEFAULTS: dict[str, Any] = {field.name: field.default for field in msgspec.structs.fields(Scenario)}


def _flag(
    name: str, kind: Any, text: str, metavar: str | None = None
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """An option for a field of the scenario. It has no default of its own, so that a flag that was given can be told
    from one that was not: a file may say it instead."""
    default = DEFAULTS[name]
    shown = (
        ""
        if default is msgspec.NODEFAULT or default is None
        else f"  [default: {default:g}]"
        if isinstance(default, float)
        else f"  [default: {default}]"
    )
    return click.option(
        "--" + name.replace("_", "-"),
        name,
        type=kind,
        default=None,
        help=text + shown,
        metavar=metavar,
        shell_complete=names.OF_SCENARIOS.get(name),
    )


@click.command(name="test")
@click.option(
    "--scenario",
    "scenario_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the scenario from a TOML file; flags override it.",
)
@_flag("workload", str, "What clients do; see `harness list`. Your own: module:name.", "NAME")
@_flag("system", str, "The database under test; see `harness list`. Your own: module:name.", "NAME")
@_flag("environment", str, "Where its nodes run: local, netns, docker, ssh, simulation.", "NAME")
@_flag("nodes", int, "How many nodes.", "N")
@_flag(
    "replication",
    int,
    "How many replicas each range has; by default 3, or all nodes if there are fewer.",
    "N",
)
@_flag("ranges", int, "Into how many ranges the keyspace is cut.", "N")
@_flag(
    "nemesis", str, "What goes wrong: name[:shape][@target],… or all or none. Your own: module:name.", "SPEC"
)
@_flag("intensity", float, "How often faults come: 2 halves the gaps between them.", "X")
@_flag("time_limit", float, "Length of the main phase in seconds.", "S")
@_flag("concurrency", str, "Client processes: a number, or 2n for two per node.", "N|Nn")
@_flag("rate", float, "Operations a second that are started, as long as a process is free.", "R")
@_flag("seed", int, "Root of everything random; drawn and printed if not given.", "N")
@_flag(
    "operation_timeout",
    float,
    "An operation without an answer after this many seconds is unknown (info).",
    "S",
)
@_flag("recovery_timeout", float, "Longest wait for the cluster to be whole again after healing.", "S")
@_flag("defect", str, "Start the database with a planted defect.", "NAME")
@click.option(
    "--system-option",
    "system_option",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of the system.",
)
@click.option(
    "--attach",
    metavar="CONTAINERS",
    help="Test containers that already run: NAME,… or compose:PROJECT; nothing of theirs is removed.",
)
@click.option(
    "--environment-option",
    "environment_option",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of the environment.",
)
@click.option(
    "--workload-option",
    "workload_option",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of the workload.",
)
@_flag("isolation", str, "What is demanded of transactions; by default what the workload demands.", "LEVEL")
@_flag(
    "consistency", str, "What is demanded of single objects; by default what the workload demands.", "LEVEL"
)
@_flag("checkers", str, "Judge the history by these too: module:name,… of your own.", "NAMES")
@_flag("least_ok_fraction", float, "Invalid if a smaller share of operations is answered: 0.9.", "SHARE")
@_flag("longest_outage", float, "Invalid if nothing is answered for longer.", "S")
@_flag("longest_recovery", float, "Invalid if a healed fault slows the service down for longer.", "S")
@_flag(
    "check_time_limit", float, "Longest time for the checkers in seconds; then the verdict is unknown.", "S"
)
@_flag("check_memory_limit_mb", int, "Most memory for the checkers.", "MB")
@_flag("schedule_file", str, "Execute this schedule.jsonl instead of drawing one.", "FILE")
@_flag(
    "operations_file",
    str,
    "Invoke the operations of this operations.jsonl instead of the workload's.",
    "FILE",
)
@click.option(
    "--fail-fast/--no-fail-fast",
    default=None,
    help="End the main phase at the first violation that is seen while it goes on.  [default: no-fail-fast]",
)
@click.option(
    "--invariants/--no-invariants",
    default=None,
    help="In simulation: check after every step what must hold inside the nodes.  [default: invariants]",
)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--keep-running", is_flag=True, help="Leave the cluster up at the end and say how to stop it.")
def command(
    scenario_file: Path | None,
    system_option: tuple[str, ...],
    attach: str | None,
    environment_option: tuple[str, ...],
    workload_option: tuple[str, ...],
    runs_dir: Path,
    dry_run: bool,
    keep_running: bool,
    **flags: Any,
) -> int:
    """Run one scenario: start a cluster, drive a workload against it, break it, heal it, and judge what clients saw.

    Exit code 0: valid. 1: the database broke a promise. 3: unknown. 2 and 4: nothing was judged.
    """
    if attach is not None:
        environment_option = (*environment_option, f"attach={attach}")
        flags["environment"] = flags.get("environment") or "docker"
        if flags.get("nodes") is None and ":" not in attach:
            flags["nodes"] = len(attach.split(","))
    options = {
        "system_options": system_option,
        "environment_options": environment_option,
        "workload_options": workload_option,
    }
    scenario = scenario_of(scenario_file, options, flags)
    click.echo(f"seed {scenario.seed}")
    from harness.cli.running import dry_run_plan, run_scenario

    if dry_run:
        return dry_run_plan(scenario)
    return run_scenario(scenario, runs_dir, keep_running=keep_running)


def scenario_of(
    scenario_file: Path | None, options: dict[str, tuple[str, ...]], flags: dict[str, Any]
) -> Scenario:
    """The scenario that the file and the flags describe; what neither says is drawn (the seed) or default."""
    values: dict[str, Any] = {}
    if scenario_file is not None:
        values = fields_in(scenario_file)
    values |= {name: value for name, value in flags.items() if value is not None}
    for field, pairs in options.items():
        if pairs:
            what = field.removesuffix("s").replace("_", " ")
            values[field] = {**values.get(field, {}), **parse_options(pairs, what)}
    if "workload" not in values:
        from harness.catalog import WORKLOADS

        raise ScenarioError(f"which workload? Give --workload with one of {', '.join(WORKLOADS)}")
    if values.get("schedule_file") is not None and flags.get("nemesis") is None:
        faults = _faults_of(values["schedule_file"])
        if not faults and values.get("nemesis") != "none":
            raise ScenarioError(
                f"the schedule {values['schedule_file']} has no step, so nothing would be broken and nothing proven: "
                "give another file, or --nemesis none as well for a run without faults"
            )
        values["nemesis"] = faults or "none"
    values.setdefault("seed", secrets.randbelow(MAX_SEED + 1) >> 20)
    if "replication" not in values and values.get("nodes", 3) < DEFAULTS["replication"]:
        values["replication"] = max(1, values["nodes"])
    try:
        return Scenario.from_dict(values)
    except ScenarioError as error:
        raise ScenarioError(str(error) if scenario_file is None else f"{scenario_file}: {error}") from error


def _faults_of(schedule_file: str) -> str:
    """The `--nemesis` that a saved schedule amounts to, empty without a step: what it does is what must be seen to take
    effect."""
    from harness.catalog import load_schedule

    return ",".join(load_schedule(schedule_file).faults())
