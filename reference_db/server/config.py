"""What a node process is told at start: one JSON file, checked as a whole before anything is opened.

    {"node": "n1", "data_dir": "data", "peer_listen": ["127.0.0.1", 7001], "client_listen": ["127.0.0.1", 7101],
     "peers": {"n2": ["127.0.0.1", 7002], "n3": ["127.0.0.1", 7003]}, "nodes": ["n1", "n2", "n3"],
     "replication": 3, "ranges": 8, "clock_file": null, "seed": 0, "defect": null, "options": {}}

`peers` are the addresses at which *this* node dials the others; they may differ from where those listen (proxies).
"""

from __future__ import annotations

from typing import Any

import msgspec

from reference_db.node import NodeOptions

Address = tuple[str, int]
RANGES_MOST = 10_000


class Joining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node needs that joins a running cluster; `nodes` are the founders all the same."""

    clients: tuple[Address, ...]
    """Where nodes that are members serve clients."""
    address: Address
    """Where the others shall dial this node."""
    zone: str = ""
    patience_s: float = 30.0
    """How long the node tries to find somebody who takes it."""


class StoreAddresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one store of a node listens, and where it is that this node dials the same store of the others."""

    peer_listen: Address
    client_listen: Address
    peers: dict[str, Address]


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's content. Addresses are (host, port)."""

    node: str
    data_dir: str
    peer_listen: Address
    client_listen: Address
    peers: dict[str, Address]
    nodes: tuple[str, ...]
    metrics_listen: Address | None = None
    """Where Prometheus finds `/metrics`; None: nowhere."""
    replication: int = 3
    ranges: int = 8
    clock_file: str | None = None
    socks: Address | None = None
    """A SOCKS5 server through which this node dials the others; None: it dials them as they are."""
    seed: int = 0
    defect: str | None = None
    options: dict[str, Any] = {}
    join: Joining | None = None
    """For a node that is none of the founders."""
    more_stores: tuple[StoreAddresses, ...] = ()
    """With the option `cores`: the second store and those after it. Empty: each has the ports of the one before it, and
    one."""


def parse_config(content: bytes) -> tuple[ServerConfig, NodeOptions]:
    """The configuration and its options, or ValueError that lists everything that is wrong with them."""
    try:
        config = msgspec.json.decode(content, type=ServerConfig)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the configuration is not valid: {error}") from error
    wrong = []
    if (config.node in config.nodes) == (config.join is not None):
        among = "among" if config.join is not None else "not among"
        wrong.append(f"node {config.node!r} is {among} the nodes {', '.join(config.nodes)}: only others join")
    if len(set(config.nodes)) != len(config.nodes):
        wrong.append(f"nodes are named twice: {', '.join(config.nodes)}")
    missing = [name for name in config.nodes if name != config.node and name not in config.peers]
    if missing:
        wrong.append(f"peers has no address for {', '.join(missing)}")
    if not 1 <= config.replication <= len(config.nodes):
        wrong.append(
            f"replication is {config.replication}: it must be between 1 and {len(config.nodes)} (the nodes)"
        )
    if not 1 <= config.ranges <= RANGES_MOST:
        wrong.append(f"ranges is {config.ranges}: it must be between 1 and {RANGES_MOST}")
    options = NodeOptions()
    try:
        options = msgspec.convert(config.options, type=NodeOptions)
        wrong.extend(options.problems())
    except msgspec.ValidationError as error:
        wrong.append(f"options: {error}")
    if config.more_stores and len(config.more_stores) != options.cores - 1:
        wrong.append(
            f"more_stores has {len(config.more_stores)} stores beside the first: cores is {options.cores}"
        )
    if wrong:
        raise ValueError("the configuration is not valid:\n  " + "\n  ".join(wrong))
    return config, options
