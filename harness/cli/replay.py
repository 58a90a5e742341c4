"""`harness replay`: run a saved run again, exactly in simulation, else by its recorded faults and operations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli import names
from results.operation import MAIN_PHASE

if TYPE_CHECKING:
    from results.run_folder import RunFolder


@click.command(name="replay")
@click.argument("run", default="latest", shell_complete=names.runs)
@click.option(
    "--environment",
    default=None,
    metavar="NAME",
    help="Where to repeat it: simulation, local, netns, docker, ssh.  [default: where it ran]",
)
@click.option(
    "--skip-unavailable",
    is_flag=True,
    help="Leave out the fault steps that cannot be injected there, instead of refusing.",
)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(run: str, environment: str | None, skip_unavailable: bool, runs_dir: Path) -> int:
    """Repeat RUN (a run folder, or `latest`, which is also what no argument means) as a new run.

    A simulated run is repeated exactly, and its history is compared with the old one byte by byte. Any other run, or a
    run that moves to another environment, is repeated by its recorded schedule of faults and stream of operations; what
    else happens differs, and so may the outcome.

    Exit code: that of the new verdict. 2: the run cannot be repeated. 4: a fault is not to be had there.
    """
    from dataclasses import replace

    from harness.catalog import make_parts
    from harness.cli.running import print_plan, run_parts
    from harness.cli.saved import open_run
    from harness.explore.replay import plan_replay
    from harness.explore.saved_run import code_difference, load_run
    from harness.fingerprint import fingerprint
    from results.run_folder import RunFolder

    saved = load_run(open_run(run, runs_dir))
    plan = plan_replay(saved, environment, skip_unavailable=skip_unavailable)
    click.echo(f"seed {plan.scenario.seed}")
    click.echo(f"replay of {saved.folder.path}")
    other_code = code_difference(saved.environment, fingerprint())
    if other_code is not None:
        click.secho(f"note: the code is not the same: {other_code}", fg="yellow")
    if plan.exact:
        click.echo(
            "in simulation everything follows from the seed: the same code gives the same history"
            if other_code is None
            else "in simulation the same code gives the same history; other code may give another one"
        )
    else:
        click.echo(
            f"by its recorded faults ({len(plan.steps)} steps) and operations ({len(plan.operations or ())}): what was "
            "decided is repeated, but timing differs, so the outcome may differ too"
        )
    for why in plan.skipped:
        click.secho(f"note: left out: {why}", fg="yellow")

    parts = make_parts(plan.scenario, schedule=plan.schedule, operations=plan.stream)
    folder = RunFolder.create(runs_dir, plan.scenario.workload)
    parts = replace(parts, scenario=plan.scenario_in(folder))
    print_plan(parts)
    click.echo(f"run folder: {folder.path}")
    code = run_parts(parts, folder)

    folder.write_environment(
        {**folder.read_environment(), "replay_of": saved.folder.id, "left_out": list(plan.skipped)}
    )
    if plan.exact:
        outside = plan.scenario.defect if ":" in (plan.scenario.defect or "") else None
        _compare(saved.folder, folder, other_code, outside)
    else:
        _say_what_was_left(folder, len(plan.operations or ()))
    old, new = saved.verdict, folder.read_verdict()
    click.echo(f"then: {'not judged' if old is None else f'{old.outcome}: {old.sentence}'}")
    click.echo(f"now:  {'not judged' if new is None else f'{new.outcome}: {new.sentence}'}")
    return code


def _say_what_was_left(folder: RunFolder, planned: int) -> None:
    """Says how many operations of the stream never began: those whose clients were still busy when the phase ended."""
    if not folder.history_path.exists():
        return
    invoked = sum(1 for pair in folder.read_history().pairs() if pair.phase == MAIN_PHASE)
    if invoked < planned:
        click.echo(
            f"{invoked} of {planned} operations were invoked: their clients were busy with others until the end"
        )


def _compare(old: RunFolder, new: RunFolder, other_code: str | None, outside: str | None) -> None:
    """Says whether two simulated runs have the same history, and if not, why not, as far as that is known.

    `outside` is a defect whose module is none of ours.
    """
    from harness.explore.replay import compare_histories

    if not old.history_path.exists() or not new.history_path.exists():
        click.echo("there are no two histories to compare")
        return
    found = compare_histories(old.history_path.read_bytes(), new.history_path.read_bytes())
    click.secho(found.describe(), fg="green" if found.same else "yellow")
    if found.same or other_code is not None or found.events >= found.before:
        return
    stopped = [which for which, folder in (("old", old), ("new", new)) if _was_stopped(folder)]
    if stopped:
        why = (
            f"the {' and the '.join(stopped)} run was stopped before its end, which changes what comes after"
        )
    elif outside is not None:
        why = (
            f"the defect {outside} is from a module outside the harness, of which no digest is kept: if that has "
            "changed since, this is another run"
        )
    else:
        why = (
            "the code is the same, so the history should be, unless a file of one of the two was changed; if none "
            "was, something in the simulated world does not follow from the seed: please report it"
        )
    click.secho(why, fg="yellow", err=True)


def _was_stopped(folder: RunFolder) -> bool:
    """Whether somebody ended the run early, or killed it, as far as its history tells."""
    from results.history import HistoryError
    from results.operation import HARNESS

    try:
        told = {event.f for event in folder.read_history().observed(HARNESS)}
    except HistoryError:
        return False
    return "stopped" in told or "drive" not in told
