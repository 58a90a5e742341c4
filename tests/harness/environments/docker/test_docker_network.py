"""Addresses of a run: free, fixed, and different for runs that start at the same time."""

from ipaddress import IPv4Network
from itertools import islice

import pytest

from harness.environments.docker.network import POOL, candidate_plans, routed_networks

NODES = ["n1", "n2", "n3"]


def test_every_node_has_one_address_in_each_half():
    plan = next(candidate_plans("a-run", NODES, []))
    assert plan.subnet.subnet_of(POOL)
    assert not plan.data_subnet.overlaps(plan.control_subnet)
    data = [plan.data_address(name) for name in NODES]
    control = [plan.control_address(name) for name in NODES]
    everything = [*data, *control, plan.client_address, plan.control_gateway]
    assert len(set(everything)) == len(everything), "an address is given twice"
    assert [address.rsplit(".", 1)[1] for address in data] == ["11", "12", "13"]


def test_networks_in_use_are_avoided_whatever_their_size():
    """A part of a /24 taken, or a whole /16: both are skipped."""
    first, second = islice(candidate_plans("a-run", NODES, []), 2)
    used = [next(first.subnet.subnets(new_prefix=30)), second.subnet.supernet(new_prefix=16)]
    plan = next(candidate_plans("a-run", NODES, used))
    assert not any(plan.subnet.overlaps(network) for network in used)
    assert list(candidate_plans("a-run", NODES, [POOL])) == []


def test_runs_begin_their_search_in_different_places_and_always_the_same():
    subnets = {str(next(candidate_plans(f"run-{number}", NODES, [])).subnet) for number in range(50)}
    assert len(subnets) > 45
    assert next(candidate_plans("run-1", NODES, [])) == next(candidate_plans("run-1", NODES, []))


def test_too_many_nodes_are_refused():
    with pytest.raises(ValueError, match="at most 100"):
        next(candidate_plans("a-run", [f"n{number}" for number in range(101)], []))


def test_routes_are_read_from_the_kernel_table():
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert routed_networks(table) == [IPv4Network("172.17.0.0/16"), IPv4Network("192.0.2.0/24")]
