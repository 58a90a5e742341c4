"""`harness shrink`: make a failing run as small as it can be while the same anomaly stays."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import names

UNKNOWN_EXIT = 3
REPRODUCED_EXIT = 1


@click.command(name="shrink")
@click.argument("run", default="latest", shell_complete=names.runs)
@click.option(
    "--anomaly",
    default=None,
    metavar="TYPE",
    help="Which anomaly has to stay: a type, a checker, or checker:type.  [default: the first of the verdict]",
)
@click.option(
    "--budget",
    default="5m",
    show_default=True,
    metavar="T|Nruns",
    help="Longest search: 90s, 5m, 1h, or a number of runs such as 200runs.",
)
@click.option(
    "--confirm",
    default=None,
    metavar="N/M",
    help="A smaller run counts if the anomaly shows in N of at most M runs of it; in simulation each with another seed."
    "  [default: 1/3 in simulation, 2/3 elsewhere]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    default=None,
    metavar="N",
    help="Runs at a time.  [default: all cores in simulation, 1 elsewhere]",
)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(
    run: str, anomaly: str | None, budget: str, confirm: str | None, jobs: int | None, runs_dir: Path
) -> int:
    """Make RUN (a run folder, or `latest`) smaller: fewer and narrower faults, a shorter run, fewer clients,
    operations, nodes and ranges, as long as the same anomaly of the same checker stays.

    The result is a new run folder, with a page that shows before and after (shrink.html). Ctrl-C keeps what was found
    so far.

    Exit code 1: the anomaly was seen again. 3: it was not. 2: there is nothing to shrink.
    """
    from harness.cli.shrinking import shrink_run

    return shrink_run(run, runs_dir, anomaly=anomaly, budget=budget, confirm=confirm, jobs=jobs)
