"""A leader hands over, is cut off in the same moment, and is asked to read.

1. n1 leads and holds a lease. 2. It tells n3 to take over, and is cut off before it hears more. 3. n3 leads the next
term with n2's vote, which the lease does not hold up, and commits x. 4. n1 is asked to read.
"""

from __future__ import annotations

from reference_db.defects.lease_kept_on_transfer import plant_in
from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import MessageKind, ReadMode


def directed(plant: bool) -> list[str]:
    """What is broken."""
    return _played(plant).stage.violations


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    clients = _played(plant)
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
    stage.tick(count=3)
    assert stage.group(1).lease_valid
    stage.holds = lambda message: message.kind == MessageKind.TIMEOUT_NOW
    stage.group(1).transfer_leadership(3)
    stage.settle()
    stage.cut = {(2, 1), (3, 1), (1, 2)}
    stage.release()
    assert stage.group(3).is_leader
    clients.add(3, 1)
    clients.read(1, "late")
    return clients
