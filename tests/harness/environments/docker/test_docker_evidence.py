"""What counts as proof, what an option may be, and what is said where Docker cannot be used: without an engine."""

import asyncio
import os

import pytest

from harness.environments.docker.environment import DockerEnvironment
from harness.environments.docker.freezer import is_frozen
from harness.environments.docker.undo import undo
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import Entry, LedgerHeader
from harness.environments.linux import links as links_page
from harness.environments.linux import vdso
from harness.environments.linux.links import evidence
from harness.environments.linux.namespace import may_enter_namespaces
from nemesis.cluster import CAPABILITIES

OPEN = {"arrived": True, "dropped": None}
LINK, OTHER = ("n1", "n2"), ("n3", "n4")


@pytest.mark.parametrize(
    ("before", "after", "is_proven"),
    [
        (OPEN, {"arrived": False, "dropped": 3}, True),
        (OPEN, {"arrived": None, "dropped": 3}, True),  # Arrivals cannot be seen; the counter can.
        ({"arrived": False, "dropped": 3}, {"arrived": False, "dropped": 6}, True),
        (OPEN, {"arrived": True, "dropped": 3}, False),  # It counts, and yet bytes arrive.
        (OPEN, {"arrived": False, "dropped": 0}, False),  # Lost, but not by our rule.
        (OPEN, {"arrived": False, "dropped": None}, False),  # Lost, and there is no rule.
        (
            {"arrived": False, "dropped": 3},
            {"arrived": False, "dropped": 3},
            False,
        ),  # The counter stands still.
    ],
)
def test_a_cut_is_proven_by_loss_and_by_the_rule_that_counted_it(before, after, is_proven):
    found = evidence({LINK: before}, {LINK: after}, links_page._proves_cut)
    assert found.took_effect is is_proven
    assert found.probes[0]["what"] == "datagrams n1 -> n2"


@pytest.mark.parametrize(
    ("after", "is_proven"),
    [(OPEN, True), ({"arrived": False, "dropped": None}, False), ({"arrived": True, "dropped": 3}, False)],
)
def test_mended_means_that_bytes_arrive_and_the_rule_is_gone(after, is_proven):
    found = evidence({LINK: {"arrived": False, "dropped": 3}}, {LINK: after}, links_page._proves_mended)
    assert found.took_effect is is_proven


def test_a_link_with_a_stopped_end_proves_nothing_and_hides_nothing():
    down = {"unknown": "n4 down"}
    lost = {"arrived": False, "dropped": 1}
    both = evidence({LINK: OPEN, OTHER: down}, {LINK: lost, OTHER: down}, links_page._proves_cut)
    assert both.took_effect
    assert [probe["proves"] for probe in both.probes] == [True, None]
    assert not evidence({OTHER: down}, {OTHER: down}, links_page._proves_cut).took_effect
    failed = evidence({LINK: OPEN, OTHER: down}, {LINK: OPEN, OTHER: down}, links_page._proves_cut)
    assert not failed.took_effect


def test_the_freezer_is_read_in_both_versions_of_cgroups(tmp_path):
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    for pid, membership in (
        (1, "7:freezer:/docker/abc\n0::/docker/abc\n"),
        (2, "0::/system.slice/docker-abc.scope\n"),
        (3, "0::/elsewhere\n"),
    ):
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "cgroup").write_text(membership)
    state = root / "freezer" / "docker" / "abc" / "freezer.state"
    events = root / "system.slice" / "docker-abc.scope" / "cgroup.events"
    for path, running, frozen in (
        (state, "THAWED\n", "FROZEN\n"),
        (events, "populated 1\nfrozen 0\n", "populated 1\nfrozen 1\n"),
    ):
        path.parent.mkdir(parents=True)
        pid = 1 if path is state else 2
        path.write_text(running)
        assert is_frozen(pid, proc, root) is False
        path.write_text(frozen)
        assert is_frozen(pid, proc, root) is True
    assert is_frozen(3, proc, root) is None, "not mounted here: nothing is known"
    assert is_frozen(4, proc, root) is None, "gone"


def test_capabilities_name_a_mechanism_or_a_reason(echo):
    echo.clock_port = False
    found = DockerEnvironment().capabilities(echo)
    assert set(found) == set(CAPABILITIES)
    assert all(capability.available or capability.reason for capability in found.values())
    assert found["cut"].available
    assert not found["leaders"].available
    if vdso.why_not() is None and may_enter_namespaces():
        assert "vDSO" in found["clock"].mechanism
    else:
        assert "echo reads no clock file" in (found["clock"].reason or "")


def test_options_that_make_no_sense_are_refused_together(echo, folder):
    """Before anything is made, whether they are checked alone or a cluster is asked for."""
    docker = DockerEnvironment()
    wrong = {"memory_mb": "much", "colour": "red", "enter-namespaces": 1, "image": 7}
    said = "; ".join(
        [
            r"unknown option 'colour' of environment docker \(known: base_image, image, .*\)",
            "memory_mb 'much': must be a whole number.*",
            "image 7: must be the name of an image",
            "enter_namespaces 1: must be true or false",
        ]
    )
    with pytest.raises(ValueError, match=said):
        docker.check_options(wrong, ["n1"])
    with pytest.raises(ValueError, match=said):
        asyncio.run(docker.create_cluster(echo, ["n1"], folder, wrong))
    with pytest.raises(ValueError, match="unique"):
        asyncio.run(docker.create_cluster(echo, ["n1", "n1"], folder, {}))
    with pytest.raises(ValueError, match="101 nodes: a run's network holds at most 100"):
        docker.check_options({}, [f"n{number}" for number in range(101)])
    assert not folder.ledger_path.exists()
    docker.check_options({"memory_mb": 512, "base_image": "python:3.11"}, ["n1", "n2"])


@pytest.mark.skipif(
    os.uname().sysname != "Linux", reason="elsewhere, the platform is refused before the engine is asked"
)
@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            "unix:///no/such/docker.sock",
            r"no Docker engine answers at .*No such file.*systemctl start docker",
        ),
        ("tcp://127.0.0.1:1", "is on another machine"),
    ],
)
def test_an_engine_out_of_reach_is_said_with_the_way_out(echo, folder, monkeypatch, where, said):
    monkeypatch.setenv("DOCKER_HOST", where)
    with pytest.raises(EnvironmentFailed, match=said):
        asyncio.run(DockerEnvironment().create_cluster(echo, ["n1"], folder, {}))
    assert not folder.ledger_path.exists()


def test_a_platform_without_containers_is_refused(echo, folder, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(EnvironmentFailed, match="needs Linux, this is darwin"):
        asyncio.run(DockerEnvironment().create_cluster(echo, ["n1"], folder, {}))


def test_only_containers_and_networks_need_the_engine_to_be_undone(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/docker.sock")
    header = LedgerHeader("docker", "ab" * 16, 1, "start", "now")
    assert undo(Entry(1, "links", {"source": "n1", "target": "n2"}), header) is None
    with pytest.raises(EnvironmentFailed, match="no Docker engine answers"):
        undo(Entry(2, "container", {"name": "mrh-x-n1"}), header)
    with pytest.raises(ValueError, match="kind 'disk'"):
        undo(Entry(3, "disk", {}), header)
