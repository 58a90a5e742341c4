"""`harness list`: workloads, nemeses, systems and environments, and what works with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.systems.system import System
    from workloads.workload import Workload


@click.command(name="list")
def command() -> int:
    """Show what there is, and what works with what on this machine."""
    import msgspec

    from harness import catalog
    from harness.scenario import Scenario
    from harness.seeds import Seeds
    from nemesis.package import why_not
    from nemesis.schedule import NAMES, Request

    scenario = Scenario(seed=0, workload="bank")
    systems = {
        name: catalog.make_system(msgspec.structs.replace(scenario, system=name), Seeds(0))
        for name in catalog.SYSTEMS
    }
    workloads: dict[str, Workload] = {}
    click.echo("workloads")
    for name in catalog.WORKLOADS:
        workload = catalog.make_workload(msgspec.structs.replace(scenario, workload=name), Seeds(0))
        click.echo(f"  {name:12} {workload.describe()}")
        click.echo(f"  {'':12} needs: {', '.join(sorted(workload.needs))}")
        for option, about in workload.known_options.items():
            click.echo(f"  {'':12} option {option}={about.default}: {about.caption}")
        workloads[name] = workload
    click.echo("which workload runs on which system")
    width = max(map(len, workloads))
    for name, workload in workloads.items():
        for at, (system_name, system) in enumerate(systems.items()):
            click.echo(f"  {name if at == 0 else '':{width}} {system_name:12} {_fits(workload, system)}")
    click.echo("systems")
    for name, system in systems.items():
        click.echo(f"  {name:12} {catalog.CAPTIONS[name]}")
        click.echo(f"  {'':12} offers: {', '.join(sorted(system.interfaces))}")
        defects = getattr(system, "defects", {})
        for defect, about in defects.items():
            click.echo(f"  {'':12} defect {defect}: {about}")
        for misbehaviour, about in getattr(system, "misbehaviours", {}).items():
            click.echo(f"  {'':12} option misbehave={misbehaviour}: {about}")
        if system.environments is not None:
            click.echo(f"  {'':12} runs in: {', '.join(sorted(system.environments))}")
    click.echo("environments and the nemeses that they offer")
    packages = catalog.make_packages()
    for name in catalog.ENVIRONMENTS:
        environment = catalog.make_environment(name)
        click.echo(f"  {name:12} {catalog.CAPTIONS[name]}")
        for system_name, system in systems.items():
            if system.environments is not None and name not in system.environments:
                continue
            capabilities = environment.capabilities(system)
            for fault in NAMES:
                if fault not in packages:
                    continue
                package = packages[fault]
                reason = why_not(Request(fault), packages, capabilities, scenario.node_names)
                if reason is not None:
                    click.echo(f"  {'':12} {system_name}: {fault}: not here: {reason}")
                    continue
                lacking = {}
                for shape in package.shapes:
                    reason = why_not(Request(fault, shape), packages, capabilities, scenario.node_names)
                    if reason is not None:
                        lacking[shape] = reason
                needs = [need for need in package.needs(None) if need in capabilities]
                mechanisms = sorted({capabilities[need].mechanism for need in needs})
                there = ", ".join(shape for shape in package.shapes if shape not in lacking)
                shapes = f" (shapes: {there})" if there else ""
                click.echo(f"  {'':12} {system_name}: {fault}{shapes}: {'; '.join(mechanisms)}")
                for shape, reason in lacking.items():
                    click.echo(f"  {'':12} {system_name}: {fault}:{shape}: not here: {reason}")
    not_yet = [fault for fault in NAMES if fault not in packages]
    click.echo(f"named, but injected by no environment in this version: {', '.join(not_yet)}")
    return 0


def _fits(workload: Workload, system: System) -> str:
    """Whether and how this workload runs on this system, in a few words."""
    if workload.refusal(system.interfaces, system.name) is not None:
        return f"refused: it does not offer {', '.join(sorted(workload.needs - system.interfaces))}"
    built = workload.built(system.interfaces)
    return f"runs, with {', '.join(sorted(built))} built on its transactions" if built else "runs"
