"""A voter restarts within the time that it has promised to a leader, which is cut off in the same moment.

1. n1 leads and holds a lease by the answers of n2; n3 is cut off. 2. n2 restarts, and is in touch with n3 alone. 3. n3
campaigns. n2 has heard of no leader in this life, and votes for it; n3 commits x. 4. n1 is asked to read.
"""

from __future__ import annotations

from reference_db.defects.lease_promise_forgotten import plant_in
from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import ReadMode


def directed(plant: bool) -> list[str]:
    """What is broken."""
    return _played(plant).stage.violations


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    clients = _played(plant)
    if clients.stage.group(3).is_leader:
        clients.read(3)
    return clients.end()


def _played(plant: bool) -> Clients:
    stage = Stage(
        (1, 2, 3),
        plant_in if plant else nothing,
        pre_vote=True,
        check_quorum=True,
        read_mode=ReadMode.LEASE,
    )
    clients = Clients(stage)
    stage.campaign(1)
    stage.isolate(3)
    stage.tick(1, 2, count=15)
    stage.tick(3, count=12)
    assert stage.group(1).lease_valid
    stage.isolate(1)
    stage.crash(2)
    stage.start(2)
    stage.group(3).campaign()
    stage.settle()
    if stage.group(3).is_leader:
        clients.add(3, 1)
    clients.read(1, "late")
    return clients
