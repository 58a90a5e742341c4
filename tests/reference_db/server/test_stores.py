"""A node of several cores as processes: what each store is told, and that a node is whole or gone."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from reference_db.client import Client
from reference_db.server.config import ServerConfig, StoreAddresses, parse_config
from reference_db.server.program import FAIL_STOP, StartFailed
from reference_db.server.stores import store_config
from tests.reference_db.server.processes import Processes

CONFIG = ServerConfig(
    node="n2",
    data_dir="data",
    peer_listen=("0.0.0.0", 7000),
    client_listen=("0.0.0.0", 7100),
    metrics_listen=("0.0.0.0", 9100),
    peers={"n1": ("a", 7000), "n3": ("c", 8000)},
    nodes=("n1", "n2", "n3"),
    seed=5,
)


def test_a_store_has_its_nodes_ports_and_its_place_among_the_cores() -> None:
    second = store_config(CONFIG, 2, 2)
    assert second.node == "n2.2"
    assert second.nodes == ("n1.1", "n1.2", "n2.1", "n2.2", "n3.1", "n3.2")
    assert (second.peer_listen, second.client_listen) == (("0.0.0.0", 7001), ("0.0.0.0", 7101))
    assert second.metrics_listen == ("0.0.0.0", 9101)
    assert second.peers == {
        "n1.1": ("a", 7000),
        "n1.2": ("a", 7001),
        "n2.1": ("0.0.0.0", 7000),
        "n3.1": ("c", 8000),
        "n3.2": ("c", 8001),
    }
    assert second.data_dir == "data/core-2"
    assert len({store_config(CONFIG, 2, core).seed for core in (1, 2)}) == 2


def test_stores_may_be_told_where_each_of_them_listens_and_dials() -> None:
    """As where a proxy stands before each port, and no two ports follow each other."""
    more = StoreAddresses(
        peer_listen=("0.0.0.0", 17), client_listen=("0.0.0.0", 18), peers={"n1": ("p", 4), "n3": ("p", 9)}
    )
    config = ServerConfig(**{**_fields(CONFIG), "more_stores": (more,)})
    first, second = store_config(config, 2, 1), store_config(config, 2, 2)
    assert (second.peer_listen, second.client_listen) == (("0.0.0.0", 17), ("0.0.0.0", 18))
    assert first.peer_listen == ("0.0.0.0", 7000)
    assert first.peers == {
        "n1.1": ("a", 7000),
        "n1.2": ("p", 4),
        "n2.2": ("0.0.0.0", 17),
        "n3.1": ("c", 8000),
        "n3.2": ("p", 9),
    }
    content = msgspec.json.encode(config)
    with pytest.raises(ValueError, match="more_stores has 1 stores beside the first: cores is 1"):
        parse_config(content)


def test_a_core_or_a_port_that_cannot_be_is_refused() -> None:
    with pytest.raises(StartFailed, match="store 3 of n2: its stores are 1 to 2"):
        store_config(CONFIG, 2, 3)
    with pytest.raises(StartFailed, match="port 65536"):
        store_config(ServerConfig(**{**_fields(CONFIG), "client_listen": ("h", 65535)}), 2, 2)


def _fields(config: ServerConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_stores_serve_through_each_other_and_end_together(tmp_path: Path) -> None:
    """Keys of both stores' ranges are written and read through the first one. Then one store is killed: the node ends,
    as after a broken promise."""

    async def story() -> int:
        cluster = Processes(tmp_path, 1, ranges=4, cores=2, replication=1, options={"cores": 2})
        node = cluster.start("n1")
        try:
            host, port = cluster.clients["n1"]
            for at in (port, port + 1):
                for _ in range(900):
                    try:
                        async with Client((host, at)) as client:
                            if (await client.status(ranges=False))["counters"]["ranges_served"] == 2:
                                break
                    except Exception:  # noqa: BLE001  (not there yet)
                        assert node.poll() is None, cluster.log("n1")
                    await asyncio.sleep(0.1)
            async with Client((host, port)) as client:
                for key in ("1", "c", "k", "y"):
                    await client.put(key, key)
                assert [await client.get(key) for key in ("1", "c", "k", "y")] == ["1", "c", "k", "y"]
            stores = children(node.pid)
            assert len(stores) == 2
            os.kill(stores[1], signal.SIGKILL)
            return await asyncio.to_thread(node.wait, 20)
        finally:
            if node.poll() is None:
                node.kill()
                node.wait()

    assert asyncio.run(story()) == FAIL_STOP
