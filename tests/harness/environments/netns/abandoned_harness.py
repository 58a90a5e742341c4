"""A harness that a test runs as a process: echo nodes in namespaces, some faults; then it waits or ends."""

import asyncio
import json
import os
import sys
from pathlib import Path

from harness.environments.netns.environment import NetnsEnvironment
from tests.harness.environments.echo_system import EchoSystem, TestFolder


async def main(environment: NetnsEnvironment, path: Path, waits: bool) -> None:
    cluster = await environment.create_cluster(EchoSystem(), ["n1", "n2"], TestFolder(path), {})
    try:
        await cluster.start_all()
        await cluster.wait_ready(90)
        links = [("n1", "n2")]
        proven = {
            "cut": (await cluster.cut(links)).took_effect,
            "mend": (await cluster.mend(links)).took_effect,
            "slow": (await cluster.slow(links, 30)).took_effect,
            "reset": (await cluster.reset([("client", "n1")])).took_effect,
        }
        told = {"proven": proven, "pids": [cluster.pid("n1"), cluster.pid("n2")], "user": os.geteuid()}
        print(json.dumps(told), flush=True)
        if waits:
            await asyncio.sleep(600)
    finally:
        await cluster.destroy()


environment = NetnsEnvironment()
environment.run(main(environment, Path(sys.argv[1]), "wait" in sys.argv))
