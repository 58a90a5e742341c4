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


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's content. Addresses are (host, port)."""

    node: str
    data_dir: str
    peer_listen: Address
    client_listen: Address
    peers: dict[str, Address]
    nodes: tuple[str, ...]
    replication: int = 3
    ranges: int = 8
    clock_file: str | None = None
    seed: int = 0
    defect: str | None = None
    options: dict[str, Any] = {}


def parse_config(content: bytes) -> tuple[ServerConfig, NodeOptions]:
    """The configuration and its options, or ValueError that lists everything that is wrong with them."""
    try:
        config = msgspec.json.decode(content, type=ServerConfig)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the configuration is not valid: {error}") from error
    wrong = []
    if config.node not in config.nodes:
        wrong.append(f"node {config.node!r} is not among the nodes {', '.join(config.nodes)}")
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
    if wrong:
        raise ValueError("the configuration is not valid:\n  " + "\n  ".join(wrong))
    return config, options
