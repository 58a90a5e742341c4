"""`harness verify-system`: whether the sessions of a system are honest, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from harness.cli.check import finite

FAILED, INVALID = 4, 1
COLOURS = {"pass": "green", "FAIL": "red", "not tried": "yellow"}


@click.command(name="verify-system")
@click.argument("name")
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True, help="How many nodes.")
@click.option(
    "--system-option",
    "system_option",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of the system.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0.05),
    callback=finite,
    default=1.5,
    show_default=True,
    metavar="S",
    help="A call is given up after so many seconds.",
)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where the nodes' data and logs are kept.",
)
def command(name: str, nodes: int, system_option: tuple[str, ...], patience: float, runs_dir: Path) -> int:
    """Prove that the sessions of a system say of each call what became of it.

    Starts a cluster on loopback, makes every call that the sessions offer, loses its request or its reply, and asks the
    database what is true. Then: refused connections, restarts, sessions closed in mid-call, what is left behind.

    Exit code 0: honest. 1: a case failed; each says what to mend. 4: the cluster did not come up, or a case could not
    be tried.
    """
    from harness.catalog import make_environment, make_system
    from harness.cli.answer import tell
    from harness.conformance.kit import Case
    from harness.scenario import Scenario, ScenarioError, parse_options
    from harness.seeds import Seeds
    from results.run_folder import RunFolder

    scenario = Scenario(
        seed=0,
        workload="register",
        system=name,
        nodes=nodes,
        replication=min(3, nodes),
        system_options=parse_options(system_option, "system option"),
    )
    system = make_system(scenario, Seeds(0))
    if system.environments is not None and "local" not in system.environments:
        raise ScenarioError(
            f"{system.name} cannot run as processes on loopback (it runs in {', '.join(sorted(system.environments))}); "
            "the kit needs real connections"
        )
    folder = RunFolder.create(runs_dir, f"verify-{system.name}")
    click.echo(f"{system.name}: {nodes} nodes on loopback; data and logs: {folder.path}")
    cases: list[Case] = []

    def show(case: Case) -> None:
        cases.append(case)
        mark = click.style(f"{case.outcome:9}", fg=COLOURS[case.outcome])
        click.echo(f"{mark}  {case.name}: {case.text}")
        if case.outcome == "FAIL" and case.mend:
            click.echo(f"{'':9}  to mend it: {case.mend}")

    environment = make_environment("local")
    with tempfile.TemporaryDirectory(prefix="verify-") as temporary:
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = temporary  # For the nodes: what they leave there is seen.
        try:
            environment.run(
                _examined(environment, system, scenario.node_names, folder, show, patience, temporary)
            )
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
    failed = [case for case in cases if case.outcome == "FAIL"]
    untried = [case for case in cases if case.outcome == "not tried"]
    tell(cases=cases, honest=not failed)
    click.echo(
        f"{len(cases)} cases: {len(cases) - len(failed) - len(untried)} passed, {len(failed)} failed",
        nl=False,
    )
    click.echo(f", {len(untried)} could not be tried" if untried else "")
    return INVALID if failed else FAILED if untried else 0


async def _examined(
    environment: Any,
    system: Any,
    names: list[str],
    folder: Any,
    show: Any,
    patience: float,
    temporary: str,
) -> None:
    """Starts a cluster, examines it, ends it, and looks at what is left."""
    from harness.conformance.kit import Kit, left_behind, orphans
    from harness.run import READY_TIMEOUT_S

    cluster = await environment.create_cluster(system, names, folder, {}, click.echo)
    try:
        await cluster.start_all()
        await cluster.wait_ready(READY_TIMEOUT_S)
        listening = [address for name in names for address in cluster.direct_address(name).values()]
        kit = Kit(system, cluster, show, patience)
        failure = asyncio.ensure_future(cluster.wait_for_failure())
        examining = asyncio.ensure_future(kit.examine())
        try:
            await asyncio.wait({failure, examining}, return_when=asyncio.FIRST_COMPLETED)
            if not examining.done():
                from harness.environments.environment import EnvironmentFailed

                raise EnvironmentFailed(failure.result())
            examining.result()
            show(await orphans(cluster, cluster.ledger.header.token))
        finally:
            for task in (failure, examining):
                task.cancel()
    finally:
        await cluster.destroy()
    for case in left_behind(listening, Path(temporary)):
        show(case)
