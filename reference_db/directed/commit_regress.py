"""A new leader does not know yet how far a follower is, and tells it a commit index below the follower's own.

1. n1 leads and commits three entries, which all know. It crashes. 2. n2 leads; its first append to n3 is held up, and
its heartbeat arrives first.
"""

from __future__ import annotations

from reference_db.defects.commit_regress import plant_in
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import MessageKind


def directed(plant: bool) -> list[str]:
    """What is broken."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing)
    stage.campaign(1)
    for data in (b"x", b"y"):
        stage.propose(1, data)
    stage.tick(1)
    assert stage.group(3).commit == 3
    stage.crash(1)
    stage.holds = lambda message: message.kind == MessageKind.APPEND
    stage.campaign(2)
    assert stage.group(2).is_leader
    stage.tick(2)
    stage.release()
    return stage.violations
