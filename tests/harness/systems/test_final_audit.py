"""At the end of a simulated run every replica is compared with all that was ever committed."""

from __future__ import annotations

from typing import Any

from harness.systems.reference_db import ReferenceDatabase
from reference_db.api import ClientPut
from reference_db.invariants import Watcher
from reference_db.storage import keys
from reference_db.storage.engine import WriteBatch
from reference_db.timestamp import Timestamp
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


class Listener:
    """A simulated world that only listens."""

    is_traced = False

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str | None, int | None]] = []
        self.texts: list[str] = []

    def found(self, kind: str, name: str, text: str, node: str | None, range_id: int | None) -> None:
        self.heard.append((kind, name, node, range_id))
        self.texts.append(text)

    def emit(self, area: str, name: str, /, **fields: Any) -> None: ...

    def mark(self, name: str) -> None: ...


def test_a_version_that_nobody_wrote_and_one_that_is_gone_are_found() -> None:
    async def story() -> None:
        world = World(seed=4, ranges=2, watcher=Watcher())
        world.start_all()
        await world.wait_until_led()
        for number in range(10):
            await world.ask("n1", ClientPut(b"k%d" % number, b"%d" % number))
        await world.wait_for(world.is_quiet)
        listener, system = Listener(), ReferenceDatabase(ranges=2)
        system._world, system._watcher = listener, world.watcher
        system._audit()
        assert listener.heard == []

        appeared, gone = WriteBatch(), WriteBatch()
        appeared.put(keys.version_key(b"k3", Timestamp(5)), b"\x01from nowhere")
        world.engines["n2"].write(appeared)
        gone.delete(next(world.engines["n3"].scan(*keys.span(keys.VERSION, b"k7", b"k8")))[0])
        world.engines["n3"].write(gone)
        system._audit()
        assert listener.heard == [
            ("audit", "version provenance", "n2", 2),
            ("audit", "version provenance", "n3", 2),
        ]
        assert "the version of b'k3' at 5.0 is on n2 and not on" in listener.texts[0]
        assert "and not on n3" in listener.texts[1]

    run_virtually(story())


def test_an_unwatched_run_is_not_audited() -> None:
    system = ReferenceDatabase(invariants=False)
    listener = Listener()
    system.watch(listener)
    system._audit()
    assert listener.heard == []
