"""`harness init`: a project that tests a database of one's own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="init")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where it goes; by default a folder of that name, here.",
)
def command(name: str, folder: Path | None) -> int:
    """Make a project that tests a database of your own: a system, a session, tests, a plan for CI, a README.

    It works at once, on a toy database that is part of it and that you replace with yours.
    """
    from harness.cli.answer import tell
    from harness.scaffold.new_project import make_project
    from harness.scenario import ScenarioError

    target = folder or Path(name)
    try:
        made = make_project(name, target)
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    for path in made:
        click.echo(f"made {path}")
    package = name.replace("-", "_")
    reference = f"{package}.system:{''.join(part.capitalize() for part in name.split('-'))}"
    tell(folder=target, files=made, system=reference)
    click.echo(
        f"try it: cd {target} && harness test --system {reference} --workload register --time-limit 10\n"
        f"then read {target / 'README.md'}, and make {target / package / 'system.py'} launch your database"
    )
    return 0
