"""`harness list`: workloads, nemeses, systems and environments, and what works with what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.systems.system import System
    from workloads.workload import Workload

T = TypeVar("T")


@click.command(name="list")
def command() -> int:
    """Show what there is, and what works with what on this machine."""
    import msgspec

    from harness import catalog
    from harness.cli.answer import tell
    from harness.scenario import Scenario, ScenarioError
    from harness.seeds import Seeds
    from nemesis.package import why_not
    from nemesis.schedule import NAMES, Request

    scenario = Scenario(seed=0, workload="bank")
    plugged = {kind: catalog.plug_ins(kind) for kind in ("system", "workload", "nemesis", "checker")}
    broken: list[str] = []

    def made(kind: str, name: str, make: Callable[[], T]) -> T | None:
        """One that cannot be made is told of at the end; the others are shown."""
        try:
            return make()
        except ScenarioError as error:
            if name not in plugged[kind]:
                raise
            broken.append(str(error))
            return None

    systems: dict[str, System] = {}
    for name in (*catalog.SYSTEMS, *plugged["system"]):
        named = msgspec.structs.replace(scenario, system=name)
        system = made("system", name, partial(catalog.make_system, named, Seeds(0)))
        if system is not None:
            systems[name] = system
    workloads: dict[str, Workload] = {}
    offered: dict[str, dict[str, dict[str, Any]]] = {}
    """By environment and system: each fault with its shapes, or the reason why not."""
    click.echo("workloads")
    for name in (*catalog.WORKLOADS, *plugged["workload"]):
        named = msgspec.structs.replace(scenario, workload=name)
        workload = made("workload", name, partial(catalog.make_workload, named, Seeds(0)))
        if workload is None:
            continue
        click.echo(f"  {name:12} {workload.describe()}")
        if name in plugged["workload"]:
            click.echo(f"  {'':12} plug-in: {plugged['workload'][name]}")
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
        click.echo(f"  {name:12} {catalog.CAPTIONS.get(name) or _first_line(system)}")
        if name in plugged["system"]:
            click.echo(f"  {'':12} plug-in: {plugged['system'][name]}")
        click.echo(f"  {'':12} offers: {', '.join(sorted(system.interfaces))}")
        defects = getattr(system, "defects", {})
        for defect, about in defects.items():
            click.echo(f"  {'':12} defect {defect}: {about}")
        for misbehaviour, about in getattr(system, "misbehaviours", {}).items():
            click.echo(f"  {'':12} option misbehave={misbehaviour}: {about}")
        for option, setting in getattr(system, "known_settings", {}).items():
            choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
            click.echo(f"  {'':12} option {option}={setting.default}: {setting.caption}{choices}")
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
            faults = offered.setdefault(name, {}).setdefault(system_name, {})
            for fault in NAMES:
                package = packages[fault]
                reason = why_not(Request(fault), packages, capabilities, scenario.node_names)
                if reason is not None:
                    faults[fault] = {"available": False, "reason": reason}
                    click.echo(f"  {'':12} {system_name}: {fault}: not here: {reason}")
                    continue
                lacking = {}
                for shape in package.shapes:
                    reason = why_not(Request(fault, shape), packages, capabilities, scenario.node_names)
                    if reason is not None:
                        lacking[shape] = reason
                needs = [need for need in package.needs(None) if need in capabilities]
                mechanisms = sorted({capabilities[need].mechanism for need in needs})
                there = [shape for shape in package.shapes if shape not in lacking]
                faults[fault] = {
                    "available": True,
                    "shapes": there,
                    "lacking": lacking,
                    "mechanisms": mechanisms,
                }
                shapes = f" (shapes: {', '.join(there)})" if there else ""
                click.echo(f"  {'':12} {system_name}: {fault}{shapes}: {'; '.join(mechanisms)}")
                for shape, reason in lacking.items():
                    click.echo(f"  {'':12} {system_name}: {fault}:{shape}: not here: {reason}")
    tell(
        workloads={
            name: {
                "caption": workload.describe(),
                "needs": sorted(workload.needs),
                "options": {
                    option: {"default": about.default, "caption": about.caption}
                    for option, about in workload.known_options.items()
                },
                "systems": {system_name: _fits(workload, system) for system_name, system in systems.items()},
            }
            for name, workload in workloads.items()
        },
        systems={
            name: {
                "offers": sorted(system.interfaces),
                "defects": getattr(system, "defects", {}),
                "misbehaviours": getattr(system, "misbehaviours", {}),
            }
            for name, system in systems.items()
        },
        environments=offered,
        plug_ins=plugged,
        broken=broken,
    )
    for kind, title in (("nemesis", "nemeses of plug-ins"), ("checker", "checkers of plug-ins")):
        if plugged[kind]:
            click.echo(title)
        for name, source in plugged[kind].items():
            click.echo(f"  {name:12} plug-in: {source}")
    for sentence in broken:
        click.echo(f"cannot be used: {sentence}", err=True)
    return 0


def _first_line(thing: object) -> str:
    """What a page says about itself."""
    return (type(thing).__doc__ or "").strip().split("\n")[0] or "it says nothing about itself"


def _fits(workload: Workload, system: System) -> str:
    """Whether and how this workload runs on this system, in a few words."""
    if workload.refusal(system.interfaces, system.name) is not None:
        return f"refused: it does not offer {', '.join(sorted(workload.needs - system.interfaces))}"
    built = workload.built(system.interfaces)
    return f"runs, with {', '.join(sorted(built))} built on its transactions" if built else "runs"
