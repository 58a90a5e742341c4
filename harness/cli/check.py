"""`harness check`: judge history files of any tool, and the histories of saved runs again."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import names

if TYPE_CHECKING:
    from harness.cli.checking import Judged

FILE_TIME_LIMIT_S = 60.0
FILE_MEMORY_LIMIT_MB = 4096
WORST_LAST = (0, 3, 2, 4, 1)
"""Exit codes, the worst last: invalid beats an error, which beats wrong usage, unknown and valid."""


class NamedChoice(click.ParamType):  # type: ignore[type-arg]
    """A name from a table that is imported when a name is given, so that help is instant."""

    def __init__(self, what: str) -> None:
        self.name = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return _known(self.name, str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _known(what: str, name: str) -> str:
    """The name as its table has it. Raises ValueError, with the names there are."""
    if what == "model":
        from checkers.registry import get_entry

        get_entry(name)
    elif what == "isolation":
        from checkers.isolation.lattice import canonical

        return canonical(name)
    elif what == "guarantee":
        from checkers.sessions import GUARANTEES

        if name.replace("-", " ") not in GUARANTEES:
            known = ", ".join(one.replace(" ", "-") for one in GUARANTEES)
            raise ValueError(f"{name!r} is no session guarantee; there are {known}")
        return name.replace("-", " ")
    else:
        from results.interchange.formats import FORMATS

        names = [one.name for one in FORMATS]
        if name not in names:
            raise ValueError(f"{name!r} is no format of histories; there are {', '.join(names)}")
    return name


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """For options that are numbers: neither `nan`, which lies in every range, nor `inf`, which no clock reaches."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds; such as 60", context, parameter)
    return value


@click.command(name="check")
@click.argument("targets", metavar="[FILE|RUN]...", nargs=-1, shell_complete=names.runs)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
@click.option(
    "--check-time-limit",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    default=None,
    help=f"Longest time for a file or a run in seconds [files: {FILE_TIME_LIMIT_S:g}; runs: their scenario's].",
)
@click.option(
    "--check-memory-limit",
    type=click.IntRange(min=64),
    default=FILE_MEMORY_LIMIT_MB,
    show_default=True,
    help="Files: most memory for each, in MB.",
)
@click.option(
    "--model", type=NamedChoice("model"), help="Files: what they are histories of; guessed if that is clear."
)
@click.option(
    "--isolation",
    type=NamedChoice("isolation"),
    help="Files of transactions: the level [strict-serializable].",
)
@click.option(
    "--format", "format_", type=NamedChoice("format"), help="Files: their format; seen from the content."
)
@click.option("--initial", help="Files: the value before the first operation, as JSON or text.")
@click.option(
    "--keyed/--not-keyed",
    default=None,
    help="Files: whether values are [key, value], each key an object of its own; seen from the values.",
)
@click.option("--allow-negative", is_flag=True, help="bank: balances may be negative.")
@click.option("--total", type=int, help="bank: the sum of all balances [that of the first read].")
@click.option("--linearizable", is_flag=True, help="set, set-full: no read may be stale.")
@click.option(
    "--bound", type=int, help="staleness: for how many nanoseconds a read may miss what was acknowledged."
)
@click.option(
    "--eventual", is_flag=True, help="counter: only the final reads have to see all adds; none shows more."
)
@click.option("--no-snapshot", is_flag=True, help="bank: a read asks for one account after the other.")
@click.option(
    "--guarantees",
    multiple=True,
    type=NamedChoice("guarantee"),
    help="sessions: a guarantee that has to hold; repeatable [all].",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Files judged at once."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Files: write an HTML page there; of several files, name a folder.",
)
def command(
    targets: tuple[str, ...],
    runs_dir: Path,
    check_time_limit: float | None,
    check_memory_limit: int,
    model: str | None,
    isolation: str | None,
    format_: str | None,
    initial: str | None,
    keyed: bool | None,
    allow_negative: bool,
    total: int | None,
    linearizable: bool,
    bound: int | None,
    eventual: bool,
    no_snapshot: bool,
    guarantees: tuple[str, ...],
    jobs: int,
    as_json: bool,
    report: Path | None,
) -> int:
    """Judge history files, in any format of docs/checking-files.md, or saved runs again.

    \b
    harness check --model cas-register history.edn
    harness check --model list-append --isolation serializable history.json
    harness check runs/latest        (or nothing: the latest run)

    A run (a folder, or `latest`) is judged by its own workload, and its verdict and report are written into it. The
    exit code is that of the worst verdict: invalid beats error, wrong usage, unknown and valid, in this order.
    """
    from checkers.checker import UNSAID
    from checkers.judge import Question
    from checkers.registry import Options

    files = [target for target in targets if Path(target).exists() and not Path(target).is_dir()]
    about_files = {
        "--model": model,
        "--isolation": isolation,
        "--format": format_,
        "--initial": initial,
        "--keyed": keyed,
        "--allow-negative": allow_negative or None,
        "--total": total,
        "--linearizable": linearizable or None,
        "--bound": bound,
        "--eventual": eventual or None,
        "--no-snapshot": no_snapshot or None,
        "--guarantees": guarantees or None,
        "--report": report,
    }
    given = [name for name, value in about_files.items() if value is not None]
    if (
        given
    ):  # What is neither file nor run was meant as a file: that it cannot be read must not hide the others.
        missing = [
            t for t in targets if t != "latest" and not Path(t).exists() and not (runs_dir / t).exists()
        ]
        files = [target for target in targets if target in files or target in missing]
    runs = [target for target in targets or ("latest",) if target not in files]
    if given and runs:
        named = ", ".join(runs) if targets else "the latest run, which is what no file means,"
        raise click.UsageError(
            f"{given[0]} is for history files, and there is no file {named}"
            if not targets or not Path(runs[0]).exists()
            else f"{given[0]} is for history files, and {named} is a folder: a run is judged by its own workload"
        )
    options = Options(
        isolation,
        UNSAID if initial is None else json_or_text(initial),
        keyed,
        allow_negative,
        total,
        linearizable,
        bound,
        eventual,
        no_snapshot,
        guarantees,
    )
    question = Question(model, options)
    tasks = _tasks(files, question, format_, check_time_limit, check_memory_limit, jobs, report)
    return _judge_all(targets or ("latest",), files, tasks, runs_dir, check_time_limit, jobs, as_json)


def json_or_text(text: str) -> Any:
    """A value as it is given on the command line: JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tasks(
    files: Sequence[str],
    question: Any,
    format_: str | None,
    time_limit: float | None,
    memory_limit: int,
    jobs: int,
    report: Path | None,
) -> list[Any]:
    from checkers.checker import Limits
    from harness.file_check import Task

    if report is not None and len(files) > 1 and not report.is_dir():
        raise click.UsageError(
            f"--report {report}: for several files name a folder that is there, for a page each"
        )
    limits = Limits(
        time_s=FILE_TIME_LIMIT_S if time_limit is None else time_limit,
        memory_mb=memory_limit,
        jobs=jobs if len(files) == 1 else 1,
    )
    tasks = []
    for number, file in enumerate(files, start=1):
        path = Path(file)
        target = report
        if report is not None and report.is_dir():
            target = report / (f"{path.name}.html" if len(files) == 1 else f"{number}-{path.name}.html")
        words = ["harness", "check"]
        if question.model is not None:
            words += ["--model", question.model]
        if question.options.isolation is not None:
            words += ["--isolation", question.options.isolation]
        tasks.append(Task(path, question, format_, limits, target, shlex.join([*words, file])))
    return tasks


def _judge_all(
    targets: Sequence[str],
    files: Sequence[str],
    tasks: Sequence[Any],
    runs_dir: Path,
    time_limit: float | None,
    jobs: int,
    as_json: bool,
) -> int:
    """Runs first, then files; the worst exit code."""
    from harness.cli.app import explain

    codes: list[int] = []
    judged: list[Judged] = []
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        for run in targets:
            if run in files:
                continue
            try:
                codes.append(_judge(run, runs_dir, time_limit))
            except Exception as error:  # noqa: BLE001 - one run that cannot be judged must not hide the others.
                codes.append(explain(error))
        if tasks:
            from harness.cli.checking import judge_files

            judged = judge_files(tasks, jobs, quiet=as_json)
            codes += [one.exit_code for one in judged]
    worst = max(codes, key=WORST_LAST.index)
    if as_json:
        from harness.cli import checking

        sys.stdout.write(checking.as_json(judged, worst).decode())
    return worst


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
