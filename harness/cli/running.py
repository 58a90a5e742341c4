"""How a run looks on the command line: its plan, live progress, and the verdict at its end."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import msgspec

from harness.catalog import make_parts
from harness.cli.answer import tell
from harness.cli.lines import folded
from harness.cli.progress import live_progress
from harness.driver import Progress, StopSignal
from harness.run import Parts, Stopped, execute, judge, require_consistency
from harness.scenario import Scenario, ScenarioError
from results.report import write_report
from results.run_folder import RunFolder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict, exit_code

UNKNOWN_EXIT = 3
ANOMALIES_SHOWN = 5
COLOURS = {VALID: "green", INVALID: "red", UNKNOWN: "yellow"}


def dry_run_plan(scenario: Scenario) -> int:
    """Prints what a run of this scenario would do."""
    parts = make_parts(scenario)
    print_plan(parts)
    tell(
        scenario=msgspec.to_builtins(scenario),
        schedule=[msgspec.to_builtins(step) for step in parts.schedule],
    )
    if parts.schedule.steps:
        click.echo("schedule of faults:")
        for step in parts.schedule:
            click.echo(f"  {step.id:3}  {step.describe()}")
    return 0


def print_plan(parts: Parts) -> None:
    """The scenario in words, what was left out, and warnings."""
    scenario = parts.scenario
    click.echo(f"repeat with: {scenario.command('./run')}")
    click.echo(
        f"plan: {scenario.workload} on {scenario.nodes} nodes of {scenario.system} ({scenario.environment}), "
        f"{scenario.ranges} ranges of {scenario.replication} replicas; {scenario.processes} processes, "
        f"{scenario.rate:g} operations/s for {scenario.time_limit:g} s"
    )
    click.echo(f"  {parts.workload.describe()}")
    faults = ", ".join(map(str, parts.choice.requests)) or "none"
    click.echo(f"  faults: {faults} ({len(parts.schedule)} steps)")
    for left_out in parts.choice.left_out:
        click.echo(f"  left out: {left_out.name}: {left_out.reason}")
    if scenario.defect:
        click.echo(f"  planted defect: {scenario.defect}")
    if scenario.replication < 3 and scenario.nemesis != "none":
        click.echo(
            f"warning: with {scenario.replication} replica{'s' * (scenario.replication > 1)} of each range any fault "
            "stops some of them; the run will prove little while a node is down",
            err=True,
        )


def run_scenario(scenario: Scenario, runs_dir: Path, *, keep_running: bool = False) -> int:
    """Runs a scenario in a new run folder, judges it, writes the report; gives the exit code."""
    parts = make_parts(scenario)
    if keep_running and parts.environment.is_virtual:
        raise ScenarioError(
            f"--keep-running: a cluster of the environment {parts.environment.name} lives in this process and ends "
            "with it; leave the flag out, or choose another environment"
        )
    print_plan(parts)
    folder = RunFolder.create(runs_dir, scenario.workload)
    click.echo(f"run folder: {folder.path}")
    return run_parts(parts, folder, keep_running=keep_running)


def run_parts(parts: Parts, folder: RunFolder, *, keep_running: bool = False) -> int:
    """Runs these parts in a folder that holds no run yet, judges it, writes the report; gives the exit code."""
    stop = StopSignal()
    try:
        parts.environment.run(_executed(parts, folder, stop, keep_running))
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        return UNKNOWN_EXIT
    finally:
        # The loop took its handlers with it; from here on Ctrl-C is an exception again, and never a sudden death.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return judge_and_report(parts, folder)


def judge_and_report(parts: Parts, folder: RunFolder) -> int:
    """Judges the saved history, keeps verdict and report in the folder, prints both; gives the exit code."""
    history = folder.read_history()
    if history.torn:
        click.echo(f"note: {history.torn}", err=True)
    click.echo(f"checking {len(history.operations)} events ...")
    verdict = judge(parts, history)
    print_verdict(verdict)
    folder.write_verdict(verdict)
    report = write_report(folder)
    click.echo(f"report: {report}")
    tell(
        run=folder.path,
        seed=parts.scenario.seed,
        outcome=verdict.outcome,
        sentence=verdict.sentence,
        anomalies=[
            {"checker": checker, "type": anomaly.type, "key": anomaly.key, "sentence": anomaly.sentence}
            for checker, anomaly in verdict.every_anomaly()
        ],
        verdict=folder.verdict_path,
        report=report,
    )
    require_consistency(verdict)
    return exit_code(verdict)


def print_verdict(verdict: Verdict) -> None:
    """The verdict in words, the evidence first that matters most."""
    for part in verdict.parts:
        if part.outcome == VALID:
            click.echo(folded(f"{part.checker}: {part.sentence}", "  "))
    for part in verdict.parts:
        if part.outcome != VALID:
            told = folded(f"{part.checker}: {part.outcome}: {part.sentence}", "  ")
            click.secho(told, fg=COLOURS[part.outcome])
    anomalies = list(verdict.every_anomaly())
    for checker, anomaly in anomalies[:ANOMALIES_SHOWN]:
        where = f" (events {', '.join(map(str, anomaly.operations[:8]))})" if anomaly.operations else ""
        click.echo(folded(f"- {checker}: {anomaly.type}: {anomaly.sentence}{where}", "  "))
    if len(anomalies) > ANOMALIES_SHOWN:
        click.echo(f"  - and {len(anomalies) - ANOMALIES_SHOWN} more in the report")
    click.secho(f"verdict: {verdict.outcome}", fg=COLOURS[verdict.outcome], bold=True)


async def _executed(parts: Parts, folder: RunFolder, stop: StopSignal, keep_running: bool) -> None:
    def on_signal(number: signal.Signals) -> None:
        stop.reason = number.name
        stop.request()
        click.echo(
            "\nstopping: no new operations, then heal, final reads and verdict; once more stops at once"
            if stop.requests == 1
            else "\nstopping at once",
            err=True,
        )

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        parts.environment.on_signal(number, partial(on_signal, number))

    @contextlib.contextmanager
    def show(progress: Progress) -> Iterator[None]:
        title = f"{parts.scenario.workload} on {parts.scenario.system}, seed {parts.scenario.seed}"
        with (
            live_progress(title, progress, sys.stdout) as display,
            parts.environment.now_and_then(display.refresh),
        ):
            yield

    await execute(parts, folder, click.echo, show, stop, keep_running=keep_running, keep_messages=True)
