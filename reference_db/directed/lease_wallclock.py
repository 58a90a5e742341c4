"""A leader's wall clock is set back while it is cut off.

1. n1 leads and holds a lease. All members tick at the same rate, and so do their wall clocks. 2. n1 is cut off, and its
wall clock is set back by ten ticks. 3. An election timeout later n3 leads the next term with n2's vote, and commits x.
4. n1, which checks its quorum only a little later, is asked to read.
"""

from __future__ import annotations

from reference_db.defects.lease_wallclock import plant_in
from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage
from reference_db.raft import RaftGroup, ReadMode


def directed(plant: bool) -> list[str]:
    """What is broken."""
    return _played(plant).stage.violations


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    clients = _played(plant)
    clients.read(3)
    return clients.end()


def _played(plant: bool) -> Clients:
    wall = {1: 100, 2: 100, 3: 100}

    def plant_with_clock(group: RaftGroup) -> None:
        number = group.config.node_id
        if plant:
            plant_in(group, lambda: wall[number])

    stage = Stage((1, 2, 3), plant_with_clock, pre_vote=True, check_quorum=True, read_mode=ReadMode.LEASE)
    clients = Clients(stage)

    def tick() -> None:
        for number in wall:
            wall[number] += 1
        stage.tick()

    stage.campaign(1)
    for _ in range(3):
        tick()
    assert stage.group(1).lease_valid
    stage.isolate(1)
    wall[1] -= 10
    stage.group(3).set_randomized_timeout(10)
    for _ in range(12):
        tick()
    assert stage.group(3).is_leader
    assert stage.group(1).is_leader
    clients.add(3, 1)
    clients.read(1, "late")
    return clients
