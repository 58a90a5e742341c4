"""The environment `netns` itself: which faults it has, and how a cluster comes to be."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from harness.environments import replacing
from harness.environments.disks import disks
from harness.environments.environment import Folder, Progress, SystemUnderTest, name_problems
from harness.environments.lacking import LATER, NEED_SIMULATION, all_but, system_lacks
from harness.environments.linux import cgroups, names
from harness.environments.linux.faults import (
    BREAKS,
    CUTS,
    SHAPES,
    shape_mechanisms,
    why_no_breaks,
    why_no_packets,
)
from harness.environments.netns import hub
from harness.environments.netns.cluster import NetnsCluster
from harness.environments.process_clocks import mechanism_of
from harness.environments.real_time import RealTime
from nemesis.cluster import Capability

T = TypeVar("T")

_MECHANISMS = {
    **disks.MECHANISMS,
    **disks.WIPE,
    **cgroups.MECHANISMS,
    **CUTS,
    **SHAPES,
    **BREAKS,
    "names": names.MECHANISM,
    "replace": replacing.MECHANISM,
    "kill": "SIGKILL",
    "terminate": "SIGTERM",
    "pause": "SIGSTOP and SIGCONT",
    "leaders": "the system's own status",
    "ranges": "the system's own clients",
    "members": "the system's own clients",
}
"""Capability -> how."""


class NetnsEnvironment(RealTime):
    """Processes in network namespaces of their own; Linux, as root or in a user namespace.

    Option `names`: the nodes are told each other's names instead of addresses, so that lookups can fail.
    """

    name = "netns"
    has_names = False

    def with_options(self, options: Mapping[str, Any]) -> NetnsEnvironment:
        """See `OptionedEnvironment`."""
        made = NetnsEnvironment(self.seeds.root)
        made.has_names = options.get(names.OPTION) is True
        return made

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
        for fault in SHAPES:
            missing.pop(fault, None)
        missing |= why_no_breaks() | why_no_packets() | names.why_none(self.has_names)
        missing = {
            fault: why
            for fault, why in missing.items()
            if fault not in {**disks.MECHANISMS, **disks.WIPE, **cgroups.MECHANISMS}
        }
        missing |= disks.lacking(system.supports, system.name) | cgroups.lacking()
        clock, why_no_clock = mechanism_of(system, preloads=True)
        mechanisms = {**_MECHANISMS, **shape_mechanisms(), "clock": clock}
        return all_but(missing | system_lacks(system, why_no_clock), mechanisms)

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role."""
        problems = name_problems(nodes)
        if len(nodes) > hub.MOST_NODES:
            problems.append(f"{len(nodes)} nodes: the network of a run holds at most {hub.MOST_NODES}")
        problems += [
            f"unknown option {name!r} of environment netns (known: {names.OPTION})"
            for name in options
            if name != names.OPTION
        ]
        problems += names.option_problems(options)
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
        chosen = self.with_options(options)
        cluster = NetnsCluster(
            system, nodes, folder, chosen.capabilities(system), self.seeds, progress, chosen.has_names
        )
        try:
            await cluster.create()
        except BaseException:
            await cluster.destroy()
            raise
        return cluster
