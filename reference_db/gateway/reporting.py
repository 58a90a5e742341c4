"""A node's side of placement: it tells the placement leader, when asked, which ranges it leads and who wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reference_db.api import PlacementReported, RangeReply, RangeRequest, ReportPlacement
from reference_db.gateway.members import Members
from reference_db.placement.demand import Demand
from reference_db.placement.leaders import LAG_ENTRIES_MOST
from reference_db.placement.reports import LedReport, Report, encode_report
from reference_db.placement.state import decode_placement
from reference_db.raft.progress import ProgressState
from reference_db.ranges.replica import Replica
from reference_db.ranges.store import Store

REPORT_RANGE = -1
"""No range has this id: a request for it is a placement leader's question to a node."""


class Reporter:
    """What this node says of itself."""

    def __init__(self, store: Store, members: Members, names: Mapping[int, str], settled_ticks: int) -> None:
        """`names` maps Raft ids to nodes; a leader is settled after so many ticks."""
        self._store = store
        self._members = members
        self._names = names
        self._settled_ticks = settled_ticks
        self.demand = Demand()

    def passed(self, seconds: float) -> None:
        """So much time is over since the last call."""
        led = {one.id for one in self._store.replicas.values() if one.group.is_leader}
        self.demand.passed(seconds, led)

    def answer(self, request: RangeRequest, reply: Callable[[RangeReply], None]) -> None:
        """The placement leader asks, and tells."""
        (question,) = request.operations
        assert isinstance(question, ReportPlacement), f"{question} is no question to a node"
        self._members.learn(decode_placement(question.state))
        reply(RangeReply(request.request_id, (PlacementReported(encode_report(self.report())),)))

    def report(self) -> Report:
        """As of now."""
        return Report(self._members.durable_version, tuple(self._led(one) for one in self._store.led()))

    def _led(self, replica: Replica) -> LedReport:
        core = replica.group.core
        last = replica.group.last_index
        progress = core.peers.progress
        caught_up = [
            name
            for number, name in sorted(self._names.items())
            if (peer := progress.get(number)) is not None
            and number in core.peers.configuration.voters
            and (
                number == replica.group.config.node_id
                or (peer.state == ProgressState.REPLICATE and last - peer.match <= LAG_ENTRIES_MOST)
            )
        ]
        # No tick passes for one that sleeps; it does so only after it has been quiet for long enough.
        is_settled = replica.asleep_since is not None or replica.led_ticks >= self._settled_ticks
        return LedReport(
            descriptor=replica.descriptor,
            term=replica.group.term,
            is_settled=is_settled and not core.transfer_target,
            caught_up=tuple(caught_up),
            rates=self.demand.rates(replica.id),
        )
