"""The placement driver: whoever leads the first range looks at all nodes once a second, and moves replicas and leaders.

    n2 leads range 1, where the state of placement is
      | read the state, by a round of heartbeats (a deposed leader gets no further)
      | what do you lead, and who wants it? ----------------> n1, n3, n4; n5 does not answer
      | decide (`placement/replicas.py`, `placement/balance.py`)
      | move 7 from n5 to n4, transfer 3 to n1 -------------> as `harness db move` and `transfer` do

Nothing depends on it: a cluster without a driver serves as before. Two that overlap for a moment can do no harm, since
each step of a move is checked by the range's leader, against the generation of its descriptor. What a driver knows
beside the state (who was silent since when, which ranges were changed lately) is its own; the next one begins anew, so
nobody is declared dead by hearsay.

Rules that live here: one change of a range at a time, and none within `COOL_S` of the last; never more than
`placement_moves` moves and `handovers_most` transfers under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reference_db.api import (
    BadRequest,
    ClientPlacement,
    CompareAndSet,
    Compared,
    Get,
    PlacementReported,
    RangeReply,
    RangeRequest,
    ReportPlacement,
    TimedOut,
    ValueResult,
)
from reference_db.gateway.members import Members
from reference_db.gateway.moving import AGAIN_S, Mover
from reference_db.gateway.open_transaction import Failed
from reference_db.gateway.reporting import REPORT_RANGE, Reporter
from reference_db.gateway.router import Router
from reference_db.placement.balance import LedRange, Transfer, Wishes, choose_transfers, find_hot
from reference_db.placement.replicas import HeldRange, Move, Spots, choose_moves
from reference_db.placement.reports import LedReport, Report, decode_report, is_whole, newest
from reference_db.placement.state import (
    PLACEMENT_KEY,
    MemberState,
    Placement,
    activated,
    decode_placement,
    decommissioned,
    drained,
    encode_placement,
    joined,
    preferring,
    recommissioned,
)
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.store import Store
from reference_db.trace import Trace

LOOK_S = 1.0
"""How often the placement leader looks."""
ANSWER_S = 0.4
"""How long a node may take to report before it counts as silent in this look."""
READ_S = 1.0
MOVE_S = 20.0
"""How long one move may take before it is given up."""
TRANSFER_S = 3.0
COOL_S = 5.0
"""A range that was changed is left alone for so long: what others report of it may be older."""

ACTIONS = ("show", "join", "decommission", "recommission", "prefer")
"""What a client can ask for."""
Led = dict[int, tuple[str, LedReport]]
"""By range: its leader, and what that says."""


@dataclass(frozen=True, slots=True)
class PlacingOptions:
    """What the driver is set to."""

    follow: bool
    dead_after_s: float
    moves_most: int
    transfers_most: int


@dataclass(slots=True)
class PlacingCounters:
    """What this node has done as the placement leader, since it was started."""

    looks: int = 0
    moves: int = 0
    transfers: int = 0
    failed: int = 0
    """Moves and transfers that came to nothing."""


class Placer:
    """The driver of one node; idle unless the node leads the first range."""

    def __init__(
        self,
        *,
        node: str,
        founded: Placement,
        members: Members,
        options: PlacingOptions,
        router: Router,
        store: Store,
        mover: Mover,
        reporter: Reporter,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        trace: Trace | None = None,
    ) -> None:
        """`founded` is the state where none is written yet."""
        self._node = node
        self._founded = founded
        self._members = members
        self._options = options
        self._router = router
        self._store = store
        self._mover = mover
        self._reporter = reporter
        self._spawn = spawn
        self._trace = trace
        self.counters = PlacingCounters()
        self.state = founded
        """The newest that this node has read."""
        self._has_begun = False
        """It led placement when it looked last."""
        self._heard: dict[str, float] = {}
        """While this node leads placement: when each node answered last, or when that began."""
        self._cool_until: dict[int, float] = {}
        self._moving: set[int] = set()
        self._transferring: set[int] = set()
        self._hot: set[int] = set()

    @property
    def is_leading(self) -> bool:
        """Whether this node leads placement, as far as it knows."""
        return self._has_begun and self._is_mine()

    @property
    def hot(self) -> list[int]:
        """Ranges that are asked for much more than others are, while this node leads placement."""
        return sorted(self._hot)

    def silent_for(self) -> dict[str, float]:
        """By node: for how many seconds it has not answered; only while this node leads placement."""
        now = self._router.now()
        return {node: now - at for node, at in sorted(self._heard.items())}

    def status(self) -> dict[str, Any]:
        """What is known here: `leading`, whether this node leads placement; `version` of the state; `nodes`, a map each
        with `name`, `state`, `zone`, and while it leads `silent_s`; `leader_zones`; `hot` ranges."""
        silent = self.silent_for() if self.is_leading else {}
        known = self._members.known
        return {
            "leading": self.is_leading,
            "version": known.version,
            "nodes": [
                {
                    "name": one.name,
                    "state": one.state.name.lower(),
                    "zone": one.zone,
                    "silent_s": round(silent[one.name], 1) if one.name in silent else None,
                }
                for one in known.members
            ],
            "leader_zones": list(known.leader_zones),
            "hot": self.hot if self.is_leading else [],
        }

    async def look(self) -> None:
        """Called again and again on every node."""
        if not self._is_mine():
            self._has_begun = False
            self._heard.clear()
            self._hot.clear()
            return
        try:
            state = await self._read_state()
        except Failed:
            return  # Somebody else leads by now, or nobody.
        self.state = state
        self._members.learn(state)
        if not self._has_begun:
            self._has_begun = True
            if self._trace is not None:
                self._trace.mark("a node began to lead placement")
        reports = await self._ask_all(state)
        now = self._router.now()
        self._heard = {node: self._heard.get(node, now) for node in state.counted}
        for node in reports:
            self._heard[node] = now
        self.counters.looks += 1
        self._cool_until = {one: until for one, until in self._cool_until.items() if until > now}
        led = newest(reports)
        whole = is_whole(one.descriptor for _, one in led.values())
        self._move(led, state, frozenset(reports), whole)
        if whole:
            self._transfer(led, state, frozenset(reports))
        versions = {node: report.version for node, report in reports.items()}
        holders = {node for _, one in led.values() for node in one.descriptor.members}
        try:
            await self._welcome(state, versions)
            if whole:
                await self._dismiss(state, versions, holders)
        except Failed:
            pass  # The next look finds out.

    def _is_mine(self) -> bool:
        replica = self._store.replicas.get(self._router.directory.find(PLACEMENT_KEY).id)
        return replica is not None and replica.leadership is not None and replica.group.is_leader

    # The state.

    async def _read_state(self) -> Placement:
        """Raises Failed."""
        deadline = self._router.now() + READ_S
        reply = await self._router.send((Get(PLACEMENT_KEY),), deadline, repeatable=True)
        if reply.error is not None:
            raise Failed(reply.error)  # type: ignore[arg-type]
        (result,) = reply.results
        assert isinstance(result, ValueResult), f"a get was answered with {result!r}"
        if result.value is not None:
            return decode_placement(result.value)
        await self.replace(None, self._founded)
        return self._founded

    async def perform(self, operation: ClientPlacement, deadline: float) -> Placement:
        """What a client wants of placement, by way of any node; the state as it is then. Raises Failed."""
        while True:
            before = await self._read_state()
            try:
                after = _changed(before, operation)
            except ValueError as error:
                raise Failed(BadRequest(str(error))) from error
            if after is before:
                return before
            try:
                await self.replace(before, after)
                return after
            except Failed:
                # Somebody else was faster, or nobody knows: the state says.
                if self._router.now() >= deadline:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def replace(self, before: Placement | None, after: Placement) -> None:
        """Make a new version, if nobody else has. Raises Failed, also where somebody has."""
        expected = None if before is None else encode_placement(before)
        wish = CompareAndSet(PLACEMENT_KEY, expected, encode_placement(after))
        reply = await self._router.send((wish,), self._router.now() + READ_S, repeatable=False)
        if reply.error is not None:
            raise Failed(reply.error)  # type: ignore[arg-type]
        (result,) = reply.results
        assert isinstance(result, Compared), f"a compare-and-set was answered with {result!r}"
        if not result.applied:
            raise Failed(TimedOut("the state of placement was changed by somebody else"))

    # Reports.

    async def _ask_all(self, state: Placement) -> dict[str, Report]:
        """Tell everybody the state, also who is decommissioned, so that it knows; of those that are counted what they
        answered in time, this node among them."""
        others = [one.name for one in state.members if one.name != self._node]
        question = ReportPlacement(encode_placement(state))
        answers = await asyncio.gather(*(self._ask(node, question) for node in others))
        reports = {self._node: self._reporter.report()}
        for node, answer in zip(others, answers, strict=True):
            if answer is not None and node in state.counted:
                reports[node] = answer
        return reports

    async def _ask(self, node: str, question: ReportPlacement) -> Report | None:
        answered: asyncio.Future[RangeReply] = asyncio.get_running_loop().create_future()
        request = RangeRequest(self._router.next_id(), REPORT_RANGE, 0, (question,))
        self._router.ask(node, request, self._router.now() + ANSWER_S, answered.set_result)
        reply = await answered
        if reply.error is not None:
            return None
        (result,) = reply.results
        assert isinstance(result, PlacementReported), f"a question was answered with {result!r}"
        return decode_report(result.report)

    # Nodes that come and go.

    async def _welcome(self, state: Placement, versions: Mapping[str, int]) -> None:
        """A node that joins becomes active once everybody counts it. Raises Failed."""
        for node in state.in_state(MemberState.JOINING):
            if _is_known(state, node, versions, state.counted):
                await self.replace(state, activated(state, node))
                if self._trace is not None:
                    self._trace.mark("a node that joined became active")
                return

    async def _dismiss(self, state: Placement, versions: Mapping[str, int], holders: Collection[str]) -> None:
        """A node that is to go is decommissioned once it has nothing, and certainly gets nothing. Raises Failed."""
        empty = [node for node in state.in_state(MemberState.DRAINING) if node not in holders]
        # Those that have nothing lead nothing: whom they would take as members need not be asked.
        others = [node for node in state.counted if node not in empty]
        for node in empty:
            if _is_known(state, node, versions, others):
                if await self._has_nothing(empty):
                    await self.replace(state, decommissioned(state, node))
                    if self._trace is not None:
                        self._trace.mark("a node was decommissioned")
                return

    async def _has_nothing(self, nodes: Collection[str]) -> bool:
        """Whether no range has a replica on one of these, as the leader of each says, confirmed by a quorum. Raises
        Failed."""
        key: bytes | None = b""
        while key is not None:
            found = await self._mover.look_up(key, self._router.now() + READ_S)
            if any(node in nodes for node in found.members):
                return False
            key = found.end
        return True

    # What follows from reports.

    def _move(self, led: Led, state: Placement, up: frozenset[str], whole: bool) -> None:
        now = self._router.now()
        dead = frozenset(
            node
            for node, at in self._heard.items()
            if node not in up and now - at >= self._options.dead_after_s
        )
        held = [
            HeldRange(
                range_id,
                one.descriptor.replicas,
                one.descriptor.is_moving or one.descriptor.merging is not None or self._is_busy(range_id),
            )
            for range_id, (_, one) in led.items()
        ]
        spots = Spots(
            open=tuple(node for node in state.counted if node in up and node in state.may_hold),
            dead=dead,
            draining=frozenset(state.in_state(MemberState.DRAINING)),
            up=up,
            zone_of={one.name: one.zone for one in state.members},
        )
        room = self._options.moves_most - len(self._moving)
        for move in choose_moves(held, spots, max(room, 0), whole):
            self._moving.add(move.range_id)
            self._spawn(self._carry_out_move(led[move.range_id][1].descriptor, move))

    def _transfer(self, led: Led, state: Placement, up: frozenset[str]) -> None:
        zone_of = {one.name: one.zone for one in state.members}
        may_lead = up & state.may_hold
        ranges: list[LedRange] = []
        for range_id, (leader, one) in led.items():
            descriptor = one.descriptor
            by_zone: dict[str, float] = {}
            for gateway, rate in one.rates.items():
                zone = zone_of.get(gateway, "")
                by_zone[zone] = by_zone.get(zone, 0.0) + rate
            ranges.append(
                LedRange(
                    id=range_id,
                    leader=leader,
                    candidates=frozenset(one.caught_up) & may_lead & frozenset(descriptor.replicas),
                    is_fixed=not one.is_settled or descriptor.is_moving or self._is_busy(range_id),
                    per_s=sum(one.rates.values()),
                    by_zone=by_zone,
                )
            )
        self._hot = find_hot(ranges, self._hot)
        wishes = Wishes(zone_of, state.leader_zones, self._options.follow)
        room = self._options.transfers_most - len(self._transferring)
        for transfer in choose_transfers(ranges, wishes, self._hot)[: max(room, 0)]:
            self._transferring.add(transfer.range_id)
            self._spawn(self._carry_out_transfer(led[transfer.range_id][1].descriptor, transfer))

    def _is_busy(self, range_id: int) -> bool:
        return range_id in self._moving or range_id in self._transferring or range_id in self._cool_until

    async def _carry_out_move(self, descriptor: Descriptor, move: Move) -> None:
        if self._trace is not None:
            self._trace.mark("the placement leader moved a replica", why=move.why)
        try:
            await self._mover.move(descriptor, move.source, move.target, self._router.now() + MOVE_S)
            self.counters.moves += 1
        except Failed:
            self.counters.failed += 1
        finally:
            self._moving.discard(move.range_id)
            self._cool_until[move.range_id] = self._router.now() + COOL_S

    async def _carry_out_transfer(self, descriptor: Descriptor, transfer: Transfer) -> None:
        if self._trace is not None:
            self._trace.mark("the placement leader had a range handed over")
        try:
            await self._mover.transfer(descriptor, transfer.target, self._router.now() + TRANSFER_S)
            self.counters.transfers += 1
        except Failed:
            self.counters.failed += 1
        finally:
            self._transferring.discard(transfer.range_id)
            self._cool_until[transfer.range_id] = self._router.now() + COOL_S


def _is_known(state: Placement, node: str, versions: Mapping[str, int], among: Iterable[str]) -> bool:
    """Whether all of these have the state which says what became of the node, durably; `versions` by who answered."""
    member = state.find(node)
    assert member is not None, f"{node} is in no state of {state}"
    return all(versions.get(other, -1) >= member.since for other in among)


def _changed(before: Placement, wish: ClientPlacement) -> Placement:
    """The state that a client wants; the same if it is so already. Raises ValueError."""
    match wish.action:
        case "show":
            return before
        case "join":
            return joined(before, wish.node, wish.address, wish.zones[0] if wish.zones else "")
        case "decommission":
            return drained(before, wish.node)
        case "recommission":
            return recommissioned(before, wish.node)
        case "prefer":
            return preferring(before, wish.zones)
        case _:
            raise ValueError(f"{wish.action!r} is nothing that placement does: {', '.join(ACTIONS)}")
