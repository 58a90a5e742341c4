"""A configuration is checked as a whole, and every problem is named."""

import json

import pytest

from reference_db.server.config import parse_config

GOOD = {
    "node": "n1",
    "data_dir": "data",
    "peer_listen": ["127.0.0.1", 7001],
    "client_listen": ["127.0.0.1", 7101],
    "peers": {"n2": ["127.0.0.1", 7002], "n3": ["127.0.0.1", 7003]},
    "nodes": ["n1", "n2", "n3"],
    "options": {"tick_ms": 50},
}


JOIN = {"clients": [["127.0.0.1", 7101]], "address": ["127.0.0.1", 7004]}


def test_a_node_that_joins_is_none_of_the_founders() -> None:
    peers = {**GOOD["peers"], "n1": ["127.0.0.1", 7001]}  # type: ignore[dict-item]
    config, _ = parse_config(json.dumps({**GOOD, "node": "n4", "peers": peers, "join": JOIN}).encode())
    assert config.join is not None
    assert config.join.address == ("127.0.0.1", 7004)


def parse(**changes: object) -> object:
    return parse_config(json.dumps({**GOOD, **changes}).encode())


def test_defaults_are_filled_in() -> None:
    config, options = parse_config(json.dumps(GOOD).encode())
    assert (config.replication, config.ranges, config.clock_file, config.defect) == (3, 8, None, None)
    assert (options.tick_ms, options.election_ticks, options.reads) == (50, 10, "linearizable")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"node": "n9"}, "'n9' is not among the nodes"),
        ({"replication": 4}, "replication is 4"),
        ({"ranges": 0}, "ranges is 0"),
        ({"peers": {"n2": ["127.0.0.1", 1]}}, "no address for n3"),
        ({"options": {"tick_ms": 1}}, "tick_ms is 1"),
        ({"options": {"reads": "quickly"}}, "the ways offered are linearizable, lease, bounded, stale"),
        ({"options": {"colour": "red"}}, "colour"),
        ({"nonsense": 1}, "nonsense"),
        ({"peer_listen": "here"}, "peer_listen"),
        ({"nodes": ["n1", "n2", "n2"]}, "named twice"),
        ({"join": JOIN}, "'n1' is among the nodes n1, n2, n3: only others join"),
        ({"options": {"zones": "n1"}}, "must be NODE:ZONE"),
        ({"options": {"zones": "n1:eu", "leader_zones": "eu/us"}}, "leader_zones names us: no node is there"),
        ({"options": {"dead_after_ms": 1}}, "dead_after_ms is 1"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse(**changes)


def test_all_problems_come_together() -> None:
    with pytest.raises(ValueError) as caught:
        parse(replication=9, ranges=0)
    assert "replication is 9" in str(caught.value)
    assert "ranges is 0" in str(caught.value)
