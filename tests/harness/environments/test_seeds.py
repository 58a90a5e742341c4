"""What real environments draw comes from the run's one seed: packet engines, layers of disks, blocks of ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.environments.channel import Channel
from harness.environments.disks.disks import Disks, arguments
from harness.environments.docker.environment import DockerEnvironment
from harness.environments.ledger import Ledger
from harness.environments.linux import packet_process
from harness.environments.local.environment import LocalEnvironment
from harness.seeds import Seeds


class Recording:
    """See `Place`; notes the seeds of the layers that are opened."""

    def __init__(self) -> None:
        self.seeds: dict[str, int] = {}
        self._ends: list[socket.socket] = []

    async def open(self, name: str, folder: Path, seed: int, on_end: Callable[[], None]) -> Channel:
        self.seeds[name] = seed
        ours, theirs = socket.socketpair()
        self._ends.append(theirs)
        return await Channel.open(name, ours)

    async def is_mounted(self, name: str, folder: Path) -> bool:
        return True

    async def end(self, name: str, folder: Path) -> None:
        self._ends.pop().close()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nothing else is asked of it than to open and end layers: {name}")


def seeds_of_layers(root: int, path: Path) -> dict[str, int]:
    place = Recording()

    async def story() -> None:
        disks = Disks(Ledger.create(path / f"{root}.jsonl", "local"), place, print, Seeds(root))
        await disks.lay({"n1": path / "n1", "n2": path / "n2"})
        await disks.end()

    asyncio.run(story())
    return place.seeds


def test_each_layer_below_a_disk_has_a_seed_of_its_own_from_that_of_the_run(tmp_path: Path) -> None:
    first = seeds_of_layers(1, tmp_path)
    (tmp_path / "1.jsonl").unlink()
    assert first == seeds_of_layers(1, tmp_path)
    assert len({*first.values(), *seeds_of_layers(2, tmp_path).values()}) == 4
    assert arguments(tmp_path, 7)[-1] == "7"


def test_environments_of_real_nodes_keep_the_seed_they_are_made_with() -> None:
    assert LocalEnvironment(5).seeds.root == 5
    attached: Any = DockerEnvironment(5).with_options({"attach": "one,two"})
    assert attached.seeds.root == 5
    assert packet_process.arguments(3, 9)[-2:] == ["3", "9"]
