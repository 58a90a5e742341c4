"""The environment `local` itself: which faults it has, and how a cluster comes to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.environments.environment import Folder, Progress, SystemUnderTest
from harness.environments.local.cluster import LocalCluster
from nemesis.cluster import CAPABILITIES, Capability

PROXY = "a proxy per directed link"
_MECHANISMS = {
    "cut": PROXY,
    "cut_client": PROXY,
    "slow": PROXY,
    "throttle": PROXY,
    "reset": PROXY,
    "half_open": PROXY,
    "kill": "SIGKILL",
    "terminate": "SIGTERM",
    "pause": "SIGSTOP and SIGCONT",
    "clock": "the clock port of the system (a file that the node reads)",
    "leaders": "the system's own status",
}
OPTIONS = ("base_port",)


class LocalEnvironment:
    """Processes on 127.0.0.1. Option `base_port`: ports of nodes count up from there instead of being searched."""

    name = "local"

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Everything but what the system lacks."""
        missing: dict[str, str] = {}
        if not system.clock_port:
            missing["clock"] = f"{system.name} reads no clock file, and the host's own clock is never touched"
        if "leaders" not in system.supports:
            missing["leaders"] = f"{system.name} does not say who leads; a leader is then chosen at random"
        return {
            fault: Capability(fault, fault not in missing, _MECHANISMS[fault], missing.get(fault))
            for fault in CAPABILITIES
        }

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> LocalCluster:
        """See the role. Raises ValueError for nodes or options that make no sense."""
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise ValueError(
                f"unknown options of environment local: {', '.join(unknown)}; known: {', '.join(OPTIONS)}"
            )
        if not nodes or len(set(nodes)) != len(nodes) or "client" in nodes:
            raise ValueError(f"nodes {list(nodes)}: must be unique names, at least one, and none is 'client'")
        base_port = options.get("base_port")
        cluster = LocalCluster(
            system,
            nodes,
            folder,
            self.capabilities(system),
            None if base_port is None else int(base_port),
            progress,
        )
        try:
            await cluster.create()
        except BaseException:
            await cluster.destroy()
            raise
        return cluster
