"""`harness check`: judge the history of a saved run again, also of one whose harness was killed."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="check")
@click.argument("runs", nargs=-1)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
@click.option(
    "--check-time-limit", type=float, default=None, help="Longest time for the checkers in seconds."
)
def command(runs: tuple[str, ...], runs_dir: Path, check_time_limit: float | None) -> int:
    """Judge RUNS (run folders, or `latest`, which is also what no argument means) and write verdict and report.

    The exit code is that of the worst verdict: invalid beats unknown beats valid.
    """
    from harness.cli.app import explain

    codes = []
    for run in runs or ("latest",):
        try:
            codes.append(_judge(run, runs_dir, check_time_limit))
        except Exception as error:  # noqa: BLE001 - one run that cannot be judged must not hide the others.
            codes.append(explain(error))
    return max(codes, key=[0, 3, 2, 4, 1].index)


def _judge(run: str, runs_dir: Path, check_time_limit: float | None) -> int:
    """The exit code for one run."""
    import msgspec

    from harness.catalog import make_parts
    from harness.cli.running import judge_and_report
    from harness.cli.saved import open_run
    from harness.scenario import Scenario, ScenarioError

    folder = open_run(run, runs_dir)
    click.echo(f"run {folder.id}")
    running = folder.running()
    if running is not None:
        raise ScenarioError(
            f"the run {folder.id} is in progress (process {running.pid}); check it when it is over"
        )
    if folder.claimed() is not None:
        click.echo(
            "note: the harness of this run was killed; `harness heal` ends what it left behind", err=True
        )
    scenario = Scenario.load(folder.scenario_path)
    if check_time_limit is not None:
        scenario = msgspec.structs.replace(scenario, check_time_limit=check_time_limit)
    click.echo(f"seed {scenario.seed}")
    return judge_and_report(make_parts(scenario, saved=folder), folder)
