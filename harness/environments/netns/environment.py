"""The environment `netns` itself: which faults it has, and how a cluster comes to be."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from harness.environments.environment import Folder, Progress, SystemUnderTest, name_problems, why_no_ranges
from harness.environments.lacking import LATER, NEED_SIMULATION
from harness.environments.linux.connections import can_break
from harness.environments.netns import hub
from harness.environments.netns.cluster import NetnsCluster
from harness.environments.real_time import RealTime
from nemesis.cluster import CAPABILITIES, Capability

T = TypeVar("T")

RULES = "iptables in the network namespace of the receiving node"
PACKETS = "the packet engine (NFQUEUE) in the network namespace of the receiving node"
SOCKETS = "sockets destroyed by the kernel (ss --kill)"
_MECHANISMS = {
    "cut": RULES,
    "cut_client": RULES,
    "slow": PACKETS,
    "throttle": PACKETS,
    "lose": PACKETS,
    "reset": SOCKETS,
    "half_open": f"{SOCKETS}, with resets dropped",
    "kill": "SIGKILL",
    "terminate": "SIGTERM",
    "pause": "SIGSTOP and SIGCONT",
    "clock": "the clock port of the system (a file that the node reads)",
    "leaders": "the system's own status",
    "ranges": "the system's own clients",
}
"""Capability -> how."""


class NetnsEnvironment(RealTime):
    """Processes in network namespaces of their own; Linux, as root or in a user namespace. It has no options."""

    name = "netns"

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """In the hub, so that clients reach the nodes. Raises EnvironmentFailed where there can be no namespaces."""
        try:
            with hub.hub():
                return super().run(main)
        finally:
            main.close()  # Where it was never begun; else it has ended, and this does nothing.

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Everything that processes and rules can do, but what the system lacks."""
        missing: dict[str, str] = dict.fromkeys(NEED_SIMULATION, LATER)
        del missing["lose"]
        if not can_break():
            missing |= dict.fromkeys(
                ("reset", "half_open"), "the program ss is not installed (package iproute2)"
            )
        if not system.clock_port:
            missing["clock"] = f"{system.name} reads no clock file, and the host's own clock is never touched"
        if "leaders" not in system.supports:
            missing["leaders"] = f"{system.name} does not say who leads; a leader is then chosen at random"
        no_ranges = why_no_ranges(system)
        if no_ranges is not None:
            missing["ranges"] = no_ranges
        return {
            fault: Capability(fault, fault not in missing, _MECHANISMS.get(fault, "none"), missing.get(fault))
            for fault in CAPABILITIES
        }

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role."""
        problems = name_problems(nodes)
        if len(nodes) > hub.MOST_NODES:
            problems.append(f"{len(nodes)} nodes: the network of a run holds at most {hub.MOST_NODES}")
        problems += [f"unknown option {name!r} of environment netns, which has none" for name in options]
        if problems:
            raise ValueError("; ".join(problems))

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> NetnsCluster:
        """See the role. Called on the loop of `run`."""
        self.check_options(options, nodes)
        cluster = NetnsCluster(system, nodes, folder, self.capabilities(system), progress)
        try:
            await cluster.create()
        except BaseException:
            await cluster.destroy()
            raise
        return cluster
