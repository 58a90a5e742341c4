"""The environment `ssh` itself: its options, which faults it has, and how a cluster comes to be."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.environments import replacing
from harness.environments.disks import disks
from harness.environments.environment import (
    EnvironmentFailed,
    Folder,
    Progress,
    SystemUnderTest,
    name_problems,
)
from harness.environments.lacking import LATER, NEED_SIMULATION, all_but, system_lacks
from harness.environments.linux import cgroups, names
from harness.environments.linux.faults import CUTS, SHAPES
from harness.environments.process_clocks import VDSO
from harness.environments.real_time import RealTime
from harness.environments.ssh.cluster import SshCluster
from harness.environments.ssh.hosts import MARKER, Login, parse_destination
from nemesis.cluster import Capability

OPTIONS: Mapping[str, str] = {
    "hosts": "where the nodes run: user@host:port of each, separated by commas, one for each node",
    "key": "file of the private key (default: the agent's keys, and the usual files)",
    "known_hosts": "file with the keys of the hosts, which are verified (default: ~/.ssh/known_hosts)",
    "jump": "user@host:port of a host through which the others are reached",
    "sudo": "true: programs are run by sudo -n (default: where a user is not root)",
    "python": "Python of the hosts that has the system's dependencies (default: python3)",
    "directory": "folder on the hosts under which a run keeps its files (default: /var/tmp/multiraft-harness)",
    names.OPTION: "true: nodes are told each other's names, which can then fail to resolve (default: false)",
    "marker": f"file that says that a host may be broken (default: {MARKER})",
}
_MECHANISMS = {
    **{fault: mechanism.replace("namespace", "stack") for fault, mechanism in {**CUTS, **SHAPES}.items()},
    **disks.MECHANISMS,
    **disks.WIPE,
    "names": names.MECHANISM,
    "replace": replacing.MECHANISM,
    "reset": "sockets destroyed by the host's kernel (ss --kill)",
    "kill": "SIGKILL by an agent on the host",
    "terminate": "SIGTERM by an agent on the host",
    "pause": "SIGSTOP and SIGCONT by an agent on the host",
    "clock": "the clock port of the system, a file on the host; never the host's clock",
    "leaders": "the system's own status",
    "ranges": "the system's own clients",
    "members": "the system's own clients",
}


class SshEnvironment(RealTime):
    """Processes on hosts that are reached by SSH."""

    name = "ssh"
    has_names = False

    def with_options(self, options: Mapping[str, Any]) -> SshEnvironment:
        """See `OptionedEnvironment`."""
        made = SshEnvironment(self.seeds.root)
        made.has_names = options.get(names.OPTION) is True
        return made

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """What rules, signals and files of a host can do. Whether it has the programs shows when it is used."""
        missing: dict[str, str] = dict.fromkeys(NEED_SIMULATION, LATER)
        for fault in SHAPES:
            missing.pop(fault, None)
        for fault in (*disks.MECHANISMS, *disks.WIPE):
            missing.pop(fault, None)
        if "memory-only" in system.supports:
            missing |= dict.fromkeys(disks.MECHANISMS, f"{system.name} keeps nothing on a disk")
        missing |= dict.fromkeys(
            cgroups.MECHANISMS, "no mechanism on other hosts; local, netns and docker have it"
        )
        missing["half_open"] = "sockets in both hosts would be needed to prove it; netns and docker have it"
        missing |= names.why_none(self.has_names)
        clock = _MECHANISMS["clock"] if system.clock_port else f"{VDSO}, on its host"
        return all_but(missing | system_lacks(system, None), {**_MECHANISMS, "clock": clock})

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role."""
        problems = name_problems(nodes)
        problems += [
            f"unknown option {name!r} of environment ssh (known: {', '.join(OPTIONS)})"
            for name in sorted(set(options) - set(OPTIONS))
        ]
        texts = _list(options.get("hosts"))
        if len(texts) != len(nodes):
            problems.append(
                f"hosts names {len(texts)} hosts, and there are {len(nodes)} nodes: name one for each, as in "
                "--environment-option hosts=root@10.0.0.1,root@10.0.0.2:2222"
            )
        if len(set(texts)) != len(texts):
            problems.append("hosts: a host has one node, and one of them is named twice")
        for text in [*texts, *([str(options["jump"])] if "jump" in options else [])]:
            try:
                parse_destination(text)
            except ValueError as error:
                problems.append(str(error))
        problems += names.option_problems(options)
        if not isinstance(options.get("sudo", False), bool):
            problems.append(f"sudo {options['sudo']!r}: must be true or false")
        if problems:
            raise ValueError("; ".join(problems))

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> SshCluster:
        """See the role."""
        self.check_options(options, nodes)
        if importlib.util.find_spec("paramiko") is None:
            raise EnvironmentFailed(
                "the environment ssh needs the Python package paramiko: pip install paramiko"
            )
        destinations = [parse_destination(text) for text in _list(options["hosts"])]
        login = Login(
            Path(str(options.get("known_hosts", "~/.ssh/known_hosts"))).expanduser(),
            Path(str(options["key"])).expanduser() if "key" in options else None,
            parse_destination(str(options["jump"])) if "jump" in options else None,
            bool(options.get("sudo", any(one.user != "root" for one in destinations))),
            str(options.get("marker", MARKER)),
        )
        chosen = self.with_options(options)
        cluster = SshCluster(
            system,
            nodes,
            folder,
            chosen.capabilities(system),
            self.seeds,
            progress,
            destinations,
            login,
            str(options.get("python", "python3")),
            str(options.get("directory", "/var/tmp/multiraft-harness")),
            chosen.has_names,
        )
        try:
            await cluster.create()
        except BaseException:
            await cluster.destroy()
            raise
        return cluster


def _list(hosts: Any) -> list[str]:
    return [text.strip() for text in str(hosts).split(",") if text.strip()] if hosts else []
