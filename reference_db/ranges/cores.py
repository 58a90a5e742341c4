"""A node with several cores: which stores it has, which ranges are whose, and what may not be on one node.

A node with k cores runs k *stores*, each in a process of its own: with its own engine, its own loop, its own replicas.
A store is a member of the cluster like any other (`n1.1`, `n1.2`, ...), so a range names stores where it would name
nodes, and everything that finds a range finds its core. Nothing of a range is shared between stores.

Rules that live here:

- Two replicas of a range are never on one node, whatever its stores: they would fail together.
- A new cluster's ranges go round the cores by their ids, and lie on the same core of each of their nodes, so what one
  core does for a range is done by the same core elsewhere.
- Both halves of a split stay where the whole was, since replicas are the stores that a descriptor names.

Redpanda assigns partitions to cores in this way (a shard per core, nothing shared); CockroachDB's several stores of a
node have the same rule about replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "."
CORES_MOST = 64


def store_name(node: str, core: int) -> str:
    """The name of a node's store; cores count from 1."""
    return f"{node}{SEPARATOR}{core}"


def stores_of(nodes: Iterable[str], cores: int) -> tuple[str, ...]:
    """All stores of a cluster, node by node; with one core the nodes themselves."""
    if cores == 1:
        return tuple(nodes)
    return tuple(store_name(node, core) for node in nodes for core in range(1, cores + 1))


def node_of(store: str, cores: int) -> str:
    """The node that a store belongs to."""
    return store if cores == 1 else store.rpartition(SEPARATOR)[0]


def placed(number: int, stores: Sequence[str], replication: int, cores: int) -> tuple[str, ...]:
    """The stores of the `number`th of a new cluster's ranges, the preferred leader's first: one core after the other,
    and then one node after the other. Raises ValueError for more replicas than nodes."""
    nodes = len(stores) // cores
    if not 1 <= replication <= nodes or nodes * cores != len(stores):
        raise ValueError(
            f"cannot keep {replication} replicas on {nodes} nodes: at least 1, at most one a node"
        )
    core, first = number % cores, number // cores
    return tuple(stores[(first + offset) % nodes * cores + core] for offset in range(replication))


def why_not_beside(target: str, source: str, members: Iterable[str], cores: int) -> str | None:
    """Why a range with these members may not get a replica on `target`, though the one on `source` is to go; None if
    it may. Until that one has gone both are there."""
    node = node_of(target, cores)
    for member in members:
        if node_of(member, cores) == node and member != target:
            gone = ", which is to go only when the new one is there" if member == source else ""
            return f"{node} has a replica already, on {member}{gone}; move it by way of another node"
    return None
