"""The environment `local` itself: which faults it has, and how a cluster comes to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.environments import replacing
from harness.environments.disks import disks
from harness.environments.environment import (
    CLIENT_PORT,
    PEER,
    Folder,
    Progress,
    SystemUnderTest,
    name_problems,
)
from harness.environments.lacking import (
    LATER,
    NEED_SIMULATION,
    NO_NAMES,
    NO_PACKETS,
    NO_REPLACEMENT,
    all_but,
    system_lacks,
)
from harness.environments.linux import cgroups
from harness.environments.local.cluster import LocalCluster
from harness.environments.local.ports import BLOCK
from harness.environments.process_clocks import mechanism_of
from harness.environments.real_time import RealTime
from nemesis.cluster import Capability

PROXY = "a proxy per directed link"
_MECHANISMS = {
    **disks.MECHANISMS,
    **disks.WIPE,
    **cgroups.MECHANISMS,
    "cut": PROXY,
    "cut_client": PROXY,
    "slow": PROXY,
    "throttle": PROXY,
    "reset": PROXY,
    "half_open": PROXY,
    "replace": replacing.MECHANISM,
    "kill": "SIGKILL",
    "terminate": "SIGTERM",
    "pause": "SIGSTOP and SIGCONT",
    "leaders": "the system's own status",
    "ranges": "the system's own clients",
    "members": "the system's own clients",
}
OPTIONS = ("base_port",)
USUAL_PORTS = len((PEER, CLIENT_PORT))
"""How many ports a node of a usual system has; asked before the system is known."""
LEAST_PORT, LAST_PORT = 1024, 65_535
"""Ports below are the operating system's."""


class LocalEnvironment(RealTime):
    """Processes on 127.0.0.1. Option `base_port`: ports of nodes count up from there instead of being searched."""

    name = "local"

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Everything but what the system lacks."""
        missing: dict[str, str] = dict.fromkeys(NEED_SIMULATION, LATER)
        missing |= dict.fromkeys(("lose", "lose_bursts", "disturb"), NO_PACKETS) | {"names": NO_NAMES}
        if "socks" not in system.supports:
            missing["replace"] = NO_REPLACEMENT
        missing = {
            fault: why
            for fault, why in missing.items()
            if fault not in {**disks.MECHANISMS, **disks.WIPE, **cgroups.MECHANISMS}
        }
        missing |= disks.lacking(system.supports, system.name) | cgroups.lacking()
        clock, why_no_clock = mechanism_of(system, preloads=True)
        return all_but(missing | system_lacks(system, why_no_clock), {**_MECHANISMS, "clock": clock})

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role. Takes a node to have `USUAL_PORTS`."""
        _check(options, nodes, USUAL_PORTS)

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> LocalCluster:
        """See the role."""
        _check(options, nodes, len(system.ports))
        base_port = options.get("base_port")
        cluster = LocalCluster(
            system,
            nodes,
            folder,
            self.capabilities(system),
            base_port,
            self.seeds,
            progress,
        )
        try:
            await cluster.create()
        except BaseException:
            await cluster.destroy()
            raise
        return cluster


def _check(options: Mapping[str, Any], nodes: Sequence[str], ports_per_node: int) -> None:
    """Raises ValueError with everything that is wrong."""
    problems = name_problems(nodes)
    problems += [
        f"unknown option {name!r} of environment local (known: {', '.join(OPTIONS)})"
        for name in sorted(set(options) - set(OPTIONS))
    ]
    needed = len(nodes) * ports_per_node
    needs = f"{len(nodes)} nodes with {ports_per_node} ports each need {needed}"
    base_port = options.get("base_port")
    if base_port is None:
        if needed >= BLOCK:
            problems.append(
                f"{needs} ports, and a block that is searched has {BLOCK - 1}; choose where they begin with base_port"
            )
    elif not isinstance(base_port, int) or isinstance(base_port, bool):
        problems.append(f"base_port {base_port!r}: must be a whole number, {LEAST_PORT} to {LAST_PORT}")
    elif not LEAST_PORT <= base_port <= LAST_PORT:
        problems.append(f"base_port {base_port}: must be {LEAST_PORT} to {LAST_PORT}")
    elif base_port + needed - 1 > LAST_PORT:
        problems.append(
            f"base_port {base_port}: {needs} from there, and the last port is {LAST_PORT};"
            f" use {LAST_PORT - needed + 1} or less"
        )
    if problems:
        raise ValueError("; ".join(problems))
