"""Nodes that get little of the processor, or run out of memory: proven by the kernel, undone, and nothing left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.environments.ledger import heal, read_ledger
from harness.environments.linux.cgroups import ROOT, group_of, remove_group, why_no_groups
from harness.environments.local.environment import LocalEnvironment
from nemesis.cluster import CAPABILITIES
from nemesis.holds import Holds
from nemesis.package import Situation
from nemesis.resources import Resources
from nemesis.schedule import Step
from tests.harness.environments.echo_system import EchoSystem, TestFolder
from tests.support.requirements import skip_unless_required


@pytest.mark.slow
def test_a_node_is_slowed_down_and_runs_out_of_memory(tmp_path: Path) -> None:
    """A limit outlives a restart of the node; the kernel's own kill is no crash of the database."""
    reason = why_no_groups()
    if reason is not None:
        skip_unless_required("cgroups", reason)

    async def story() -> None:
        cluster = await LocalEnvironment().create_cluster(
            EchoSystem(), ["n1", "n2"], TestFolder(tmp_path), {}
        )
        try:
            await cluster.start_all()
            await cluster.wait_ready(90)
            limited = await cluster.limit_cpu("n1", 0.05)
            assert limited.took_effect, limited
            await cluster.kill("n1")
            await cluster.start("n1")
            pid = cluster.pid("n1")
            assert pid is not None
            assert "multiraft-harness" in str(group_of(pid, "cpu"))
            squeezed = await cluster.limit_memory("n1", 16)
            assert squeezed.took_effect, squeezed
            assert cluster.state("n1") == "up", "it was not the node that took too much"
            freed = await cluster.limit_memory("n1", None)
            assert freed.took_effect, freed
            assert (await cluster.limit_memory("n1", 16)).took_effect
            ended = await cluster.exhaust_memory("n2")
            assert ended.took_effect, ended
            assert cluster.state("n2") == "down"
            report = await cluster.heal_all()
            assert report.failed == ()
            assert "let n1 compute freely" in report.healed
            assert "gave n1 its memory back" in report.healed
            assert cluster.crashes() == ()
        finally:
            await cluster.destroy()

    asyncio.run(story())
    content = read_ledger(tmp_path / "ledger.jsonl")
    assert content.open_entries == []
    assert not list(ROOT.glob(f"*/multiraft-harness-{content.header.token[:12]}-*"))
    assert heal(tmp_path).healed == ()


def test_the_group_of_a_process_is_found_among_all_controllers(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text("4:memory:/a\n3:cpu,cpuacct:/docker/abc\n0::/unified\n")
    assert group_of(7, "cpu", tmp_path, Path("/groups")) == Path("/groups/cpu/docker/abc")
    with pytest.raises(FileNotFoundError, match="no control group for freezer"):
        group_of(7, "freezer", tmp_path)
    assert not remove_group(tmp_path / "none"), "a group that is gone needs no undo"


def test_a_share_is_not_taken_from_a_node_that_is_stopped_or_limited() -> None:
    nodes = ("n1", "n2", "n3")
    situation = Situation(nodes, {"n1": "up", "n2": "paused", "n3": "up"}, {}, frozenset(CAPABILITIES))
    holds = Holds()
    first = Resources().plan(Step(1, 0, "resources", "cpu", "n1", 10, {"share": 0.1}), situation, holds)
    assert first.targets == ("n1",)
    second = Resources().plan(Step(2, 0, "resources", "cpu", "n1+n2", 10), situation, holds)
    assert second.skipped == "n1, n2 cannot be hit now: every candidate is stopped or limited already"
    third = Resources().plan(
        Step(3, 0, "resources", "memory-limit", "n1", 10, {"spare_mb": 8}), situation, holds
    )
    assert third.targets == ("n1",), "of two kinds"
    lacking = Situation(nodes, situation.states, {}, frozenset(CAPABILITIES) - {"exhaust_memory"})
    assert Resources().plan(Step(3, 0, "resources", "memory", "one", 10), lacking, holds).skipped is not None
