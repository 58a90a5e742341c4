"""The environment `docker`: makes the image, the networks and the containers of a run, and hands over the cluster.

Containers have no privileges: every capability of the kernel is dropped, they run as the user who runs the harness,
with limits on memory and processes. Only where that user cannot enter their namespaces from outside do they get
NET_ADMIN, which concerns their own namespace alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.environments import replacing
from harness.environments.clock_file import REAL_TIME, write_clock
from harness.environments.disks import disks
from harness.environments.docker.cluster import DockerCluster
from harness.environments.docker.engine import (
    NODE_LABEL,
    Engine,
    EngineRefused,
    connect,
    labels,
    run_key,
)
from harness.environments.docker.image import (
    command_in_image,
    command_in_other_image,
    ensure_image,
    make_recipe,
)
from harness.environments.docker.network import MOST_NODES, AddressPlan, candidate_plans, host_networks
from harness.environments.docker.node import (
    CLOCK_FILE,
    DATA,
    ENTRY,
    FIRST_PORT,
    GATE,
    IN_CONTAINER,
    LOG,
    Node,
)
from harness.environments.environment import (
    Addresses,
    EnvironmentFailed,
    Folder,
    Launch,
    NodePlan,
    Progress,
    SystemUnderTest,
    name_problems,
    without_ranges,
)
from harness.environments.lacking import LATER, NEED_SIMULATION, system_lacks
from harness.environments.ledger import Ledger
from harness.environments.linux import cgroups, names
from harness.environments.linux.faults import BREAKS, SHAPES, shape_mechanisms, why_no_breaks, why_no_packets
from harness.environments.linux.namespace import may_enter_namespaces
from harness.environments.process_clocks import mechanism_of
from harness.environments.real_time import RealTime
from nemesis.cluster import CAPABILITIES, Capability

if TYPE_CHECKING:
    from harness.environments.docker.attached import AttachedEnvironment

BASE_VARIABLE = "HARNESS_DOCKER_BASE"
NETWORK_TRIES = 20
LEAST_MEMORY_MB = 16
RESOLVER_FILE = "resolv.conf"
NOBODY = 65_534
"""User and group of a container whose system will not be root; Debian knows it by name."""

OPTIONS: Mapping[str, str] = {
    "base_image": f"image on which the system's image is built (default: {BASE_VARIABLE}, else the Dockerfile's)",
    "image": "ready image to run instead of building one",
    "memory_mb": "memory of a container in megabytes (default 1024)",
    "processes": "most processes and threads of a container (default 1024)",
    "enter_namespaces": "false: never act from outside, always by the engine's exec (default: true for root)",
    names.OPTION: "true: nodes are told each other's names, which can then fail to resolve (default: false)",
}
"""What `create_cluster` takes as options."""


class DockerEnvironment(RealTime):
    """Implements `Environment` with one container per node, on an engine of this machine."""

    name = "docker"
    has_names = False

    def with_options(self, options: Mapping[str, Any]) -> DockerEnvironment | AttachedEnvironment:
        """See `OptionedEnvironment`: with `attach` the containers are those of somebody else."""
        from harness.environments.docker.attached import AttachedEnvironment

        if "attach" not in options:
            if options.get(names.OPTION) is not True:
                return self
            made = DockerEnvironment(self.seeds.root)
            made.has_names = True
            return made
        return AttachedEnvironment(options.get("control") is not False, self.seeds.root)

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Which faults there are, known without asking an engine (`create_cluster` does that)."""
        return capabilities_of(system, may_enter_namespaces(), self.has_names)

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role. Asks no engine."""
        _validated(options, nodes)

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> DockerCluster:
        """Image, networks and containers, none of them started. Raises EnvironmentFailed, and then has cleaned up.

        Raises ValueError for what `check_options` refuses.
        """
        say = progress or (lambda _sentence: None)
        chosen = _validated(options, nodes)
        _check_platform()
        engine = await asyncio.to_thread(connect)
        try:
            ledger = Ledger.create(folder.ledger_path, self.name)
        except BaseException:
            engine.close()
            raise
        key = run_key(ledger.header.token)
        try:
            return await self._create(engine, ledger, key, system, list(nodes), folder, chosen, say)
        except BaseException:
            await _clean_up(engine, ledger, key)
            raise

    async def _create(
        self,
        engine: Engine,
        ledger: Ledger,
        key: str,
        system: SystemUnderTest,
        nodes: list[str],
        folder: Folder,
        options: Mapping[str, Any],
        say: Progress,
    ) -> DockerCluster:
        enters = may_enter_namespaces() and options["enter_namespaces"]
        ledger.intend("network", run=key)
        belonging = labels(key, str(folder.path.resolve()))
        image = options["image"] or await ensure_image(
            engine, make_recipe(system, _example_launch(system, nodes), options["base_image"]), belonging, say
        )
        say("creating networks and containers")
        addresses = await _create_networks(engine, key, nodes, belonging)
        made = await asyncio.gather(
            *(
                _create_node(
                    engine, ledger, key, system, name, addresses, folder, image, belonging, options, enters
                )
                for name in nodes
            ),
            return_exceptions=True,
        )
        failures = [one for one in made if isinstance(one, BaseException)]
        if failures:
            raise failures[0]
        return DockerCluster(
            engine,
            system,
            key,
            addresses,
            [one for one in made if isinstance(one, Node)],
            folder.path.resolve(),
            ledger,
            capabilities_of(system, enters, options[names.OPTION]),
            enters,
            system.clock_port,
            self.seeds,
            has_names=options[names.OPTION],
            progress=say,
        )


def capabilities_of(system: SystemUnderTest, enters: bool, has_names: bool = False) -> dict[str, Capability]:
    """By name. `enters`: whether this process acts from outside in the containers' namespaces; `has_names`: whether the
    nodes are told each other's names."""
    way = "from outside (nsenter)" if enters else "by the engine's exec, with NET_ADMIN"
    rules = f"iptables in the network namespace of the receiving container, {way}"
    available = {
        "cut": rules,
        "cut_client": rules,
        "kill": "SIGKILL by the engine",
        "terminate": "SIGTERM by the engine",
        "pause": "the freezer of the container's cgroup",
    }
    found = {name: Capability(name, True, mechanism) for name, mechanism in available.items()}
    found |= {name: Capability(name, False, "none", LATER) for name in NEED_SIMULATION}
    lacking = disks.lacking(system.supports, system.name)
    for name, mechanism in disks.MECHANISMS.items():
        found[name] = Capability(name, name not in lacking, mechanism, lacking.get(name))
    found |= {name: Capability(name, True, mechanism) for name, mechanism in disks.WIPE.items()}
    without = cgroups.lacking()
    for name, mechanism in cgroups.MECHANISMS.items():
        found[name] = Capability(name, name not in without, mechanism, without.get(name))
    outside = "packets are shaped from outside of the containers, as root with nsenter; --environment local can do it"
    missing = why_no_breaks() | why_no_packets() if enters else dict.fromkeys((*SHAPES, *BREAKS), outside)
    for name, mechanism in {**shape_mechanisms(), **BREAKS}.items():
        found[name] = Capability(name, name not in missing, mechanism, missing.get(name))
    found["names"] = Capability(
        "names", has_names, names.MECHANISM if has_names else "none", names.why_none(has_names).get("names")
    )
    why_no_member = system_lacks(system, None).get("replace")
    how = replacing.MECHANISM if why_no_member is None else "none"
    found["replace"] = Capability("replace", why_no_member is None, how, why_no_member)
    clock, why_no_clock = mechanism_of(system)
    if not (system.clock_port or enters):
        why_no_clock = f"{system.name} reads no clock file, and its processes are out of reach without root"
    how = clock if why_no_clock is None else "none"
    found["clock"] = Capability("clock", why_no_clock is None, how, why_no_clock)
    if "leaders" in system.supports:
        found["leaders"] = Capability("leaders", True, "asked from the nodes")
    else:
        found["leaders"] = Capability("leaders", False, "none", f"{system.name} cannot name its leaders")
    lacking = without_ranges(system)
    for name in ("ranges", "members"):
        how = "none" if name in lacking else "the system's own clients"
        found[name] = Capability(name, name not in lacking, how, lacking.get(name))
    return {name: found[name] for name in CAPABILITIES if name in found}


def _check_platform() -> None:
    if sys.platform != "linux":
        raise EnvironmentFailed(
            f"the environment docker needs Linux, this is {sys.platform}: containers run in a virtual machine "
            "here, whose networks and processes are out of reach. Use --environment local, or run the harness on Linux"
        )


def _validated(options: Mapping[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
    """All options with their values. Raises ValueError with all problems."""
    chosen: dict[str, Any] = {
        "base_image": os.environ.get(BASE_VARIABLE),
        "image": None,
        "memory_mb": 1024,
        "processes": 1024,
        "enter_namespaces": True,
        names.OPTION: False,
    }
    problems = name_problems(nodes)
    if len(nodes) > MOST_NODES:
        problems.append(f"{len(nodes)} nodes: a run's network holds at most {MOST_NODES}")
    for name, value in options.items():
        known = name.replace("-", "_")
        if known not in chosen:
            problems.append(f"unknown option {name!r} of environment docker (known: {', '.join(OPTIONS)})")
        else:
            chosen[known] = value
    for name, least in (("memory_mb", LEAST_MEMORY_MB), ("processes", 8)):
        value = chosen[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            problems.append(f"{name} {value!r}: must be a whole number, at least {least}")
    for name in ("base_image", "image"):
        if chosen[name] is not None and not (isinstance(chosen[name], str) and chosen[name]):
            problems.append(f"{name} {chosen[name]!r}: must be the name of an image")
    problems += names.option_problems(chosen)
    if not isinstance(chosen["enter_namespaces"], bool):
        problems.append(f"enter_namespaces {chosen['enter_namespaces']!r}: must be true or false")
    if problems:
        raise ValueError("; ".join(problems))
    return chosen


def _listen(system: SystemUnderTest, host: str) -> Addresses:
    return {port: (host, FIRST_PORT + number) for number, port in enumerate(system.ports)}


def _plan(
    system: SystemUnderTest,
    name: str,
    nodes: Sequence[str],
    addresses: AddressPlan | None,
    has_names: bool = False,
) -> NodePlan:
    """Where a node lives. It listens on all its addresses: it is dialled on one network and asked on the other."""

    def reach(other: str) -> Addresses:
        if has_names:
            return _listen(system, other)
        return _listen(system, addresses.data_address(other) if addresses else "0.0.0.0")

    return NodePlan(
        name=name,
        index=list(nodes).index(name),
        data_dir=Path(IN_CONTAINER / DATA),
        log_path=Path(IN_CONTAINER / LOG),
        listen=_listen(system, "0.0.0.0"),
        reach={other: reach(other) for other in nodes if other != name},
        clock_file=Path(IN_CONTAINER / CLOCK_FILE) if system.clock_port else None,
        advertise=reach(name),
    )


def _example_launch(system: SystemUnderTest, nodes: Sequence[str]) -> Launch:
    """A launch before there are addresses: what kind of program runs is what the image depends on."""
    return system.launch(_plan(system, nodes[0], nodes, None), tuple(nodes))


async def _create_networks(
    engine: Engine, key: str, nodes: Sequence[str], belonging: dict[str, str]
) -> AddressPlan:
    """The two networks of a run, in the first free candidate."""
    used = [*host_networks(), *await _engine_networks(engine)]
    complaint = "every candidate is in use"
    for number, plan in enumerate(candidate_plans(key, nodes, used)):
        if number == NETWORK_TRIES:
            break
        try:
            await _create_network(engine, f"mrh-{key}-data", plan.data_subnet, belonging, between_nodes=True)
            await _create_network(
                engine, f"mrh-{key}-control", plan.control_subnet, belonging, between_nodes=False
            )
        except EngineRefused as error:
            if "overlap" not in error.said.lower():
                raise
            # Another run took it between our look and our try.
            complaint = str(error)
            await engine.remove_run(key)
            continue
        return plan
    raise EnvironmentFailed(f"found no free network for this run: {complaint}")


async def _engine_networks(engine: Engine) -> list[ipaddress.IPv4Network]:
    networks = []
    for network in await engine.call("listing networks", engine.api.networks):
        for part in (network.get("IPAM") or {}).get("Config") or ():
            parsed = ipaddress.ip_network(part["Subnet"], strict=False)
            if isinstance(parsed, ipaddress.IPv4Network):
                networks.append(parsed)
    return networks


async def _create_network(
    engine: Engine, name: str, subnet: ipaddress.IPv4Network, belonging: dict[str, str], between_nodes: bool
) -> None:
    """A bridge without a way out. On *control*, nodes cannot reach each other, only this host."""
    from docker.types import IPAMConfig, IPAMPool  # type: ignore[import-untyped]

    addresses = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))])
    await engine.call(
        f"creating network {name}",
        engine.api.create_network,
        name,
        driver="bridge",
        ipam=addresses,
        internal=True,
        labels=belonging,
        options=None if between_nodes else {"com.docker.network.bridge.enable_icc": "false"},
    )


async def _create_node(
    engine: Engine,
    ledger: Ledger,
    key: str,
    system: SystemUnderTest,
    name: str,
    addresses: AddressPlan,
    folder: Folder,
    image: str,
    belonging: dict[str, str],
    options: Mapping[str, Any],
    enters: bool,
) -> Node:
    """The folder and the container of one node, not started."""
    from docker.types import LogConfig, Mount

    home = folder.node_dir(name).resolve()
    (home / DATA).mkdir(exist_ok=True)
    if not (home / GATE).exists():
        os.mkfifo(home / GATE, 0o600)
    if system.clock_port:
        write_clock(home / CLOCK_FILE, REAL_TIME)
    user, group = os.getuid(), os.getgid()
    if user == 0 and getattr(system, "refuses_root", False):
        user = group = NOBODY
        for path in (home, *home.iterdir()):
            os.chown(path, user, group)
    plan = _plan(system, name, addresses.nodes, addresses, options[names.OPTION])
    launch = system.launch(plan, addresses.nodes)
    command = (command_in_other_image if options["image"] else command_in_image)(launch.argv)
    container_name = f"mrh-{key}-{name}"
    entry = ledger.intend("container", name=container_name, run=key)
    api = engine.api
    mounts = [Mount(str(IN_CONTAINER), str(home), type="bind")]
    if options[names.OPTION]:
        hosts = home / names.FILE
        hosts.write_text(
            names.hosts_text({other: addresses.data_address(other) for other in addresses.nodes})
        )
        # The engine's own resolver knows the names too, and would answer in the place of the file.
        (home / RESOLVER_FILE).write_text("nameserver 127.0.0.1\n")
        mounts.append(Mount(names.PLACE, str(hosts), type="bind"))
        mounts.append(Mount("/etc/resolv.conf", str(home / RESOLVER_FILE), type="bind", read_only=True))
    memory = f"{options['memory_mb']}m"
    limits = api.create_host_config(
        mounts=mounts,
        network_mode=f"mrh-{key}-data",
        mem_limit=memory,
        memswap_limit=memory,
        pids_limit=options["processes"],
        cap_drop=["ALL"],
        cap_add=[] if enters else ["NET_ADMIN", "NET_RAW"],
        security_opt=["no-new-privileges", "label=disable"],
        userns_mode="host",
        restart_policy={"Name": "no"},
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
    )
    container = await engine.call(
        f"creating container {container_name}",
        api.create_container,
        image,
        ["sh", "-c", ENTRY, "node", str(IN_CONTAINER), *command],
        name=container_name,
        hostname=name,
        user=f"{user}:{group}",
        working_dir=str(IN_CONTAINER),
        # The image knows where its own packages are.
        environment={key: value for key, value in launch.env.items() if key != "PYTHONPATH"},
        labels={**belonging, NODE_LABEL: name},
        host_config=limits,
        networking_config=api.create_networking_config(
            {f"mrh-{key}-data": api.create_endpoint_config(ipv4_address=addresses.data_address(name))}
        ),
    )
    await engine.call(
        f"connecting {container_name}",
        api.connect_container_to_network,
        container["Id"],
        f"mrh-{key}-control",
        ipv4_address=addresses.control_address(name),
    )
    return Node(
        name=name,
        container=container["Id"],
        folder=home,
        plan=plan,
        client_address=_listen(system, addresses.data_address(name)),
        direct_address=_listen(system, addresses.control_address(name)),
        ledger_entry=entry,
    )


async def _clean_up(engine: Engine, ledger: Ledger, key: str) -> None:
    """After a failure: nothing stays in the engine. If even that fails, the ledger keeps it for `harness heal`."""
    try:
        await engine.remove_run(key)
        for entry in ledger.open_entries:
            ledger.done(entry)
    except EnvironmentFailed:
        pass  # The first failure is the one to report; the ledger's open entries say the rest.
    finally:
        ledger.close()
        engine.close()
