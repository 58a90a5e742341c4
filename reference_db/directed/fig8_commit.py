"""Figure 8 of the Raft paper: an entry of an earlier term is on a majority, and is overwritten all the same.

1. n1 leads term 1 and has its entry x at index 2 on n2 only. It crashes. 2. n5 leads term 2 with the votes of n3 and
n4, appends at index 2, and crashes before anybody hears of it. 3. n1 leads term 3 and brings x to n3: x is on three of
five. What n1 appended in term 3 has only reached n2. 4. n1 crashes. n5 leads term 4 with the votes of n3 and n4, whose
last terms are below its own, and overwrites x.
"""

from __future__ import annotations

from reference_db.defects.fig8_commit import plant_in
from reference_db.directed.stage import Stage, nothing
from reference_db.raft import Message, MessageKind


def directed(plant: bool) -> list[str]:
    """What is broken."""
    # One entry a message, so that x can arrive without what follows it.
    stage = Stage((1, 2, 3, 4, 5), plant_in if plant else nothing, max_bytes_per_message=1)
    stage.campaign(1)
    stage.holds = lambda message: message.kind == MessageKind.APPEND and message.target != 2
    stage.propose(1, b"x")
    stage.crash(1)
    stage.held.clear()

    stage.holds = lambda message: message.kind == MessageKind.APPEND
    stage.elect(5)
    stage.crash(5)
    stage.held.clear()

    def is_held(message: Message) -> bool:
        """n3 gets the new entry only as a probe, which it refuses, to be sent x instead. n4 gets nothing."""
        if message.kind != MessageKind.APPEND:
            return False
        return message.target == 4 or (
            message.target == 3 and message.index == 2 and stage.group(3).last_index == 2
        )

    stage.holds = is_held
    stage.start(1)
    stage.elect(1)
    assert stage.group(1).term == 3
    assert stage.group(3).core.log.term(2) == 1
    stage.crash(1)
    stage.held.clear()

    stage.holds = lambda message: False
    stage.start(5)
    stage.elect(5)
    assert stage.group(3).core.log.term(2) == 2
    return stage.violations
