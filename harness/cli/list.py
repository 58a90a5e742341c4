"""`harness list`: workloads, nemeses, systems and environments, and what works with what."""

from __future__ import annotations

import click


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
    click.echo("workloads")
    for name in catalog.WORKLOADS:
        workload = catalog.make_workload(msgspec.structs.replace(scenario, workload=name), Seeds(0))
        click.echo(f"  {name:12} {workload.describe()}")
        click.echo(f"  {'':12} needs: {', '.join(sorted(workload.needs))}")
        runs_on = [
            system_name
            for system_name, system in systems.items()
            if workload.refusal(system.interfaces, system_name) is None
        ]
        click.echo(f"  {'':12} runs on: {', '.join(runs_on) or 'no system'}")
    click.echo("systems")
    for name, system in systems.items():
        click.echo(f"  {name:12} {catalog.CAPTIONS[name]}")
        click.echo(f"  {'':12} offers: {', '.join(sorted(system.interfaces))}")
        defects = getattr(system, "defects", {})
        for defect, about in defects.items():
            click.echo(f"  {'':12} defect {defect}: {about}")
    click.echo("environments and the nemeses that they offer")
    packages = catalog.make_packages()
    for name in catalog.ENVIRONMENTS:
        environment = catalog.make_environment(name)
        click.echo(f"  {name:12} {catalog.CAPTIONS[name]}")
        for system_name, system in systems.items():
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
