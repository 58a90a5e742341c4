"""A harness that a test kills: starts echo nodes, breaks some things, says who lives, and waits to be killed."""

import asyncio
import json
import sys
from pathlib import Path

from harness.environments.local.environment import LocalEnvironment
from tests.harness.environments.echo_system import EchoSystem, TestFolder


async def main(path: Path, detach: bool) -> None:
    cluster = await LocalEnvironment().create_cluster(EchoSystem(), ["n1", "n2"], TestFolder(path), {})
    await cluster.start_all()
    await cluster.wait_ready(90)
    pids = {name: cluster.pid(name) for name in cluster.nodes}
    ports = [address[1] for name in cluster.nodes for address in cluster.client_address(name).values()]
    if detach:
        print(json.dumps({"pids": pids, "ports": ports, "sentence": await cluster.detach()}), flush=True)
        return
    await cluster.cut([("n1", "n2")])
    await cluster.pause("n1")
    await cluster.set_clock("n2", 60_000)
    print(json.dumps({"pids": pids, "ports": ports}), flush=True)
    await asyncio.sleep(600)


asyncio.run(main(Path(sys.argv[1]), "detach" in sys.argv))
