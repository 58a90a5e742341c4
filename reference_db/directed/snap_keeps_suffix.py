"""A deposed leader with a long log is given a snapshot that ends earlier, and is restarted.

1. n1 leads term 1 and has taken entries 1 to 10 alone. 2. The others have gone on in term 2, compacted their logs, and
send n1 a snapshot at index 5. 3. n1 starts again, and reads its log.
"""

from __future__ import annotations

from reference_db.defects.snap_keeps_suffix import plant_in
from reference_db.raft import ConfState, Entry, Snapshot
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.raft_log import RaftLog, bootstrap_range
from reference_db.storage.range_snapshot import take_snapshot

RANGE = 1


def directed(plant: bool) -> list[str]:
    """What is broken."""
    engine = MemoryEngine()
    batch = WriteBatch()
    bootstrap_range(batch, RANGE, b"descriptor", (1, 2, 3))
    engine.write(batch)
    log = _open(engine)
    if plant:
        plant_in(log)

    batch = WriteBatch()
    log.append(batch, [Entry(1, index) for index in range(1, 11)])
    engine.write(batch)

    batch = WriteBatch()
    content = take_snapshot(engine, RANGE, b"", None).encode()
    log.restore(batch, Snapshot(5, 2, ConfState(voters=(1, 2, 3)), content))
    engine.write(batch)

    engine.sync()
    engine.crash()
    log = _open(engine)
    behind = [f"{index} of term {log.term(index)}" for index in range(6, log.last_index() + 1)]
    if not behind:
        return []
    return [f"n1 starts with a snapshot at index 5 of term 2, and behind it entries {', '.join(behind)}"]


def _open(engine: MemoryEngine) -> RaftLog:
    return RaftLog(engine, RANGE)
