"""A deposed leader's long tail is overwritten at its beginning only.

1. n1 leads term 1, is cut off, and takes x, y and z at indexes 2 to 4. 2. n2 leads term 2 with n3's vote, and appends
at index 2. 3. n1 hears n2 and takes over its log.

What clients see of it: 4. n3 has voted for n2 and has not got its entry, and is cut off. n2 commits the entry with n1:
the clients of y and z are told that these were lost. 5. n2 is cut off, n3 is back. n1, whose log seems longer, leads
term 3, and commits y and z after all. Random search hardly comes to this: n3 must be cut off within a round trip of
its vote, or its log is newer than that of n1; and n2 must commit less than n1 has in its tail.
"""

from __future__ import annotations

from reference_db.defects.conflict_not_truncated import plant_in
from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import MessageKind


def directed(plant: bool) -> list[str]:
    """What is broken."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing)
    stage.campaign(1)
    stage.isolate(1)
    for data in (b"x", b"y", b"z"):
        stage.propose(1, data)
    stage.campaign(2)
    stage.heal()
    stage.tick(2, count=2)
    assert stage.group(1).core.log.term(2) == 2
    return stage.violations


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing)
    clients = Clients(stage)
    stage.campaign(1)
    stage.isolate(1)
    for element in (1, 2, 3):
        clients.add(1, element)
    stage.holds = lambda message: message.kind is MessageKind.APPEND
    stage.campaign(2)
    assert stage.group(2).is_leader
    stage.lose()
    stage.isolate(3)
    stage.tick(2, count=3)
    clients.hear()
    stage.isolate(2)
    stage.campaign(1)
    assert stage.group(1).is_leader
    clients.read(1)
    return clients.end()
