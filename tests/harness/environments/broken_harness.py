"""A program that breaks a cluster in every way, saying so line by line, until it is killed: for tests of what is left.

Arguments: the environment, the run folder.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

from tests.harness.environments.echo_system import EchoSystem, TestFolder


def say(what: str) -> None:
    print(what, flush=True)


async def main(environment: Any, path: Path, system: Any) -> None:
    options = {}
    say("nothing yet")
    cluster = await environment.create_cluster(system, ["n1", "n2"], TestFolder(path), options)
    say(f"created {cluster.ledger.header.token}")
    await cluster.expect({"disk"})
    say("disks")
    await cluster.start_all()
    await cluster.wait_ready(90)
    say("ready")
    await cluster.cut([("n1", "n2")])
    await cluster.pause("n2")
    say("cut and paused")
    await cluster.set_clock("n1", 1000)
    if "disturb" in cluster.capabilities() and cluster.capabilities()["disturb"].available:
        await cluster.slow([("n2", "n1")], 20)
    say("late")
    await cluster.fail_disk("n1", "stall")
    say("stalled")
    await cluster.kill("n1")
    say("killed")
    await asyncio.sleep(600)


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    module = importlib.import_module(f"harness.environments.{name}.environment")
    made = getattr(module, f"{name.capitalize()}Environment")()
    tested: Any = EchoSystem()
    if name == "docker":
        tested = importlib.import_module("tests.harness.environments.docker.conftest").EchoSystem()
    made.run(main(made, Path(folder), tested))
