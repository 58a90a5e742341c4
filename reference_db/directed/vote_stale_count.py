"""A vote that was on its way for a whole term is counted in the next one.

1. n1 campaigns in term 1; n2 votes for it, and the answer is held up on its way. 2. n1 is cut off, and campaigns in
term 2, unheard. 3. n3 campaigns, and wins term 2 with n2's vote. 4. n2's vote of term 1 arrives at n1.
"""

from __future__ import annotations

from reference_db.defects.vote_stale_count import plant_in
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import MessageKind


def directed(plant: bool) -> list[str]:
    """What is broken."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing)
    stage.isolate(3)
    stage.holds = lambda message: message.kind == MessageKind.VOTE_RESPONSE and message.target == 1
    stage.campaign(1)
    stage.isolate(1)
    stage.campaign(1)
    stage.elect(3)
    assert stage.group(1).term == stage.group(3).term == 2
    stage.heal()
    stage.release()
    return stage.violations
