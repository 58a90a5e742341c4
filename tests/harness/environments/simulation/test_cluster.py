"""A simulated cluster: what it has beyond real ones, and that its evidence tells a fault from one that did nothing."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.environments.environment import EnvironmentFailed
from harness.environments.simulation.cluster import SimulatedCluster
from harness.environments.simulation.environment import SimulationEnvironment
from harness.environments.simulation.host import Host
from harness.environments.simulation.loop import SimulationHung
from nemesis.cluster import CAPABILITIES, DiskMode, HealReport
from tests.harness.environments.echo_system import EchoSystem, TestFolder, until

NAMES = ["n1", "n2", "n3"]


def run(
    tmp_path: Path,
    story: Callable[[SimulatedCluster], Awaitable[None]],
    system: Any = None,
    **options: Any,
) -> SimulationEnvironment:
    environment = SimulationEnvironment(seed=3)

    async def whole() -> None:
        cluster = await environment.create_cluster(
            system or EchoSystem(), NAMES, TestFolder(tmp_path), options
        )
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            await story(cluster)
        finally:
            await cluster.destroy()

    environment.run(whole())
    return environment


class KeepingSystem(EchoSystem):
    """Echo nodes that write a line to their disk every millisecond, and sync every tenth."""

    async def run_on(self, host: Any, plan: Any, all_nodes: Any, stopping: Any) -> int:
        async def keep() -> None:
            file = host.disk.open("lines", create=True)
            host.disk.sync_directory("")
            number = 0
            while True:
                number += 1
                file.append(f"line {number}\n".encode())
                if number % 10 == 0:
                    await file.sync()
                await asyncio.sleep(0.001)

        keeping = asyncio.ensure_future(keep())
        try:
            return await super().run_on(host, plan, all_nodes, stopping)
        finally:
            keeping.cancel()


# Evidence, beside a world that says yes and does nothing


def test_links_that_say_yes_and_do_nothing_are_found_out(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        link = [("n1", "n2")]

        async def attempts() -> dict[str, bool]:
            results = {
                "slow": await cluster.slow(link, 60, 5),
                "unslow": await cluster.slow(link, 0),
                "throttle": await cluster.throttle(link, 20_000),
                "unthrottle": await cluster.throttle(link, None),
                "lose": await cluster.lose(link, 0.3),
                "unlose": await cluster.lose(link, 0.0),
                "reset": await cluster.reset(link),
                "half_open": await cluster.half_open(link),
                "cut": await cluster.cut(link),
                "mend": await cluster.mend(link),
            }
            return {verb: evidence.took_effect for verb, evidence in results.items()}

        honest = await attempts()
        assert honest == dict.fromkeys(honest, True)

        network: Any = cluster.world.network
        for verb in ("slow", "throttle", "lose", "reset", "half_open", "cut", "mend"):
            setattr(network, verb, lambda *_arguments: None)
        undone = ("unslow", "unthrottle", "unlose", "mend")
        assert await attempts() == {verb: verb in undone for verb in honest}, "undone is what never was"
        for verb in ("slow", "throttle", "lose", "reset", "half_open", "cut"):
            delattr(network, verb)
        assert (await cluster.cut(link)).took_effect
        assert not (await cluster.mend(link)).took_effect, "a mend that did nothing is no heal"

    run(tmp_path, story)


def test_a_link_that_was_bad_before_proves_nothing_by_being_bad(tmp_path: Path) -> None:
    """A long way, or an earlier fault, looks like the one that was asked for."""

    async def story(cluster: SimulatedCluster) -> None:
        link = [("n1", "n2")]
        network: Any = cluster.world.network

        async def proves(verb: str, *arguments: Any) -> bool:
            setattr(network, verb, lambda *_arguments: None)
            evidence = await getattr(cluster, verb)(link, *arguments)
            delattr(network, verb)
            return bool(evidence.took_effect)

        assert not await proves("slow", 10, 2), "the link needs 20 ms by itself"
        await cluster.slow(link, 100, 10)
        assert not await proves("slow", 50, 5)
        await cluster.slow(link, 0)
        await cluster.throttle(link, 1000)
        assert not await proves("throttle", 5000)
        await cluster.throttle(link, None)
        await cluster.lose(link, 0.9)
        assert not await proves("lose", 0.3)
        assert [await proves("cut") for _ in range(10)] == [False] * 10
        cluster._links.cut_links.clear()
        await cluster.lose(link, 0.0)
        await cluster.half_open(link)
        assert not await proves("mend")
        assert (await cluster.mend(link)).took_effect

    run(tmp_path, story, latency_ms=20, jitter_ms=5)


def test_a_link_to_a_machine_without_power_says_nothing_of_what_lies_on_the_others(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.power_loss("n2")
        both = [("n1", "n2"), ("n1", "n3")]
        for evidence in (await cluster.slow(both, 60, 5), await cluster.lose(both, 0.3)):
            assert evidence.took_effect, "it was seen on the link that can be seen"
            assert [probe["proves"] for probe in evidence.probes] in ([None, True], [True, None])
        await cluster.slow(both, 0)
        await cluster.lose(both, 0.0)
        for evidence in (await cluster.slow(both[:1], 60, 5), await cluster.lose(both[:1], 0.3)):
            assert not evidence.took_effect, "nothing could be seen"
            assert [probe["proves"] for probe in evidence.probes] == [None]

    run(tmp_path, story)


def test_a_disk_that_is_slow_by_itself_proves_nothing_by_being_slow(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        disk: Any = cluster.world.host("n1").disk
        disk.set_fault = lambda *_arguments: None
        modes: list[tuple[DiskMode, float]] = [("slow", 10.0), ("stall", 0.0)]
        for mode, delay_ms in modes:
            for _ in range(40):
                assert not (await cluster.fail_disk("n1", mode, 1.0, delay_ms)).took_effect

    run(tmp_path, story, sync_ms=15)


def test_hosts_that_say_yes_and_do_nothing_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        for verb in ("kill", "pause"):
            monkeypatch.setattr(Host, verb, lambda *_arguments, **_options: None)
        assert not (await cluster.kill("n1")).took_effect
        assert not (await cluster.pause("n1")).took_effect
        monkeypatch.undo()
        assert (await cluster.pause("n1")).took_effect
        monkeypatch.setattr(Host, "resume", lambda _host: None)
        assert not (await cluster.resume("n1")).took_effect
        monkeypatch.undo()
        report = await cluster.heal_all()
        assert report == HealReport(("resumed n1",), ())

    run(tmp_path, story)


MODES: list[tuple[DiskMode, float, float]] = [
    ("eio-sync", 1.0, 0.0),
    ("eio-sync", 0.1, 0.0),
    ("eio-write", 1.0, 0.0),
    ("full", 1.0, 0.0),
    ("stall", 1.0, 0.0),
    ("slow", 1.0, 40.0),
]


@pytest.mark.parametrize(("mode", "share", "delay_ms"), MODES)
def test_disks_fail_with_proof_and_are_healed(
    tmp_path: Path, mode: DiskMode, share: float, delay_ms: float
) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        assert (await cluster.heal_disk("n1")).took_effect, "one that works can be healed"
        evidence = await cluster.fail_disk("n1", mode, share, delay_ms)
        assert evidence.took_effect, evidence
        assert (await cluster.heal_disk("n1")).took_effect

        cluster.world.host("n2").disk.set_fault = lambda *_arguments: None  # type: ignore[method-assign]
        assert not (await cluster.fail_disk("n2", mode, share, delay_ms)).took_effect
        await cluster.fail_disk("n1", mode, share, delay_ms)
        report = await cluster.heal_all()
        assert set(report.healed) == {"healed the disk of n1", "healed the disk of n2"}
        assert report.failed == ()

    run(tmp_path, story)


def test_a_power_loss_takes_what_was_not_synced_and_nobody_hears_of_it(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await asyncio.sleep(0.5)
        disk = cluster.world.host("n1").disk
        durable = disk.durable("lines")
        assert durable
        evidence = await cluster.power_loss("n1")
        assert evidence.took_effect, evidence
        assert cluster.state("n1") == "down"
        assert [probe["after"] for probe in evidence.probes][1] == {"client": "silent", "peer": "silent"}
        found = disk.open("lines").read()
        assert found.startswith(durable), "what was synced is there"
        assert (await cluster.power_loss("n1")).took_effect, "once more does no harm"
        assert (await cluster.cut([("n1", "n2")])).took_effect, "of a dark machine the network's word counts"
        assert (await cluster.start("n1")).took_effect
        assert (await cluster.mend([("n1", "n2")])).took_effect

        evidence = await cluster.power_loss("n2")
        await cluster.mend([("n2", "n3")])
        report = await cluster.heal_all()
        assert report == HealReport(("started n2",), ())
        assert cluster.crashes() == ()

    run(tmp_path, story, KeepingSystem())


def told_of_damage() -> tuple[KeepingSystem, list[str]]:
    """A system, and the nodes of whose disks it hears that they were damaged."""
    system = KeepingSystem()
    told: list[str] = []
    system.disk_damaged = told.append  # type: ignore[method-assign]
    return system, told


def test_damage_to_a_disk_is_shown_and_told_to_the_system(tmp_path: Path) -> None:
    system, told = told_of_damage()

    async def story(cluster: SimulatedCluster) -> None:
        await asyncio.sleep(0.5)
        await cluster.kill("n1")
        assert (await cluster.flip_bits("n1")).took_effect
        assert (await cluster.lose_file("n1")).took_effect
        assert not cluster.world.host("n1").disk.exists("lines")
        assert not (await cluster.lose_file("n1")).took_effect, "there is nothing left to lose"
        assert not (await cluster.flip_bits("n1")).took_effect
        assert told == ["n1"] * 4

    run(tmp_path, story, system)


def test_a_disk_that_is_wiped_is_empty_for_good(tmp_path: Path) -> None:
    """Also after a power loss, and for a sync that was under way; one that was empty already shows nothing."""
    system, told = told_of_damage()

    async def story(cluster: SimulatedCluster) -> None:
        await asyncio.sleep(0.5)
        await cluster.kill("n1")
        disk = cluster.world.host("n1").disk
        lines = disk.open("lines").size
        assert (await cluster.wipe("n1")).probes == [
            {"what": "files on the disk of n1", "before": 1, "after": 0, "proves": True}
        ]
        assert not (await cluster.wipe("n1")).took_effect
        await cluster.power_loss("n1")
        assert list(disk.files()) == []
        assert told == ["n1"] * 2
        assert (await cluster.start("n1")).took_effect
        assert 0 < disk.open("lines").size < lines, "the node writes from the beginning"
        assert disk.unsynced()

    run(tmp_path, story, system)


# What is seen inside


def test_what_is_found_inside_is_kept_with_its_step_and_wakes_who_waits(tmp_path: Path) -> None:
    system = EchoSystem()

    async def story(cluster: SimulatedCluster) -> None:
        waiting = asyncio.ensure_future(cluster.wait_for_finding())
        await asyncio.sleep(1)
        assert not waiting.done()
        assert system.world is not None
        step = cluster.world.loop.events
        system.world.found("invariant", "log matching", "n1 and n2 differ", "n1", 4)
        system.world.mark("a situation")
        system.world.mark("a situation")
        await asyncio.wait_for(waiting, 1)
        (finding,) = cluster.findings()
        assert (finding.kind, finding.name, finding.node, finding.range_id) == (
            "invariant",
            "log matching",
            "n1",
            4,
        )
        assert step <= finding.step <= cluster.world.loop.events
        assert 1_000_000_000 <= finding.time_ns <= cluster.clock_ns()
        assert cluster.marks() == {"a situation": 2}

    run(tmp_path, story, system)
    assert system.world is None, "it is told when nobody listens any more"


def test_a_trace_is_written_if_it_is_wanted(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        await cluster.kill("n2")

    run(tmp_path, story, trace="full")
    events = [msgspec.json.decode(line) for line in (tmp_path / "trace.jsonl").read_bytes().splitlines()]
    assert [event["at_ns"] for event in events] == sorted(event["at_ns"] for event in events)
    kills = [event for event in events if event["area"] == "host" and event["event"] == "kill"]
    assert kills[0]["host"] == "n2"

    run(tmp_path / "without", story)
    assert not (tmp_path / "without" / "trace.jsonl").exists()


# The environment


def test_options_that_cannot_be_are_listed_together(tmp_path: Path) -> None:
    environment = SimulationEnvironment()
    environment.check_options({"latency_ms": 1, "jitter_ms": 0.5, "sync_ms": 2, "trace": "full"}, NAMES)
    wrong = {"colour": 1, "latency_ms": -1, "sync_ms": 1e9, "trace": "some"}
    with pytest.raises(ValueError, match="unknown option 'colour'") as raised:
        environment.check_options(wrong, ["n1", "harness"])
    text = str(raised.value)
    for part in ("latency_ms -1", "sync_ms 1e+09", "trace 'some': must be off or full", "named 'harness'"):
        assert part in text
    with pytest.raises(ValueError, match="latency_ms"):
        environment.check_options({"latency_ms": "fast"}, NAMES)


def test_latency_and_sync_time_are_those_that_were_asked_for(tmp_path: Path) -> None:
    async def story(cluster: SimulatedCluster) -> None:
        times = [await cluster.world.network.probe(("n1", "n2")) for _ in range(20)]
        assert all(time is not None and 5_000_000 <= time <= 7_000_000 for time in times)
        taken = [(await cluster.world.host("n1").disk.probe(10**12)).taken_ns for _ in range(200)]
        assert 20_000_000 < sum(taken) / len(taken) < 80_000_000

    run(tmp_path, story, latency_ms=5, jitter_ms=2, sync_ms=40)


def test_a_system_that_cannot_run_here_is_refused_with_the_reason(tmp_path: Path) -> None:
    class OnlyReal:
        name = "some-db"
        ports = ("client",)
        supports: frozenset[str] = frozenset()
        clock_port = False

    environment = SimulationEnvironment()
    capabilities = environment.capabilities(OnlyReal())  # type: ignore[arg-type]
    assert set(capabilities) == set(CAPABILITIES)
    assert not any(one.available for one in capabilities.values())
    assert "some-db cannot be simulated" in str(capabilities["kill"].reason)
    with pytest.raises(EnvironmentFailed, match="some-db cannot be simulated"):
        run(tmp_path, lambda _cluster: asyncio.sleep(0), OnlyReal())
    of_echo = environment.capabilities(EchoSystem())
    assert [fault for fault, one in of_echo.items() if not one.available] == [
        "lose_bursts",
        "disturb",
        "names",
        "truncate",
        "replace",
        "limit_cpu",
        "exhaust_memory",
        "limit_memory",
        "ranges",
        "members",
    ]
    assert "echo has no ranges" in str(of_echo["ranges"].reason)


def test_a_signal_and_the_display_change_nothing_in_the_world(tmp_path: Path) -> None:
    """Ctrl-C is heard between two steps; what is drawn now and then is no step."""

    def live(with_display: bool) -> tuple[int, int]:
        environment = SimulationEnvironment(seed=5)
        drawn = 0

        def draw() -> None:
            nonlocal drawn
            drawn += 1

        async def whole() -> None:
            cluster = await environment.create_cluster(EchoSystem(), NAMES, TestFolder(tmp_path), {})
            await cluster.start_all()
            await cluster.wait_ready(90)
            if with_display:
                with environment.now_and_then(draw):
                    await until(lambda: drawn, 1e6)
                    assert environment.world is not None
                    assert environment.world.loop.on_wall_tick is draw
            await cluster.destroy()

        environment.run(whole())
        assert environment.world is not None
        return environment.world.loop.events, drawn

    (quiet, _), (_, drawn) = live(False), live(True)
    assert drawn
    assert live(False)[0] == quiet

    before = signal.getsignal(signal.SIGUSR1)
    heard: list[bool] = []

    async def whole() -> None:
        environment.on_signal(signal.SIGUSR1, lambda: heard.append(True))
        signal.raise_signal(signal.SIGUSR1)
        assert not heard, "not in the middle of something"
        await until(lambda: heard)

    environment = SimulationEnvironment()
    environment.run(whole())
    assert heard == [True]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_signal_ends_a_step_that_never_does(tmp_path: Path) -> None:
    heard: list[bool] = []

    def never_ends() -> None:
        while True:
            with contextlib.suppress(Exception):
                signal.raise_signal(signal.SIGUSR1)

    async def whole() -> None:
        environment.on_signal(signal.SIGUSR1, lambda: heard.append(True))
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(0)
        try:
            asyncio.get_running_loop().call_soon(never_ends)
            await asyncio.sleep(1)
        finally:
            heard.append(False)

    environment = SimulationEnvironment()
    with pytest.raises(SimulationHung, match=r"does not come to an end: it is in .*, .*:\d+"):
        environment.run(whole())
    assert heard == [True, True, True, False], "twice is not stuck, and the harness comes to an end in order"


def test_knobs_are_drawn_within_what_the_options_allow() -> None:
    from random import Random

    environment = SimulationEnvironment()
    for seed in range(200):
        options = environment.draw_options(Random(seed))
        environment.check_options(options, NAMES)
        assert environment.draw_options(Random(seed)) == options
        assert 0 < environment.round_trip_ms(options) < 500
