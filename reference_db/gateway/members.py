"""Which nodes this one knows of, durably: the newest state of placement that it was told.

The placement leader tells every node, with each question. A node keeps what is new, and says so once it is durable;
then the placement leader may rely on it. What rests on it:

- how many nodes must be heard to meet every quorum of every range (clocks, closed timestamps): all are counted but the
  decommissioned;
- whom ranges that are led here may take as members: active ones only. So no node gets a replica before everybody counts
  it, and none after everybody has heard that it is to go.

Without placement these are the founders, as each node was told at its start, for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from reference_db.placement.state import Placement, decode_placement, encode_placement
from reference_db.storage import keys
from reference_db.storage.engine import Engine, WriteBatch

PLACEMENT = keys.STORE + b"placement"
"""Where a node keeps what it was told."""


def read_members(engine: Engine, otherwise: Placement) -> Placement:
    """What a node has kept. One that has kept nothing begins with `otherwise`, which is kept, durably, if it is more
    than what every founder knows."""
    kept = engine.get(PLACEMENT)
    if kept is not None:
        return decode_placement(kept)
    if otherwise.version:
        batch = WriteBatch()
        batch.put(PLACEMENT, encode_placement(otherwise))
        engine.write(batch)
        engine.sync()
    return otherwise


class Members:
    """The nodes as this one knows them."""

    def __init__(
        self,
        known: Placement,
        keep: Callable[[bytes, bytes, Callable[[], None]], None],
        changed: Callable[[Placement], None],
    ) -> None:
        """`known` is durable. `keep(key, value, done)` makes more so, then calls `done`; `changed` hears of it at
        once."""
        self.known = known
        self.durable_version = known.version
        self._keep = keep
        self._changed = changed

    def may_hold(self, node: str) -> bool:
        """Whether a range that is led here may take this node as a member."""
        return node in self.known.may_hold

    def learn(self, told: Placement) -> None:
        """Somebody who has read the state tells it."""
        if told.version <= self.known.version:
            return
        self.known = told
        self._keep(PLACEMENT, encode_placement(told), lambda: self._is_kept(told.version))
        self._changed(told)

    def _is_kept(self, version: int) -> None:
        self.durable_version = max(self.durable_version, version)
