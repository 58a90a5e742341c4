"""Addresses of a run: two private networks in one free /24, and a fixed address for each node in both.

On the network *data*, nodes speak with each other and with the clients, and faults cut links. On the network *control*,
the harness itself asks a node whether it is ready and what its clock shows, whatever is cut; nodes cannot reach each
other there. Nothing in this file talks to an engine: `cluster.py` creates what is planned here.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POOL = ipaddress.IPv4Network("10.224.0.0/12")
"""Where runs take their /24 from: 4,096 of them, in the part of 10/8 that local networks use least."""
MOST_NODES = 100
_FIRST_HOST = 11


class Addressed(Protocol):
    """Where the ends of links are."""

    @property
    def client_address(self) -> str:
        """From which clients come."""

    def data_address(self, node: str) -> str:
        """By which the others know a node."""


@dataclass(frozen=True)
class AddressPlan:
    """Who has which address in one run."""

    subnet: ipaddress.IPv4Network
    """The /24; its lower half is *data*, its upper half *control*."""
    nodes: tuple[str, ...]

    @property
    def data_subnet(self) -> ipaddress.IPv4Network:
        return next(self.subnet.subnets())

    @property
    def control_subnet(self) -> ipaddress.IPv4Network:
        return list(self.subnet.subnets())[1]

    @property
    def client_address(self) -> str:
        """The host's end of *data*: the address from which clients come."""
        return str(self.data_subnet[1])

    @property
    def control_gateway(self) -> str:
        return str(self.control_subnet[1])

    def data_address(self, node: str) -> str:
        return str(self.data_subnet[_FIRST_HOST + self.nodes.index(node)])

    def control_address(self, node: str) -> str:
        return str(self.control_subnet[_FIRST_HOST + self.nodes.index(node)])


def candidate_plans(
    run_key: str, nodes: Sequence[str], used: Iterable[ipaddress.IPv4Network]
) -> Iterator[AddressPlan]:
    """Plans in /24s that overlap nothing in `used`, in an order that differs from run to run.

    So that runs that start at the same time seldom try the same one; when they do, the engine refuses the second and
    the next candidate is tried. Raises ValueError for more nodes than a network holds.
    """
    if len(nodes) > MOST_NODES:
        raise ValueError(f"cannot place {len(nodes)} nodes: a run's network holds at most {MOST_NODES}")
    taken = list(used)
    count = 1 << (24 - POOL.prefixlen)
    start = int.from_bytes(hashlib.sha256(run_key.encode()).digest()[:4], "big") % count
    for step in range(count):
        base = int(POOL.network_address) + ((start + step) % count << 8)
        subnet = ipaddress.IPv4Network((base, 24))
        if not any(subnet.overlaps(other) for other in taken):
            yield AddressPlan(subnet, tuple(nodes))


def routed_networks(route_table: str) -> list[ipaddress.IPv4Network]:
    """The networks that this host has a route to, the default route left out; from /proc/net/route's text."""
    networks = []
    for line in route_table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, mask = (int.from_bytes(bytes.fromhex(fields[index]), "little") for index in (1, 7))
        if mask:
            networks.append(ipaddress.IPv4Network((destination & mask, mask.bit_count())))
    return networks


def host_networks() -> list[ipaddress.IPv4Network]:
    """The networks that this host has a route to now; none where there is no /proc."""
    try:
        return routed_networks(Path("/proc/net/route").read_text())
    except OSError:
        return []
