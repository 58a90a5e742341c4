"""A leader commits its own removal, leads on, and counts itself.

1. n1 leads n1 to n4, and proposes its removal and, right behind, x. All have the removal, so it is committed, and n1
leads n2, n3 and n4 without being one of them. 2. Of those only n2 has x. 3. n2 crashes; n3 leads with n4's vote.
"""

from __future__ import annotations

from reference_db.defects.nonvoting_leader_self import plant_in
from reference_db.directed.clients import Clients, Event
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import ChangeKind, ConfChange, Message, MessageKind, NodeChange

REMOVAL = ConfChange((NodeChange(ChangeKind.REMOVE, 1),))


def directed(plant: bool) -> list[str]:
    """What is broken."""
    return _played(plant).stage.violations


def witnessed(plant: bool) -> list[Event]:
    """What clients were told."""
    clients = _played(plant)
    clients.read(3)
    return clients.end()


def _played(plant: bool) -> Clients:
    # One entry a message, so that the removal can arrive without x.
    stage = Stage(
        (1, 2, 3, 4), plant_in if plant else nothing, max_bytes_per_message=1, step_down_on_removal=False
    )
    clients = Clients(stage)
    stage.campaign(1)

    def is_about_x(message: Message) -> bool:
        if message.kind == MessageKind.APPEND_RESPONSE:
            return message.index == 3
        return message.target != 2 and (
            message.index == 3 or any(entry.index == 3 for entry in message.entries)
        )

    stage.holds = is_about_x
    stage.group(1).propose_conf_change(REMOVAL)
    clients.add(1, 1)
    assert stage.group(1).is_leader
    assert stage.group(1).conf_state.voters == (2, 3, 4)
    stage.tick(1)
    stage.cut = {(1, 3), (1, 4)}
    stage.held = [message for message in stage.held if message.source == 2]
    stage.release()
    clients.hear()
    stage.crash(2)
    stage.crash(1)
    stage.campaign(3)
    assert stage.group(3).is_leader
    return clients
