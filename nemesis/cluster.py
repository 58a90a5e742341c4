"""What a nemesis needs of a cluster: the verbs, which of them are available, and evidence that they took effect.

The interface lives here, with the one who needs it; environments (`harness/environments`) provide it. Verbs are
plain: they act at once on what they are told and know nothing of intervals, overlaps or schedules. Those rules
live in `holds.py` and in the packages. Every verb answers with evidence: what a probe *independent of the act*
measured before and after. A verb that could not be carried out raises `FaultFailed`; one that was carried out and
did nothing returns evidence that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

Link = tuple[str, str]
"""A directed link `(source, target)`: the bytes that travel from source to target, on whichever connection."""

CLIENT = "client"
"""The end of a link that stands for all clients."""

NodeState = Literal["up", "down", "paused"]

Reshaping = Literal[
    "split",
    "merge",
    "move",
    "transfer",
    "drain",
    "refill",
    "joined",
    "decommission",
    "recommission",
    "forsake",
    "compact",
    "snapshots",
]
"""What a database with ranges can be asked to do to itself: see `Cluster.reshape`."""

DiskMode = Literal["eio-sync", "eio-write", "full", "stall", "slow"]
"""What a disk does while it fails: see `Cluster.fail_disk`."""

CAPABILITIES: dict[str, str] = {
    "cut": "lose all bytes of a directed link between two nodes",
    "cut_client": "lose all bytes between the clients and a node",
    "slow": "delay the bytes of a directed link",
    "throttle": "limit the bytes per second of a directed link",
    "lose": "lose a share of the segments of a directed link, which TCP then sends again",
    "lose_bursts": "lose packets of a directed link several in a row",
    "disturb": "duplicate, reorder or damage a share of the packets of a directed link",
    "reset": "reset the open connections of a link",
    "half_open": "end the open connections of a link at one end only",
    "names": "let the names of other nodes resolve at a node to nothing, or to wrong addresses",
    "kill": "end a node's process without warning (SIGKILL)",
    "terminate": "ask a node's process to end (SIGTERM)",
    "pause": "stop a node's process and let it go on (SIGSTOP, SIGCONT)",
    "clock": "offset and drift of the wall clock that a node sees",
    "power_loss": "end a node without warning and lose what it had not synced",
    "disk_error": "let the writes or syncs of a node's disk fail (EIO)",
    "disk_full": "let the disk of a node be full (ENOSPC)",
    "disk_stall": "let no operation of a node's disk come to an end",
    "disk_slow": "delay the operations of a node's disk",
    "flip_bits": "change bits of what a node has stored",
    "lose_file": "remove a file that a node has stored",
    "truncate": "cut off the end of a file that a node has stored",
    "wipe": "remove everything that a node has stored",
    "replace": "replace a node, gone for good, by a new one with another identity and an empty disk",
    "limit_cpu": "limit the share of the processor that a node gets",
    "exhaust_memory": "let a node run out of memory, so that the kernel ends it",
    "limit_memory": "limit the memory that a node may use beyond what it does",
    "leaders": "name the leader of each range",
    "ranges": "have ranges split, merged, and moved from node to node",
    "members": "have nodes join, and be decommissioned and recommissioned",
}
"""Every capability that an environment may declare, and what it means."""


CAPABILITY_OF_MODE: dict[DiskMode, str] = {
    "eio-sync": "disk_error",
    "eio-write": "disk_error",
    "full": "disk_full",
    "stall": "disk_stall",
    "slow": "disk_slow",
}
"""What an environment needs for a mode of `Cluster.fail_disk`."""


class FaultUnavailable(Exception):
    """A fault that was asked for by name cannot be injected here (exit 4). Text: what, why, the way out."""


class FaultFailed(Exception):
    """The environment could not carry out a verb. Text: the verb, the node or link, what was seen."""


class Capability(msgspec.Struct, frozen=True):
    """One kind of fault, whether this environment with this system can inject it, and how or why not."""

    fault: str
    available: bool
    mechanism: str
    reason: str | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What was measured around an act. `took_effect` is False when nothing could be measured: no proof, no effect.

    Each probe is JSON-like, with at least `what` (a few words), `before`, `after` and `proves`: a bool, or None where
    nothing could be measured (one end of the link is stopped); such a probe is shown and counts for nothing.
    """

    took_effect: bool
    probes: list[dict[str, Any]] = []


class HealReport(msgspec.Struct, frozen=True):
    """What a healing found and did, one sentence each. `failed` is what could not be healed; empty is good."""

    healed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def evidence_of(probes: list[dict[str, Any]]) -> Evidence:
    """It took effect if every probe `proves` it (and there was one)."""
    return Evidence(bool(probes) and all(probe["proves"] for probe in probes), probes)


def combine(parts: Sequence[Evidence]) -> Evidence:
    """Evidence for an act on several things: it took effect if it did on every one of them (and there was one)."""
    return Evidence(
        took_effect=bool(parts) and all(part.took_effect for part in parts),
        probes=[probe for part in parts for probe in part.probes],
    )


class Cluster(Protocol):
    """The running system under test, as a nemesis sees it."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, in order; never changes during a run."""

    def capabilities(self) -> Mapping[str, Capability]:
        """By name; a name that is missing is not available."""

    def state(self, node: str) -> NodeState:
        """What the process of a node is doing now, by the environment's own knowledge."""

    async def leaders(self) -> dict[str, str]:
        """Range -> node that leads it now, asked from the nodes that answer. {} if unknown. A role of the database
        (`targets.ROLES`) may stand beside the ranges."""

    async def cut(self, links: Sequence[Link]) -> Evidence:
        """From now on no byte of these directed links arrives. Idempotent."""

    async def mend(self, links: Sequence[Link]) -> Evidence:
        """Undo `cut` and `half_open`; connections that lost bytes are reset, so that their ends open new ones.

        Idempotent.
        """

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        """Each chunk of bytes arrives `delay_ms` +- `jitter_ms` later, in order. 0 undoes it."""

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        """At most so many bytes a second for each link. None undoes it."""

    async def lose(self, links: Sequence[Link], share: float, burst: float = 1.0) -> Evidence:
        """Of the segments on each link this share (0 to 0.9) is lost, and sent again after a while, as TCP does.
        `burst` is the mean number of packets that are lost in a row; above 1 only with the capability `lose_bursts`.

        So nothing is missing and nothing overtakes: bytes arrive in order, some late, and all behind them as late.
        0 undoes it. Evidence: of many probes about so many were late, or the link has counted losses since.
        """

    async def disturb(
        self, links: Sequence[Link], duplicate: float = 0.0, reorder: float = 0.0, corrupt: float = 0.0
    ) -> Evidence:
        """Of the packets of each link these shares (0 to 0.9) arrive twice, overtake what waits (on a link that is
        slow as well), or arrive with one bit changed, which a checksum finds. All 0 undoes it. Evidence: of packets of
        our own at least one met each of what was asked for, as counted where it is done.
        """

    async def reset(self, links: Sequence[Link]) -> Evidence:
        """Reset all open connections between source and target, at both ends. Needs no undo."""

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        """End the open connections at their source only: the target goes on believing in them until `mend`."""

    async def break_names(self, node: str, wrong: bool) -> Evidence:
        """From now on, over restarts too, a lookup of another node's name at this node finds nothing, or (`wrong`) the
        address of yet another node. Evidence: lookups by a program where the node is."""

    async def mend_names(self, node: str) -> Evidence:
        """Lookups at this node find the right addresses again. Idempotent."""

    async def kill(self, node: str) -> Evidence:
        """End the process without warning; returns when it is gone. Idempotent."""

    async def terminate(self, node: str) -> Evidence:
        """Ask the process to end and wait for it; kills it, and says so, if it does not within the grace time."""

    async def start(self, node: str) -> Evidence:
        """Start the process of a node that is down, and wait until it is ready. Idempotent."""

    async def pause(self, node: str) -> Evidence:
        """Stop the process of a node where it stands; returns when it stands still. Idempotent."""

    async def resume(self, node: str) -> Evidence:
        """Let a paused process go on. Idempotent."""

    async def set_clock(self, node: str, offset_ms: float, rate_ppm: float = 0.0) -> Evidence:
        """The node's wall clock is real time + offset from now on, and gains `rate_ppm` microseconds a second."""

    async def strobe_clock(self, node: str, offset_ms: float) -> None:
        """As `set_clock` with no drift, but at once and without evidence: for jumps faster than any probe."""

    async def reset_clock(self, node: str) -> Evidence:
        """The node's wall clock shows real time again. Idempotent."""

    async def power_loss(self, node: str) -> Evidence:
        """End the node at once, and lose of its disk what was not synced; returns when it is gone.

        Which part is lost, which torn, and which writes reached the disk before earlier ones, is drawn by the
        environment; what was synced stays. Other nodes hear nothing: no connection is closed, until they send to the
        node when it is up again. A paused node is down after it, one that was down stays as it is (its unsynced bytes
        went with its machine's memory: they are lost now too). `start` brings it back. Acts before it waits, so power
        losses that are asked for together happen together. Evidence: the process is gone, and what the disk lost
        (`{"lost": ..., "torn": ..., "reordered": ...}`; a disk that had nothing unsynced says so and it proves).
        """

    async def fail_disk(
        self, node: str, mode: DiskMode, share: float = 1.0, delay_ms: float = 0.0
    ) -> Evidence:
        """The disk of a node fails until `heal_disk`, over every restart and power loss in between.

        `eio-sync`: a share of the syncs fail with EIO; what they should have made durable may be lost at the next
        power loss even if a later sync succeeds. `eio-write`: a share of the writes fail with EIO, and nothing of them
        is written. `full`: whatever needs more room fails with ENOSPC. `stall`: nothing comes to an end before the
        heal, then everything does. `slow`: every operation takes `delay_ms` longer. A disk has one mode; a second call
        replaces the first. Evidence: a write and a sync of a probe on the same disk, and what became of them. The
        process may end by itself: for many databases that is the one right answer to a failed sync.
        """

    async def heal_disk(self, node: str) -> Evidence:
        """The disk works again; starts nothing. Idempotent. Evidence: a probe is written, synced and read back."""

    async def flip_bits(self, node: str) -> Evidence:
        """Change one bit or a few, drawn by the environment, in a file that the node has written and synced.

        Cannot be undone. Evidence: file, offset, bytes before and after; nothing stored yet is no effect.
        """

    async def lose_file(self, node: str) -> Evidence:
        """Remove one file, drawn by the environment, that the node has written and synced. Cannot be undone."""

    async def truncate(self, node: str) -> Evidence:
        """Cut off the end of a file, both drawn by the environment, that the node has written and synced. Cannot be
        undone. Evidence: file, and bytes before and after; nothing stored yet is no effect."""

    async def wipe(self, node: str) -> Evidence:
        """Remove everything that the node, which is down, has stored. Cannot be undone. Evidence: files before and
        after; nothing stored yet is no effect."""

    async def replace(self, node: str) -> Evidence:
        """End the node for good, with all that it has stored; a new one joins the system in its place, on the same
        host, which the system knows by another name. Returns when that is a member. Cannot be undone. Where it fails on
        the way, `start` goes on with it. Evidence: the process is gone, files before and after, and what the others say
        of the two members."""

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        """The node gets at most this share of one core, over restarts too. None undoes it. Evidence: a program in the
        same group of processes got no more, and the kernel held it back."""

    async def exhaust_memory(self, node: str) -> Evidence:
        """The node's memory ends, and the kernel ends its process; returns when it is gone. `start` brings it back."""

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        """From now on, over restarts too, the node may use so many megabytes beyond what it uses. None undoes it. What
        the kernel ends for that is no crash. Evidence: a program in the same group of processes that takes more is
        ended by the kernel."""

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        """Ask the system, through this node first, to split a range at one of its keys, to merge two neighbours, to
        move a replica to a node that has none of its range, or to transfer leadership; which ones, `draw` decides among
        those there are. `drain`: move everything that this node holds to others; `refill`: move something back. Or to
        lose those who run its transactions, on this node, at the step that `draw` says (its rest by the number of
        steps). Gives up after a few seconds. Evidence: the ranges before and after, or how many were lost, as the
        system tells; a refusal, or no answer, is no effect.

        `decommission`: have the node taken out of service for good, once others have all that it holds; `recommission`:
        have it stay, unless it is out of service already. Evidence: what the system says that it is. `joined` changes
        nothing, and proves that the system counts the node among its own.

        `compact`: all other nodes forget the part of their logs that they have applied. Evidence: this node lacks
        entries of some range that nobody of them has any more. `snapshots`: changes nothing; the `after` of the probe
        is how many snapshots the nodes that are up have sent since they were started.
        """

    async def heal_all(self) -> HealReport:
        """Mend every link and every name, heal every disk, resume, start, reset every clock, and verify each.

        In this order, as a node may not be able to start on a broken disk. Never raises for a single node.
        """
