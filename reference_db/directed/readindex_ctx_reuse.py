"""The answer to an old round of heartbeats arrives when a newer read waits.

1. n1 leads term 1; a first read opens a round, and n2's answer to it is held up. 2. n1 is cut off; n3 leads term 2 with
n2, and commits x. 3. n1, which does not know, is asked to read again; the round for that is lost. 4. n2's old answer
arrives.
"""

from __future__ import annotations

from reference_db.defects.readindex_ctx_reuse import plant_in
from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import MessageKind


def directed(plant: bool) -> list[str]:
    """What is broken."""
    return _played(plant).stage.violations


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    clients = _played(plant)
    clients.read(3)
    return clients.end()


def _played(plant: bool) -> Clients:
    stage = Stage((1, 2, 3), plant_in if plant else nothing)
    clients = Clients(stage)
    stage.campaign(1)
    stage.cut = {(1, 3), (3, 1)}
    stage.holds = lambda message: message.kind == MessageKind.HEARTBEAT_RESPONSE and message.target == 1
    clients.read(1, "first")
    stage.cut = {(1, 2), (1, 3), (3, 1)}
    stage.campaign(3)
    clients.add(3, 1)
    assert stage.group(3).commit == 3
    clients.read(1, "second")
    stage.release()
    assert b"first" in stage.answers
    return clients
