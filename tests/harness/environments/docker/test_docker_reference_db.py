"""The reference database in containers: its image, its clock port, and one whole run by the command line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environments.docker.environment import DockerEnvironment
from harness.systems.reference_db import ReferenceDatabase

pytestmark = [pytest.mark.docker, pytest.mark.slow]

FIVE = ["n1", "n2", "n3", "n4", "n5"]


def test_what_was_acknowledged_survives_all_faults_at_once(engine, folder, leftovers):
    """1. A row is written through n1. 2. Every node is killed while one is cut off and clocks are wrong. 3. All is
    healed, and the row is read through every node."""
    system = ReferenceDatabase(replication=3, ranges=8, seed=7)

    async def story() -> None:
        cluster = await DockerEnvironment().create_cluster(system, FIVE, folder, {})
        try:
            await cluster.start_all()
            await cluster.wait_ready(180)
            assert set((await cluster.leaders()).values()) <= set(FIVE)
            session = await system.open_session(cluster.client_address("n1"), "n1")
            await session.put("account/1", 17)
            await session.close()
            assert (await cluster.set_clock("n2", 45_000)).took_effect
            assert (await cluster.cut([("n1", other) for other in FIVE[1:]])).took_effect
            killed = await asyncio.gather(*(cluster.kill(node) for node in FIVE))
            assert all(evidence.took_effect for evidence in killed)
            report = await cluster.heal_all()
            assert report.failed == ()
            await cluster.wait_ready(180)
            for node in FIVE:
                session = await system.open_session(cluster.client_address(node), node)
                assert await session.get("account/1") == 17, f"{node} lost an acknowledged write"
                await session.close()
            assert cluster.crashes() == ()
        finally:
            await cluster.destroy()

    asyncio.run(story())
    assert leftovers(folder.path) == []


def test_a_whole_run_is_valid_with_every_fault_proven(engine, tmp_path, leftovers):
    """`harness test --environment docker`: the same command as anywhere, and nothing stays in the engine."""
    root = Path(__file__).parents[4]
    flags = "--workload register --environment docker --nodes 5 --nemesis partition,kill,pause,clock"
    limits = "--time-limit 12 --rate 100 --seed 20 --environment-option memory_mb=512"
    command = [
        sys.executable,
        "-m",
        "harness",
        "test",
        *flags.split(),
        *limits.split(),
        "--runs-dir",
        str(tmp_path),
    ]
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = (tmp_path / "latest").resolve()
    assert json.loads((run / "verdict.json").read_text())["outcome"] == "valid"
    starts = [
        event["value"]
        for event in map(json.loads, (run / "history.jsonl").read_text().splitlines())
        if event["process"] == "nemesis" and event["type"] == "info" and event["f"] == "start"
    ]
    proven = {value["fault"] for value in starts if value.get("took_effect")}
    assert proven == {"partition", "kill", "pause", "clock"}
    assert [(run / "nodes" / name / "node.log").stat().st_size > 0 for name in FIVE] == [True] * 5
    assert leftovers(run) == []
