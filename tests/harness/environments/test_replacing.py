"""A node is replaced: the old one is dismissed before the new one joins, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.environments import replacing
from harness.environments.environment import Addresses, Environment, EnvironmentFailed, NodePlan
from harness.environments.local.environment import LocalEnvironment
from harness.environments.netns import hub
from harness.environments.netns.environment import NetnsEnvironment
from harness.environments.replacing import Replacements, launch_of, next_plan
from harness.environments.simulation.environment import SimulationEnvironment
from harness.systems.reference_db import ReferenceDatabase
from nemesis.cluster import Evidence, FaultFailed, NodeState
from nemesis.holds import Holds
from nemesis.package import Plan, Situation
from nemesis.ranges import Membership
from nemesis.schedule import Step
from tests.harness.environments.echo_system import EchoSystem, TestFolder, until
from tests.nemesis.fake_cluster import FakeCluster
from tests.support.requirements import skip_unless_required
from workloads.session import SessionError

NODES = ("n1", "n2", "n3", "n4")


def plan_of(name: str) -> NodePlan:
    listen = {"peer": ("0.0.0.0", 7000), "client": ("0.0.0.0", 7001)}
    address = f"10.77.0.{10 + int(name[1:])}"
    at = {"peer": (address, 7000), "client": (address, 7001)}
    return NodePlan(name, int(name[1:]) - 1, Path("data"), Path("log"), listen, {}, None, at)


class Places:
    """See `replacing.Places`; and a system that says what its members are. Notes what is done."""

    name = "a system"
    nodes = NODES

    def __init__(self, *, knows: bool = True) -> None:
        self.knows = knows
        self.done: list[str] = []
        self.plans = {name: plan_of(name) for name in NODES}
        self.states: dict[str, NodeState] = dict.fromkeys(NODES, "up")
        self.members = dict.fromkeys(NODES, "active")
        self.replacements = Replacements(self, self)  # type: ignore[arg-type]

    def state(self, node: str) -> NodeState:
        return self.states[node]

    def direct_address(self, node: str) -> Addresses:
        return self.plans[node].advertise

    def plan(self, node: str) -> NodePlan:
        return self.plans[node]

    def put_plan(self, node: str, plan: NodePlan) -> None:
        self.plans[node] = plan

    def _did(self, what: str) -> Evidence:
        self.done.append(what)
        return Evidence(True, [{"what": what, "proves": True}])

    async def kill(self, node: str) -> Evidence:
        self.states[node] = "down"
        return self._did(f"kill {node}")

    async def wipe(self, node: str) -> Evidence:
        return self._did(f"wipe {node}")

    async def start(self, node: str) -> Evidence:
        await self.replacements.before_start(node)
        self.states[node] = "up"
        self.members[self.plans[node].known_as] = "active"
        return self._did(f"start {self.plans[node].known_as}")

    def launch_replacement(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Any:
        raise AssertionError("nothing is launched here")

    async def dismiss(self, addresses: Mapping[str, Addresses], gone: str) -> str:
        assert gone not in addresses
        assert len(addresses) == 3
        self.done.append(f"dismiss {gone}")
        if self.knows:
            self.members[gone] = "decommissioned"
        return self.members[gone]

    async def member_state(self, addresses: Mapping[str, Addresses], member: str) -> str:
        return self.members.get(member, "unknown")


def test_the_old_one_is_dismissed_before_the_new_one_starts() -> None:
    """Twice in the same place, under a new name and behind a new port each time."""
    places = Places()

    async def story() -> None:
        first = await places.replacements.replace("n3")
        assert first.took_effect, first
        assert places.done == ["kill n3", "wipe n3", "dismiss n3", "start n3-2"]
        assert first.probes[-1]["what"] == "n3-2 to the other members"
        assert places.plan("n3").advertise == {"peer": ("10.77.0.13", 7100), "client": ("10.77.0.13", 7001)}
        assert (await places.replacements.replace("n3")).took_effect
        assert places.plan("n3").known_as == "n3-3"
        assert places.plan("n3").replaces == "n3-2"
        assert places.members["n3-2"] == "decommissioned"
        assert places.replacements.place_of("n3-3") == "n3"
        assert places.replacements.place_of("n1") == "n1"

    asyncio.run(story())


def test_nobody_starts_in_the_place_of_one_that_is_still_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its disk gone it would vote twice. Healing tries again, by the same way."""
    monkeypatch.setattr(replacing, "PATIENCE_S", 0.05)
    monkeypatch.setattr(replacing, "AGAIN_S", 0.01)
    places = Places(knows=False)

    async def story() -> None:
        with pytest.raises(
            EnvironmentFailed, match="n3 is gone for good, but to the other members it is active"
        ):
            await places.replacements.replace("n3")
        assert places.state("n3") == "down"
        places.knows = True
        assert (await places.start("n3")).took_effect
        assert places.done[-1] == "start n3-2"

    asyncio.run(story())


def test_the_reference_database_joins_at_the_address_that_all_share() -> None:
    system = ReferenceDatabase(options={"placement": "on"})
    assert "replacement" in system.supports
    assert "replacement" not in ReferenceDatabase().supports
    others = {name: plan_of(name).advertise for name in NODES if name != "n3"}
    launch = launch_of(system, next_plan(replace(plan_of("n3"), reach=others)), NODES)
    (content,) = launch.files.values()
    assert b'"node": "n3-2"' in content
    assert b'"10.77.0.13",\n   7100' in content


def test_a_step_replaces_its_node_and_holds_it_meanwhile() -> None:
    """By name only: it cannot be undone."""
    cluster, holds, package = FakeCluster(4), Holds(), Membership()
    step = Step(1, 0, "membership", "replace", "n2", 1_000_000_000, {"draw": 1})

    async def story() -> None:
        plan = package.plan(step, Situation(NODES, dict(cluster.states), {}), holds)
        assert plan.targets == ("n2",)
        assert holds.holders("down", "n2") == (1,)
        assert (await package.start(step, plan, cluster, holds)).took_effect
        assert ("replace", "n2") in cluster.calls
        assert (await package.stop(step, plan, cluster, holds)).took_effect
        assert holds.holders("down", "n2") == ()

    asyncio.run(story())


def test_no_second_node_goes_for_good_before_others_have_what_the_first_one_held() -> None:
    """1. n2 is killed, wiped, and cannot be dismissed: its ranges lack a quorum meanwhile. 2. Nobody else is replaced
    then, though killing would be all right. 3. Once n2 is replaced by the end of its step, others may be
    (bank, seed 7: two of a range's three replicas were gone)."""
    cluster, holds, package = FakeCluster(5), Holds(), Membership()
    first = Step(1, 0, "membership", "replace", "n2", 1_000_000_000, {"draw": 1})
    second = Step(2, 0, "membership", "replace", "n4", 1_000_000_000, {"draw": 2})

    async def story() -> None:
        def aim(step: Step) -> Plan:
            return package.plan(step, Situation(cluster.nodes, dict(cluster.states), {}), holds)

        plan = aim(first)
        cluster.failing = {"replace"}
        with pytest.raises(FaultFailed):
            await package.start(first, plan, cluster, holds)
        assert aim(second).skipped == "n2 is gone for good, and what it held is not on others yet"
        assert holds.holders("down", "n4") == ()
        cluster.failing = set()
        assert (await package.stop(first, plan, cluster, holds)).took_effect
        plan = aim(second)
        assert plan.targets == ("n4",)
        assert (await package.start(second, plan, cluster, holds)).took_effect
        assert aim(first).targets == ("n2",), "while the second one is held"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("supports", "why"),
    [
        ({"replacement", "socks"}, None),
        ({"replacement"}, "no address that it could tell all others"),
        ({"socks"}, "takes no new member here"),
        (set(), "takes no new member here"),
    ],
)
def test_local_says_of_which_systems_it_can_replace_nodes(supports: set[str], why: str | None) -> None:
    one = LocalEnvironment().capabilities(EchoSystem(supports=frozenset(supports)))["replace"]
    assert one.available == (why is None)
    assert why is None or why in str(one.reason)


def test_a_new_node_that_nobody_answers_goes_on_asking(tmp_path: Path) -> None:
    """For longer than any start is waited for. It joins when the links are mended, and has not ended by itself."""
    environment = SimulationEnvironment(4)

    async def story() -> None:
        system = ReferenceDatabase(ranges=2, options={"placement": "on"})
        cluster = await environment.create_cluster(system, list(NODES), TestFolder(tmp_path), {})
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            links = [("n3", node) for node in ("n1", "n2", "n4")]
            await cluster.cut(links)
            with pytest.raises(FaultFailed, match="n3 is not ready after 30 virtual seconds"):
                await cluster.replace("n3")
            await asyncio.sleep(60)
            assert cluster.state("n3") == "up"
            await cluster.mend(links)
            assert (await cluster.start("n3")).took_effect
            assert cluster.known_as("n3") == "n3-2"
            assert cluster.crashes() == ()
            assert cluster.findings() == ()
        finally:
            await cluster.destroy()

    environment.run(story())


@pytest.mark.slow
def test_what_nodes_say_to_a_new_one_goes_over_its_links(tmp_path: Path) -> None:
    """On loopback: what the others send to who is new is held where its links are cut."""
    environment = LocalEnvironment(5)

    async def story() -> None:
        system = ReferenceDatabase(ranges=2, options={"placement": "on"})
        cluster = await environment.create_cluster(system, list(NODES), TestFolder(tmp_path), {})

        async def held() -> dict[str, int]:
            rows = await cluster.link_counters()
            return {row["source"]: row["held"] for row in rows if row["target"] == "n3"}

        try:
            await cluster.start_all()
            await cluster.wait_ready(180)
            assert (await cluster.replace("n3")).took_effect
            others = ("n1", "n2", "n4")
            assert (await cluster.cut([(node, "n3") for node in others])).took_effect
            before = await held()

            async def all_hold() -> bool:
                now = await held()
                return all(now[node] > before[node] for node in others)

            await until(all_hold)
        finally:
            await cluster.destroy()

    environment.run(story())


def is_replaced_in_a_running_cluster(environment: Environment, folder: Path) -> None:
    """n3 is another node afterwards, and again another; it comes back as who it is; nobody waits for who it was."""
    system = ReferenceDatabase(ranges=4, options={"placement": "on"})

    async def story() -> None:
        cluster = await environment.create_cluster(system, list(NODES), TestFolder(folder), {})

        def as_client(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            return asyncio.get_running_loop().create_task(work, context=cluster.client_context())

        async def held() -> set[str]:
            at = {cluster.known_as(node): cluster.direct_address(node) for node in NODES}
            states, silent = await as_client(system.final_states(at, digests=True))
            assert silent == []
            assert len({(one.range, one.digest) for one in states}) == 4, "all replicas hold the same"
            return {one.node for one in states}

        try:
            assert cluster.capabilities()["replace"].available
            await cluster.start_all()
            await cluster.wait_ready(180)
            session = await as_client(system.open_session(cluster.client_address("n1"), "n1"))
            await as_client(session.put("a", 1))
            await cluster.kill("n4")
            assert (await cluster.start("n4")).took_effect
            assert cluster.known_as("n4") == "n4", "who was only killed is the same"
            evidence = await cluster.replace("n3")
            assert evidence.took_effect, evidence
            assert {probe["what"]: probe["after"] for probe in evidence.probes[-2:]} == {
                "n3 to the other members": "decommissioned",
                "n3-2 to the other members": "active",
            }
            assert cluster.known_as("n3") == "n3-2"
            assert await as_client(session.get("a")) == 1
            await cluster.kill("n3")
            assert (await cluster.start("n3")).took_effect, "it comes back as who it is now"
            assert (await cluster.replace("n3")).took_effect
            assert (await cluster.replace("n4")).took_effect
            assert [cluster.known_as(node) for node in NODES] == ["n1", "n2", "n3-3", "n4-2"]
            assert set((await cluster.leaders()).values()) <= set(NODES)
            # Who is killed now knows the new ones only by what it has stored.
            await cluster.kill("n2")
            assert (await cluster.start("n2")).took_effect
            cut = [(node, "n3") for node in ("n1", "n2", "n4")]
            cut += [(target, source) for source, target in cut]
            assert (await cluster.cut(cut)).took_effect
            assert (await cluster.mend(cut)).took_effect
            reader = await as_client(system.open_session(cluster.client_address("n3"), "n3"))
            await until(lambda: reads(as_client, reader))
            await until(lambda: settled(held))
            await as_client(session.close())
            await as_client(reader.close())
            assert cluster.crashes() == ()
            assert cluster.findings() == ()
        finally:
            await cluster.destroy()

    environment.run(story())


async def reads(as_client: Callable[[Any], Awaitable[Any]], session: Any) -> bool:
    try:
        return bool(await as_client(session.get("a")) == 1)
    except SessionError:
        return False


async def settled(held: Callable[[], Awaitable[set[str]]]) -> bool:
    """Every node has replicas, and they agree."""
    try:
        return await held() <= {"n1", "n2", "n3-3", "n4-2"}
    except AssertionError:
        return False


def test_a_node_is_replaced_in_a_simulated_cluster(tmp_path: Path) -> None:
    is_replaced_in_a_running_cluster(SimulationEnvironment(3), tmp_path)


@pytest.mark.slow
def test_a_node_is_replaced_in_a_cluster_on_loopback(tmp_path: Path) -> None:
    is_replaced_in_a_running_cluster(LocalEnvironment(3), tmp_path)


@pytest.mark.slow
def test_a_node_is_replaced_in_a_cluster_of_namespaces(tmp_path: Path) -> None:
    if hub.objection() is not None:
        skip_unless_required("netns", str(hub.objection()))
    is_replaced_in_a_running_cluster(NetnsEnvironment(3), tmp_path)
