"""The reference database as a system under test: launched from a plan, asked, used through a session."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from harness.environments.environment import NodePlan
from harness.systems.reference_db import ReferenceDatabase, own_defect_sheet, planted_defects
from nemesis.coordinator import Coordinator
from reference_db.gateway.fault_points import STEPS
from reference_db.node import NodeOptions
from tests.reference_db.server.processes import free_ports
from workloads.session import CompareAndSet, Definite, KeyValue, Scan, Transactions

NODES = ("n1", "n2", "n3")


def make_plan(folder: Path, name: str, ports: dict[str, dict[str, tuple[str, int]]]) -> NodePlan:
    data_dir = folder / name
    data_dir.mkdir(exist_ok=True)
    return NodePlan(
        name=name,
        index=NODES.index(name),
        data_dir=data_dir,
        log_path=data_dir / "log",
        listen=ports[name],
        reach={other: ports[other] for other in NODES if other != name},
        clock_file=folder / f"{name}.clock",
    )


def make_ports() -> dict[str, dict[str, tuple[str, int]]]:
    free = iter(free_ports(6))
    return {name: {"peer": ("127.0.0.1", next(free)), "client": ("127.0.0.1", next(free))} for name in NODES}


def test_the_nemesis_knows_the_steps_at_which_coordinators_can_die() -> None:
    """A step travels as a number, by its place."""
    assert Coordinator.shapes == STEPS


def test_a_plan_becomes_a_launch_with_a_whole_configuration(tmp_path: Path) -> None:
    system = ReferenceDatabase(ranges=5, seed=7, options={"tick-ms": 50})
    ports = make_ports()
    launch = system.launch(make_plan(tmp_path, "n2", ports), NODES)
    assert launch == system.launch(make_plan(tmp_path, "n2", ports), NODES)
    config = json.loads(launch.files["node.json"])
    assert config["node"] == "n2"
    assert sorted(config["peers"]) == ["n1", "n3"]
    assert config["options"] == {"tick_ms": 50, "fault_points": True}
    assert config["clock_file"] == str(tmp_path / "n2.clock")
    assert list(launch.argv[1:3]) == ["-m", "reference_db.server"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"reads": "quickly"}, "linearizable, lease, bounded, stale"),
        ({"colour": "red"}, "colour"),
        ({"tick_ms": 1}, "tick_ms is 1"),
        ({"tick_ms": "soon"}, "tick_ms"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ReferenceDatabase(options=options)


def test_an_unknown_option_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(ValueError) as refused:
        ReferenceDatabase(options={"colour": "red"})
    assert {*NodeOptions.__struct_fields__, "joiners"} <= set(re.findall(r"\w+", str(refused.value)))


def test_an_unknown_defect_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="leader-local-read"):
        ReferenceDatabase(defect="no-such-thing")
    assert ReferenceDatabase(defect="leader-local-read").defect == "leader-local-read"
    assert "without confirming" in planted_defects()["leader-local-read"]


@pytest.mark.parametrize("name", ["os:system", "os:nothing", "no.such:thing", "shutil:copy", "os:name"])
def test_what_is_no_function_of_a_node_is_no_defect(name: str) -> None:
    with pytest.raises(ValueError, match=f"no defect '{name}'"):
        ReferenceDatabase(defect=name).require_defect()


@pytest.mark.parametrize(
    ("text", "said"), [("x = (", "SyntaxError: '\\(' was never closed"), ("1 / 0", "ZeroDivisionError")]
)
def test_a_defect_whose_module_cannot_be_imported_is_refused_and_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "broken_defect.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    blamed = f"defect broken_defect:plant: importing broken_defect raised {said}.*mend it there"
    with pytest.raises(ValueError, match=blamed):
        ReferenceDatabase(defect="broken_defect:plant").require_defect()
    with pytest.raises(ValueError, match=blamed):
        own_defect_sheet("broken_defect:plant")


def test_nobody_there_is_not_ready_and_refuses_sessions() -> None:
    async def story() -> None:
        system = ReferenceDatabase()
        address = make_ports()["n1"]
        assert not await system.is_ready(address)
        assert await system.read_clock(address) is None
        assert await system.leaders({"n1": address}) == {}
        with pytest.raises(Definite):
            await system.open_session(address, "n1")

    asyncio.run(story())


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[tuple[ReferenceDatabase, dict[str, dict[str, tuple[str, int]]]]]:
    system = ReferenceDatabase(ranges=4)
    ports = make_ports()
    processes = []
    try:
        for name in NODES:
            plan = make_plan(tmp_path, name, ports)
            launch = system.launch(plan, NODES)
            for file, content in launch.files.items():
                (plan.data_dir / file).write_bytes(content)
            with plan.log_path.open("ab") as log:
                processes.append(
                    subprocess.Popen(
                        list(launch.argv), env={**os.environ, **launch.env}, stderr=log, stdout=log
                    )
                )
        yield system, ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 120.0) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s"
        await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_session_offers_what_it_promises(
    launched: tuple[ReferenceDatabase, dict[str, dict[str, tuple[str, int]]]],
) -> None:
    system, ports = launched

    async def story() -> None:
        for name in NODES:
            await until(lambda name=name: system.is_ready(ports[name]))  # type: ignore[misc]

        async def leaders_are_known() -> bool:
            leaders = await system.leaders(ports)
            assert set(leaders.values()) <= set(NODES)
            return sorted(leaders) == ["1", "2", "3", "4"]

        async def tells_its_time() -> bool:
            return await system.read_clock(ports["n1"]) is not None

        await until(leaders_are_known)
        await until(tells_its_time)
        session = await system.open_session(ports["n1"], "n1")
        other = await system.open_session(ports["n2"], "n2")
        for protocol in (KeyValue, CompareAndSet, Scan, Transactions):
            assert isinstance(session, protocol)
        await session.put("b", [1, "x"])
        assert await other.get("b") == [1, "x"]
        assert await other.compare_and_set("a", None, 5)
        assert not await session.compare_and_set("a", None, 6)
        assert await session.scan("", "b", 10) == [("a", 5)]
        assert await session.scan("a", "c", 1) == [("a", 5)]
        async with session.transaction() as transaction:
            await transaction.put("z", await transaction.get("a"))
            await transaction.delete("a")
        assert await other.get("z") == 5
        assert await other.get("a") is None
        dropped = other.transaction()
        await dropped.__aenter__()
        await dropped.put("z", 0)
        await dropped.__aexit__(RuntimeError, RuntimeError("rolled back"), None)
        assert await session.get("z") == 5
        loser = session.transaction()
        await loser.__aenter__()
        await loser.put("z", await loser.get("z") + 1)
        await other.put("z", 100)
        with pytest.raises(Definite, match="conflict"):
            await loser.__aexit__(None, None, None)
        assert await session.get("z") == 100
        await session.close()
        await other.close()

    asyncio.run(story())
