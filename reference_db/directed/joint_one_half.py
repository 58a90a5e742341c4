"""Two of three voters are exchanged, and those who are replaced have not heard of it.

1. n1 leads n1, n2 and n3, and commits that n4 and n5 shall take the places of n2 and n3, who hold that entry and don't
know yet that it is committed. 2. n1 commits x with n4 and n5. 3. n2 campaigns among the voters that it knows, and n3
votes for it.
"""

from __future__ import annotations

from reference_db.defects.joint_one_half import plant_in
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import ChangeKind, ConfChange, NodeChange, Transition


def directed(plant: bool) -> list[str]:
    """What is broken."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing, others=(4, 5))
    stage.campaign(1)
    stage.holds = lambda message: (
        message.target in (2, 3)
        and (message.commit >= 2 or any(entry.index > 2 for entry in message.entries))
    )
    exchange = ConfChange(
        (
            NodeChange(ChangeKind.ADD_VOTER, 4),
            NodeChange(ChangeKind.ADD_VOTER, 5),
            NodeChange(ChangeKind.REMOVE, 2),
            NodeChange(ChangeKind.REMOVE, 3),
        ),
        Transition.JOINT_EXPLICIT,
    )
    stage.change(1, exchange)
    assert stage.group(1).conf_state.voters_outgoing == (1, 2, 3)
    stage.propose(1, b"x")
    assert stage.group(4).last_index == 3
    stage.isolate(2, 3)
    stage.holds = lambda message: False
    stage.held.clear()
    stage.campaign(2)
    assert stage.group(2).is_leader
    return stage.violations
