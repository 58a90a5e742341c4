"""Options of the environment `local`: what is wrong is said at once, all of it, and before anything is made."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.environments.local.environment import LocalEnvironment
from tests.harness.environments.echo_system import EchoSystem, TestFolder

THREE = ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": 1}, "unknown option 'colour' of environment local (known: base_port)"),
        ({"base_port": "many"}, "base_port 'many': must be a whole number, 1024 to 65535"),
        ({"base_port": True}, "base_port True: must be a whole number"),
        ({"base_port": 7000.5}, "base_port 7000.5: must be a whole number"),
        ({"base_port": 80}, "base_port 80: must be 1024 to 65535"),
        ({"base_port": 65_536}, "base_port 65536: must be 1024 to 65535"),
        (
            {"base_port": 65_531},
            "3 nodes with 2 ports each need 6 from there, and the last port is 65535; use 65530",
        ),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as raised:
        LocalEnvironment().check_options(options, THREE)
    assert words in str(raised.value)
    with pytest.raises(ValueError) as raised:
        asyncio.run(LocalEnvironment().create_cluster(EchoSystem(), THREE, TestFolder(tmp_path), options))
    assert words in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_told_together() -> None:
    with pytest.raises(ValueError) as raised:
        LocalEnvironment().check_options({"colour": 1, "size": 2, "base_port": 80}, ["n1", "n1"])
    assert str(raised.value).split("; ") == [
        "nodes ['n1', 'n1']: must be unique names, at least one, and none is 'client'",
        "unknown option 'colour' of environment local (known: base_port)",
        "unknown option 'size' of environment local (known: base_port)",
        "base_port 80: must be 1024 to 65535",
    ]


def test_more_nodes_than_a_block_has_ports_for_need_a_base_port() -> None:
    nodes = [f"n{number}" for number in range(1, 33)]
    LocalEnvironment().check_options({}, nodes[:31])
    with pytest.raises(ValueError, match=r"32 nodes with 2 ports each need 64 ports, and a block .* has 63"):
        LocalEnvironment().check_options({}, nodes)
    LocalEnvironment().check_options({"base_port": 20_000}, nodes)


def test_the_last_ports_that_fit_are_taken() -> None:
    LocalEnvironment().check_options({}, THREE)
    LocalEnvironment().check_options({"base_port": 65_530}, THREE)
    LocalEnvironment().check_options({"base_port": 1024}, THREE)
