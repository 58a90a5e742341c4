"""`harness doctor`: what this machine can do for the harness, why not, and what would mend it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

FAILED = 4


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
@click.option("--require", metavar="NAME,...", help="Exit code 4 if one of these parts is missing.")
def command(as_json: bool, require: str | None) -> int:
    """Examine this machine: every part that the harness can use, and every fault in every environment.

    Parts are probed by doing a small piece of what they are for, in namespaces that vanish again. Exit code 0 whatever
    is missing; with --require 4 if one of those is.
    """
    from harness.environments.examination import PARTS, examine

    wanted = [name.strip() for name in (require or "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in {part.name for part in PARTS}]
    if unknown:
        raise click.UsageError(
            f"--require {', '.join(unknown)}: there is no such part; there are {', '.join(part.name for part in PARTS)}"
        )
    found = examine()
    faults = _faults({one.name: one.says for one in found if not one.ok})
    missing = [one for one in found if one.name in wanted and not one.ok]
    if as_json:
        document = {
            "parts": [asdict(one) for one in found],
            "faults": faults,
            "missing": [one.name for one in missing],
        }
        click.echo(json.dumps(document, indent=2))
        return FAILED if missing else 0
    width = max(len(one.name) for one in found)
    for one in found:
        mark = click.style("yes", fg="green") if one.ok else click.style("no ", fg="yellow")
        click.echo(f"{mark}  {one.name:{width}}  {one.purpose}: {one.says}")
        if not one.ok and one.fix is not None:
            click.echo(f"     {'':{width}}  to mend it: {one.fix}")
    click.echo("\nfaults of the reference database, by environment (harness list has the shapes)")
    for environment, by_fault in faults.items():
        there = [fault for fault, reason in by_fault.items() if reason is None]
        click.echo(f"  {environment}: {', '.join(there) or 'not available here, see above'}")
        for fault, reason in by_fault.items():
            if reason is not None and there:
                click.echo(f"    not {fault}: {reason}")
    for one in missing:
        click.secho(f"required, and missing: {one.name}: {one.says}", fg="red", err=True)
    return FAILED if missing else 0


def _faults(missing: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Environment -> fault -> why it is not there, or None; `missing` says why whole environments are not."""
    import msgspec

    from harness import catalog
    from harness.scenario import Scenario
    from harness.seeds import Seeds
    from nemesis.package import why_not
    from nemesis.schedule import NAMES, Request

    scenario = Scenario(seed=0, workload="bank")
    system = catalog.make_system(msgspec.structs.replace(scenario, system="reference-db"), Seeds(0))
    packages = catalog.make_packages()
    found: dict[str, dict[str, Any]] = {}
    for name in catalog.ENVIRONMENTS:
        capabilities = catalog.make_environment(name).capabilities(system)
        found[name] = {
            fault: f"{name} is not available here"
            if name in missing
            else why_not(Request(fault), packages, capabilities, scenario.node_names)
            for fault in NAMES
            if fault in packages
        }
    return found
