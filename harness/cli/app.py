"""The `harness` command: its subcommands, found lazily, and what each kind of failure means for the exit code.

| exit code | meaning |
|---|---|
| 0 | valid |
| 1 | invalid |
| 2 | wrong usage |
| 3 | unknown: could not decide, or the run proved nothing |
| 4 | the harness or the environment failed |
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO, cast

import click
from click.shell_completion import CompletionItem

from harness import __version__
from harness.cli.answer import with_json

WRONG_USAGE = 2
FAILED = 4

OF_THE_MACHINE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
    }
)
"""Errors of the operating system that tell of this machine and its disk, and not of a mistake in the harness."""

COMMANDS = {
    "test": ("harness.cli.test", "Run one scenario against a cluster, break it, and judge what it did."),
    "sweep": (
        "harness.cli.sweep",
        "Run many seeds, each of which draws a scenario of its own, on all cores.",
    ),
    "defects": ("harness.cli.defects", "Hunt for the planted defects, and keep the score."),
    "gate": ("harness.cli.gate", "Run a plan of scenarios for CI: one exit code, JUnit, SARIF, a baseline."),
    "check": ("harness.cli.check", "Judge the history of a saved run again."),
    "report": ("harness.cli.report", "Write the HTML report of a saved run again."),
    "serve": ("harness.cli.serve", "Show all runs in a browser, on this machine only."),
    "compare": ("harness.cli.compare", "Show two saved runs side by side."),
    "export": (
        "harness.cli.export",
        "Write a history in the notation of Jepsen, Elle, Porcupine, Perfetto, Parquet.",
    ),
    "prune": ("harness.cli.prune", "End whatever dead runs have left on this machine, wherever they were."),
    "heal": ("harness.cli.heal", "Undo the faults, and end the nodes, of a run whose harness was killed."),
    "list": (
        "harness.cli.list",
        "Show workloads, nemeses, systems and environments, and what works with what.",
    ),
    "init": (
        "harness.cli.init",
        "Make a project that tests a database of your own, with a toy in its place.",
    ),
    "verify-system": (
        "harness.cli.verify_system",
        "Prove that a system's sessions say of each call what became of it.",
    ),
    "doctor": (
        "harness.cli.doctor",
        "Examine this machine: what it can do, why not, and what would mend it.",
    ),
    "replay": ("harness.cli.replay", "Run a saved run again: exactly in simulation, else by its record."),
    "shrink": ("harness.cli.shrink", "Make a failing run as small as can be while the anomaly stays."),
    "completion": ("harness.cli.completion", "Print what makes a shell complete commands, flags and names."),
    "db": ("harness.cli.db", "Run the reference database for people: start, status, shell, stop."),
}
"""Subcommand -> (module with a click command `command`, caption). Modules are imported when they are used."""


WITHOUT_JSON = frozenset({"serve", "completion"})
"""Commands that give no answer."""


class LazyGroup(click.Group):
    """A group that knows the names and captions of its commands without importing them: help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command if cmd_name in WITHOUT_JSON else with_json(command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and captions; nothing is imported while somebody types."""
        items = [
            CompletionItem(name, help=caption)
            for name, (_, caption) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items if items or not incomplete.startswith("-") else super().shell_complete(ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            ctx.fail(f"no such command {args[0]!r}; the commands are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, caption) for name, (_, caption) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 valid, 1 invalid, 2 wrong usage, 3 unknown, 4 the harness or the environment failed.",
)
@click.version_option(__version__, prog_name="harness")
def app() -> None:
    """Tests whether a distributed database keeps its promises while its network, processes and clocks fail.

    Start with `harness test --workload bank`.
    """


def run(arguments: list[str] | None = None) -> int:
    """Runs the command line and gives its exit code; says what went wrong on stderr."""
    sys.stdout = cast(TextIO, SurvivingOutput(sys.stdout))
    sys.stderr = cast(TextIO, SurvivingOutput(sys.stderr))
    try:
        return _run(arguments)
    finally:
        sys.stdout, sys.stderr = sys.stdout.stream, sys.stderr.stream  # type: ignore[attr-defined]


class SurvivingOutput:
    """A stream that goes on without its reader: `harness test | head` still tests, and its exit code still tells.

    After the first broken pipe what is written goes nowhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Writes, if anybody reads."""
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Flushes, if anybody reads."""
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def _run(arguments: list[str] | None) -> int:
    try:
        # click knows terminals, but not https://no-color.org.
        color = False if os.environ.get("NO_COLOR") else None
        result = app.main(args=arguments, prog_name="harness", standalone_mode=False, color=color)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        return FAILED
    except click.ClickException as error:
        error.show()
        # 1 is click's code for whatever went wrong; here it is kept for a database that broke a promise.
        return error.exit_code if error.exit_code != 1 else FAILED
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        return FAILED
    except Exception as error:  # noqa: BLE001 - whatever it is, it has an exit code and says what it was.
        return explain(error)


OURS = frozenset({"harness", "workloads", "nemesis", "checkers", "results", "reference_db"})
"""The packages of this project."""


def explain(error: Exception) -> int:
    """Prints an error that ended a command and gives its exit code."""
    from harness.environments.environment import EnvironmentFailed
    from harness.scenario import ScenarioError
    from nemesis.cluster import FaultUnavailable
    from results.history import HistoryError
    from results.run_folder import JournalError, RunFolderError

    if isinstance(error, ScenarioError):
        click.echo(f"wrong usage: {error}", err=True)
        return WRONG_USAGE
    if isinstance(error, FaultUnavailable | EnvironmentFailed | RunFolderError | JournalError | HistoryError):
        click.echo(f"failed: {error}", err=True)
        return FAILED
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        where = f" {error.filename}" if error.filename is not None else ""
        click.echo(
            f"failed: cannot write or read{where}: {error.strerror}; make room, or choose another place (--runs-dir)",
            err=True,
        )
        return FAILED
    from harness.run import HarnessContradiction

    if isinstance(error, HarnessContradiction):
        click.secho(f"HARNESS FAILURE: {error}", fg="red", bold=True, err=True)
        return FAILED
    traceback.print_exception(error)
    culprit = of_a_plug_in(error)
    click.echo(
        f"failed: an unexpected {type(error).__name__} in the harness (above); please report it"
        if culprit is None
        else f"failed: {type(error).__name__}: {error}; {culprit} raised it, which is no part of the harness: mend it "
        "there (a session's calls raise Definite, Indefinite or what is taken for it, see docs/plug-in.md)",
        err=True,
    )
    return FAILED


def of_a_plug_in(error: BaseException) -> str | None:
    """Where a plug-in raised this: file and line; None if it was ours. A library counts for who called it."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = str(frame.f_globals.get("__name__", ""))
        package, path = name.partition(".")[0], frame.f_code.co_filename
        if package in OURS:
            return None
        if package not in sys.stdlib_module_names and "-packages" not in path and Path(path).is_file():
            return f"{path}, line {line},"
    return None
