"""What it costs the others when a member comes back that was cut off.

1. n1 leads. 2. n3 is cut off for several election timeouts. 3. It is back: does n1 lead on in its term?
"""

from __future__ import annotations

from reference_db.defects.no_prevote import plant_in
from reference_db.directed.stage import Stage, nothing


def directed(plant: bool) -> list[str]:
    """What is broken: leaders that lost their office for a member that came back."""
    stage = Stage((1, 2, 3), plant_in if plant else nothing, pre_vote=True, check_quorum=True)
    stage.campaign(1)
    term = stage.group(1).term
    stage.isolate(3)
    stage.tick(count=60)
    stage.heal()
    stage.tick(count=40)
    now = max(stage.group(number).term for number in stage.members)
    if now != term:
        stage.violations.append(f"member 3 came back, and the leader of term {term} was replaced: term {now}")
    return stage.violations
