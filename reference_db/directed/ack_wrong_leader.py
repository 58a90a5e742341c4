"""A follower of the new leader acknowledges the old one's entries.

1. n1 leads term 1, is cut off, and takes x at index 2. 2. n3 leads term 2 with n2, and commits its own entry at index
2. 3. n1 reaches n2 again, but does not hear n3. It sends y, behind x, to n2.
"""

from __future__ import annotations

from reference_db.defects.ack_wrong_leader import plant_in
from reference_db.directed.stage import Stage, nothing


def directed(plant: bool) -> list[str]:
    """What is broken."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing)
    stage.campaign(1)
    stage.isolate(1)
    stage.propose(1, b"x")
    stage.campaign(3)
    assert stage.group(3).commit == 2
    stage.cut = {(1, 3), (3, 1)}
    stage.propose(1, b"y")
    stage.heal()
    stage.tick(3, count=2)
    return stage.violations
