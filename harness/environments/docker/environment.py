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
from typing import Any

from harness.environments.clock_file import REAL_TIME, write_clock
from harness.environments.docker.cluster import DockerCluster
from harness.environments.docker.engine import (
    NODE_LABEL,
    Engine,
    EngineRefused,
    connect,
    labels,
    run_key,
)
from harness.environments.docker.image import command_in_image, ensure_image, make_recipe
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
    why_no_ranges,
)
from harness.environments.lacking import LATER, NEED_SIMULATION
from harness.environments.ledger import Ledger
from harness.environments.linux.namespace import may_enter_namespaces
from harness.environments.real_time import RealTime
from nemesis.cluster import CAPABILITIES, Capability

BASE_VARIABLE = "HARNESS_DOCKER_BASE"
NETWORK_TRIES = 20
LEAST_MEMORY_MB = 16

OPTIONS: Mapping[str, str] = {
    "base_image": f"image on which the system's image is built (default: {BASE_VARIABLE}, else the Dockerfile's)",
    "image": "ready image to run instead of building one",
    "memory_mb": "memory of a container in megabytes (default 1024)",
    "processes": "most processes and threads of a container (default 1024)",
    "enter_namespaces": "false: never act from outside, always by the engine's exec (default: true for root)",
}
"""What `create_cluster` takes as options."""


class DockerEnvironment(RealTime):
    """Implements `Environment` with one container per node, on an engine of this machine."""

    name = "docker"

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Which faults there are, known without asking an engine (`create_cluster` does that)."""
        return _capabilities(system, may_enter_namespaces())

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
            _capabilities(system, enters),
            enters,
        )


def _capabilities(system: SystemUnderTest, enters: bool) -> dict[str, Capability]:
    way = "from outside (nsenter)" if enters else "by the engine's exec, with NET_ADMIN"
    rules = f"iptables in the network namespace of the receiving container, {way}"
    later = "docker has no such link fault yet; use --environment local, whose proxies have it"
    available = {
        "cut": rules,
        "cut_client": rules,
        "kill": "SIGKILL by the engine",
        "terminate": "SIGTERM by the engine",
        "pause": "the freezer of the container's cgroup",
    }
    found = {name: Capability(name, True, mechanism) for name, mechanism in available.items()}
    for name in ("slow", "throttle", "reset", "half_open"):
        found[name] = Capability(name, False, "none", later)
    found |= {name: Capability(name, False, "none", LATER) for name in NEED_SIMULATION}
    if system.clock_port:
        found["clock"] = Capability(
            "clock", True, "the database's clock port, in a folder shared with the container"
        )
    else:
        reason = f"{system.name} has no clock port (it does not read a clock file)"
        found["clock"] = Capability("clock", False, "none", reason)
    if "leaders" in system.supports:
        found["leaders"] = Capability("leaders", True, "asked from the nodes")
    else:
        found["leaders"] = Capability("leaders", False, "none", f"{system.name} cannot name its leaders")
    no_ranges = why_no_ranges(system)
    how = "the system's own clients" if no_ranges is None else "none"
    found["ranges"] = Capability("ranges", no_ranges is None, how, no_ranges)
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
    if not isinstance(chosen["enter_namespaces"], bool):
        problems.append(f"enter_namespaces {chosen['enter_namespaces']!r}: must be true or false")
    if problems:
        raise ValueError("; ".join(problems))
    return chosen


def _listen(system: SystemUnderTest, host: str) -> Addresses:
    return {port: (host, FIRST_PORT + number) for number, port in enumerate(system.ports)}


def _plan(
    system: SystemUnderTest, name: str, nodes: Sequence[str], addresses: AddressPlan | None
) -> NodePlan:
    """Where a node lives. It listens on all its addresses: it is dialled on one network and asked on the other."""

    def reach(other: str) -> Addresses:
        return _listen(system, addresses.data_address(other) if addresses else "0.0.0.0")

    return NodePlan(
        name=name,
        index=list(nodes).index(name),
        data_dir=Path(IN_CONTAINER / DATA),
        log_path=Path(IN_CONTAINER / LOG),
        listen=_listen(system, "0.0.0.0"),
        reach={other: reach(other) for other in nodes if other != name},
        clock_file=Path(IN_CONTAINER / CLOCK_FILE) if system.clock_port else None,
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
    plan = _plan(system, name, addresses.nodes, addresses)
    launch = system.launch(plan, addresses.nodes)
    container_name = f"mrh-{key}-{name}"
    entry = ledger.intend("container", name=container_name, run=key)
    api = engine.api
    memory = f"{options['memory_mb']}m"
    limits = api.create_host_config(
        mounts=[Mount(str(IN_CONTAINER), str(home), type="bind")],
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
        ["sh", "-c", ENTRY, "node", str(IN_CONTAINER), *command_in_image(launch.argv)],
        name=container_name,
        hostname=name,
        user=f"{os.getuid()}:{os.getgid()}",
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
