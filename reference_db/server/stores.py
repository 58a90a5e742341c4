"""A node of several cores: one process that starts a store for each, and ends with them.

    python -m reference_db.server --config FILE               with the option cores=3
      python -m reference_db.server --config FILE --store 1   n1.1: ports as configured, data in core-1
      python -m reference_db.server --config FILE --store 2   n1.2: each port and one, data in core-2
      python -m reference_db.server --config FILE --store 3

A store is a member of the cluster of its own (`ranges/cores.py`): it dials the stores of all nodes, its siblings too,
and takes any client. The node is one unit of failure: when one of its stores ends, by a broken promise or otherwise,
the others are ended as well, and when this process ends, however, its stores see the end of a pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import msgspec

from reference_db.ranges.cores import store_name, stores_of
from reference_db.server.config import Address, ServerConfig, StoreAddresses
from reference_db.server.program import FAIL_STOP, StartFailed


def store_config(config: ServerConfig, cores: int, core: int) -> ServerConfig:
    """What one store of a node is told. Where the configuration does not say, store c of any node has that node's ports
    and c - 1. Raises StartFailed for a core or a port that cannot be."""
    if not 1 <= core <= cores:
        raise StartFailed(f"store {core} of {config.node}: its stores are 1 to {cores}")
    stores = [_addresses(config, other) for other in range(1, cores + 1)]
    name, own = store_name(config.node, core), stores[core - 1]
    peers = {
        store_name(node, other): address
        for other, store in enumerate(stores, 1)
        for node, address in {config.node: store.peer_listen, **store.peers}.items()
    }
    del peers[name]
    metrics = config.metrics_listen
    return msgspec.structs.replace(
        config,
        node=name,
        nodes=stores_of(config.nodes, cores),
        peers=dict(sorted(peers.items())),
        data_dir=str(Path(config.data_dir) / f"core-{core}"),
        peer_listen=own.peer_listen,
        client_listen=own.client_listen,
        metrics_listen=None if metrics is None else _of_store(metrics, core),
        seed=config.seed * cores + core,
        more_stores=(),
    )


def _addresses(config: ServerConfig, core: int) -> StoreAddresses:
    if core > 1 and config.more_stores:
        return config.more_stores[core - 2]
    return StoreAddresses(
        peer_listen=_of_store(config.peer_listen, core),
        client_listen=_of_store(config.client_listen, core),
        peers={node: _of_store(address, core) for node, address in config.peers.items()},
    )


def _of_store(address: Address, core: int) -> Address:
    host, port = address
    if port + core - 1 > 65535:
        raise StartFailed(
            f"store {core} would listen on port {port + core - 1} of {host}: choose lower ports"
        )
    return host, port + core - 1


def run_stores(config_file: Path, cores: int) -> int:
    """Run all stores of a node until one ends or a signal comes. Returns the first exit code that is not 0."""
    command = [sys.executable, "-m", "reference_db.server", "--config", str(config_file), "--store"]
    stores = {
        process.pid: process
        for process in [
            subprocess.Popen([*command, str(core)], stdin=subprocess.PIPE) for core in range(1, cores + 1)
        ]
    }

    def stop(_number: int, _frame: FrameType | None) -> None:
        _signal_all(stores, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = 0
    while stores:
        pid, status = os.waitpid(-1, 0)
        if stores.pop(pid, None) is None:
            continue
        ended = os.waitstatus_to_exitcode(status)
        if ended != 0:
            # Half a node is no node: nothing may go on as if it were whole.
            code = code or (ended if ended > 0 else FAIL_STOP)
            _signal_all(stores, signal.SIGKILL)
        else:
            _signal_all(stores, signal.SIGTERM)
    return code


def _signal_all(stores: dict[int, subprocess.Popen[bytes]], number: int) -> None:
    for pid in stores:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_with_parent() -> None:
    """In a store: end at once when the process that has started it is gone."""

    def watch() -> None:
        # Not through `sys.stdin`: its lock, held here, would abort an interpreter that ends in an orderly way.
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(FAIL_STOP)

    threading.Thread(target=watch, name="parent", daemon=True).start()
