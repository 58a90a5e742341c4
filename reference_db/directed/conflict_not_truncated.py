"""A deposed leader's long tail is overwritten at its beginning only.

1. n1 leads term 1, is cut off, and takes x, y and z at indexes 2 to 4. 2. n2 leads term 2 with n3's vote, and appends
at index 2. 3. n1 hears n2 and takes over its log.
"""

from __future__ import annotations

from reference_db.defects.conflict_not_truncated import plant_in
from reference_db.directed.stage import Stage, nothing


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
