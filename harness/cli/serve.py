"""`harness serve`: all runs of a results folder in a browser, on this machine only."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click


@click.command(name="serve")
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="127.0.0.1 or ::1; others are refused.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one."
)
def command(runs_dir: Path, host: str, port: int) -> int:
    """Serve all runs of a results folder: an index to search and sort, reports, comparisons, trends over commits.

    Only for this machine, and reading only. A run in progress has a page that keeps up with it. Ctrl-C ends it.
    """
    from harness.environments.environment import EnvironmentFailed
    from harness.scenario import ScenarioError
    from results.report.server import Server

    if not runs_dir.is_dir():
        raise ScenarioError(f"--runs-dir {runs_dir}: there is no such folder; `harness test` makes one")
    try:
        server = Server(runs_dir, host, port, lambda text: click.echo(text, err=True))
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    except OSError as error:
        raise EnvironmentFailed(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port (0: a free one)"
        ) from error
    click.echo(f"{server.address} serves {len(server.site.index.lines())} runs of {runs_dir}; Ctrl-C ends it")

    def on_signal(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("ended", err=True)
    finally:
        signal.signal(signal.SIGTERM, before)
        server.server_close()
    return 0
