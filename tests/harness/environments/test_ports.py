"""Ports of nodes: never two harnesses on one block, and a clear word when a fixed port is taken."""

from __future__ import annotations

import socket
from pathlib import Path
from random import Random

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.environments.local.ports import BLOCK, HOST, PortBlock, check_free


def test_two_harnesses_with_the_same_dice_get_different_blocks() -> None:
    one, other = PortBlock(Random(1)), PortBlock(Random(1))
    ports = [block.take("a test") for block in (one, other) for _ in range(10)]
    assert len(set(ports)) == 20
    one.close()
    again = PortBlock(Random(1))
    assert again.take("a test") == ports[0], "a block that was given back is used again"
    for block in (other, again):
        block.close()


def test_ports_stay_below_those_that_the_kernel_hands_out() -> None:
    block = PortBlock(Random(2))
    system = Path("/proc/sys/net/ipv4/ip_local_port_range")
    low = int(system.read_text().split()[0]) if system.exists() else 32_768
    assert block.take("a test") < low
    block.close()


def test_a_port_that_is_taken_is_passed_over() -> None:
    first = PortBlock(Random(3))
    start = first.take("a test")
    first.close()
    with socket.socket() as stranger:
        stranger.bind((HOST, start))
        block = PortBlock(Random(3))
        assert block.take("a test") == start + 1
        block.close()


def test_a_block_ends() -> None:
    block = PortBlock(Random(4))
    with pytest.raises(EnvironmentFailed, match=f"no port left for n99: a block has {BLOCK}"):
        print([block.take("n99") for _ in range(BLOCK)])
    block.close()


def test_a_fixed_port_in_use_is_named_with_its_purpose() -> None:
    with socket.socket() as stranger:
        stranger.bind((HOST, 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(
            EnvironmentFailed, match=f"port {port} of 127.0.0.1, meant for n1 .peer., is in use"
        ):
            PortBlock(Random(5), base_port=port).take("n1 (peer)")
        with pytest.raises(EnvironmentFailed, match="is in use"):
            check_free(port, "n1")
    assert PortBlock(Random(5), base_port=port).take("n1 (peer)") == port
