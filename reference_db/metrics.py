"""Every number that a node tells about itself, with its name and meaning: for `status`, and for Prometheus.

One table (`METRICS`); whoever counts something new adds a line here, and it is shown everywhere. What is of one range
only is not here: with thousands of ranges a node would have tens of thousands of time series. `Client.status` has it.

The text is Prometheus' exposition format 0.0.4. Names get the prefix `multiraft_`, counters the suffix `_total`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reference_db.gateway.collector import CollectorCounters
from reference_db.gateway.placing import PlacingCounters
from reference_db.gateway.shaping import ShapeCounters
from reference_db.ranges.store import Store
from reference_db.ranges.survey import Survey
from reference_db.storage.engine import EngineCounters

PREFIX = "multiraft_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sources(NamedTuple):
    """Where the numbers are."""

    node: str
    store: Store
    engine: EngineCounters
    survey: Survey
    shapes: ShapeCounters
    collections: CollectorCounters
    placing: PlacingCounters
    frames_sent: int
    frames_received: int
    bytes_sent: int
    open_client_requests: int
    refused_client_requests: int
    pending_range_requests: int


class Metric(NamedTuple):
    """One number. A counter only grows, from the start of the node; a gauge is as it is now."""

    name: str
    is_counter: bool
    meaning: str
    read: Callable[[Sources], int]


def _count(name: str, meaning: str, read: Callable[[Sources], int]) -> Metric:
    return Metric(name, True, meaning, read)


def _gauge(name: str, meaning: str, read: Callable[[Sources], int]) -> Metric:
    return Metric(name, False, meaning, read)


METRICS: tuple[Metric, ...] = (
    _count("turns", "Turns of the event loop over all ranges with work.", lambda s: s.store.counters.turns),
    _count("batches", "Write batches given to the engine.", lambda s: s.engine.batches),
    _count("syncs", "Syncs of the disk.", lambda s: s.engine.syncs),
    _count("bytes_written", "Bytes of keys and values in write batches.", lambda s: s.engine.bytes),
    _count("changes", "Keys written or deleted in write batches.", lambda s: s.engine.changes),
    _count("requests", "Requests for ranges that arrived here.", lambda s: s.store.counters.requests),
    _count("refused", "Requests for ranges refused as overloaded.", lambda s: s.store.counters.refused),
    _count(
        "proposals_refused",
        "Proposals refused as overloaded because their range had too much uncommitted.",
        lambda s: s.store.open.refused,
    ),
    _count(
        "appends_dropped",
        "Appends dropped because too much arrived in a sync.",
        lambda s: s.store.inbox.dropped,
    ),
    _count(
        "refused_client_requests",
        "Clients' requests refused as overloaded.",
        lambda s: s.refused_client_requests,
    ),
    _count("splits", "Ranges that were cut in two here.", lambda s: s.store.counters.splits),
    _count(
        "merges", "Ranges that were absorbed by their neighbours here.", lambda s: s.store.counters.merges
    ),
    _count(
        "splits_by_size", "Ranges that this node has split because of their size.", lambda s: s.shapes.by_size
    ),
    _count(
        "splits_by_load", "Ranges that this node has split because of their load.", lambda s: s.shapes.by_load
    ),
    _count("merges_of_idle", "Idle ranges that this node has merged.", lambda s: s.shapes.idle),
    _count("placement_looks", "Looks of this node as the placement leader.", lambda s: s.placing.looks),
    _count("placement_moves", "Replicas that it has moved as such.", lambda s: s.placing.moves),
    _count("placement_transfers", "Leaders that it has moved as such.", lambda s: s.placing.transfers),
    _count("placement_failed", "Moves and transfers of it that failed.", lambda s: s.placing.failed),
    _count("snapshots", "Snapshots sent to followers.", lambda s: s.store.counters.snapshots),
    _count("snapshot_pieces", "Pieces of snapshots sent.", lambda s: s.store.snapshots.pieces),
    _count("snapshot_pieces_resent", "Pieces sent again.", lambda s: s.store.snapshots.resent),
    _count("snapshot_bytes", "Bytes of the pieces sent.", lambda s: s.store.snapshots.bytes),
    _count("snapshot_restarts", "Snapshots begun anew.", lambda s: s.store.snapshots.restarts),
    _count("snapshots_given_up", "Snapshots to silent receivers.", lambda s: s.store.snapshots.given_up),
    _count("snapshots_resumed", "Snapshots gone on with after a start.", lambda s: s.store.snapshots.resumed),
    _count("snapshots_put_off", "Snapshots not taken yet.", lambda s: s.store.snapshots.refused),
    _count("snapshots_placed", "Snapshots put in place here.", lambda s: s.store.snapshots.placed),
    _count("elections_won", "Elections that this node has won.", lambda s: s.store.counters.elections_won),
    _count("pre_votes", "Requests for pre-votes sent.", lambda s: s.store.counters.pre_votes),
    _count("votes", "Requests for votes sent.", lambda s: s.store.counters.votes),
    _count(
        "raft_messages",
        "Raft messages sent, without coalesced heartbeats.",
        lambda s: s.store.counters.raft_messages,
    ),
    _count("heartbeats", "Heartbeats sent, one a range and follower.", lambda s: s.store.counters.heartbeats),
    _count("heartbeat_answers", "Answers to heartbeats.", lambda s: s.store.counters.heartbeat_answers),
    _count(
        "heartbeat_envelopes",
        "Frames with heartbeats in them.",
        lambda s: s.store.counters.heartbeat_envelopes,
    ),
    _count(
        "answer_envelopes", "Frames with answers to heartbeats.", lambda s: s.store.counters.answer_envelopes
    ),
    _count(
        "replica_ticks", "Ticks that passed for replicas awake.", lambda s: s.store.counters.replica_ticks
    ),
    _count("sleeps", "Replicas that went to sleep.", lambda s: s.store.counters.sleeps),
    _count("wakes", "Replicas that were woken.", lambda s: s.store.counters.wakes),
    _count("read_rounds", "Rounds of heartbeats opened for reads.", lambda s: s.store.reads.rounds),
    _count("reads_by_lease", "Reads answered by a lease.", lambda s: s.store.reads.lease),
    _count("reads_without_lease", "Reads that found no lease.", lambda s: s.store.reads.lease_refused),
    _count("reads_bounded", "Bounded reads answered by a replica.", lambda s: s.store.reads.bounded),
    _count("reads_sent_to_leader", "Bounded reads sent on.", lambda s: s.store.reads.bounded_refused),
    _count("reads_stale", "Stale reads.", lambda s: s.store.reads.stale),
    _count("timestamps_closed", "Timestamps closed for followers.", lambda s: s.store.closed.counters.closed),
    _count(
        "versions_collected",
        "Versions dropped in ranges that this node led, because nobody may read them any more.",
        lambda s: s.collections.collected,
    ),
    _count("frames_sent", "Frames sent to other nodes.", lambda s: s.frames_sent),
    _count("frames_received", "Frames received from other nodes.", lambda s: s.frames_received),
    _count("bytes_sent", "Bytes of the frames sent to other nodes.", lambda s: s.bytes_sent),
    _gauge("replicas", "Replicas on this node.", lambda s: s.survey.replicas),
    _gauge("ranges_led", "Ranges that this node leads.", lambda s: s.survey.led),
    _gauge("ranges_served", "Ranges that it leads and may answer for.", lambda s: s.survey.serving),
    _gauge("replicas_without_leader", "Replicas that know of no leader.", lambda s: s.survey.leaderless),
    _gauge("replicas_asleep", "Replicas that are quiescent.", lambda s: s.survey.asleep),
    _gauge("ranges_frozen", "Replicas of ranges that are being merged away.", lambda s: s.survey.frozen),
    _gauge("leases", "Leases that hold.", lambda s: s.survey.leases),
    _gauge("snapshots_sending", "Snapshots on their way from here.", lambda s: s.store.sender.sending),
    _gauge("snapshots_waiting", "Snapshots that wait to be sent.", lambda s: s.store.sender.waiting),
    _gauge("snapshots_receiving", "Snapshots of which a part is here.", lambda s: s.store.receiver.receiving),
    _gauge("snapshot_peak_bytes", "Most bytes of pieces held.", lambda s: s.store.snapshots.peak_bytes),
    _gauge("locks", "Intents in the replicas here.", lambda s: s.survey.locks),
    _gauge("records", "Transaction records in the replicas here.", lambda s: s.survey.records),
    _gauge("open_range_requests", "Requests for ranges not answered yet.", lambda s: s.survey.open_requests),
    _gauge("open_client_requests", "Clients' requests not answered yet.", lambda s: s.open_client_requests),
    _gauge(
        "open_request_bytes", "Bytes written by requests not answered yet.", lambda s: s.store.open.size_bytes
    ),
    _gauge(
        "inbox_bytes", "Bytes of entries that wait for the end of a sync.", lambda s: s.store.inbox.size_bytes
    ),
    _gauge(
        "pending_range_requests",
        "Requests to ranges that this gateway waits for.",
        lambda s: s.pending_range_requests,
    ),
)


def read_metrics(sources: Sources) -> dict[str, int]:
    """All numbers by name."""
    return {metric.name: metric.read(sources) for metric in METRICS}


def prometheus_text(sources: Sources) -> str:
    """The same for Prometheus, each with the label `node`; and how far other nodes lag."""
    node = _label(sources.node)
    lines: list[str] = []
    for metric in METRICS:
        name = f"{PREFIX}{metric.name}{'_total' if metric.is_counter else ''}"
        lines += _head(name, metric.meaning, "counter" if metric.is_counter else "gauge")
        lines.append(f'{name}{{node="{node}"}} {metric.read(sources)}')
    name = f"{PREFIX}follower_lag_entries"
    lines += _head(name, "Most entries that a follower lacks in any range led here.", "gauge")
    for follower, entries in sorted(sources.survey.lag.items()):
        lines.append(f'{name}{{node="{node}",follower="{_label(follower)}"}} {entries}')
    return "\n".join(lines) + "\n"


def _head(name: str, meaning: str, kind: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _label(text: str) -> str:
    """A label's value, escaped as the format wants it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
