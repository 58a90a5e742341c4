"""`harness db status`: what the nodes of a cluster say about themselves, put together, as tables or as JSON.

Nodes may disagree while leaders change: of a range, the replica that knows the newest term is believed, and of those
that know the same the one that leads. What is printed is exactly what the JSON holds, but for ranges beyond `--most`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.table import Table

SILENT_S = 2.0
"""A node that has not answered the placement leader for so long is shown as silent."""
WIDTH_LEAST = 110
"""Columns that tables get where the terminal's width is not known."""
SHOWN: tuple[tuple[str, str], ...] = (
    ("ranges led", "ranges_led"),
    ("replicas", "replicas"),
    ("quiescent", "replicas_asleep"),
    ("leases", "leases"),
    ("splits", "splits"),
    ("merges", "merges"),
    ("split by size", "splits_by_size"),
    ("split by load", "splits_by_load"),
    ("merged idle", "merges_of_idle"),
    ("placement moves", "placement_moves"),
    ("placement transfers", "placement_transfers"),
    ("snapshots sent", "snapshots"),
    ("in pieces", "snapshot_pieces"),
    ("snapshots placed", "snapshots_placed"),
    ("elections won", "elections_won"),
    ("heartbeats sent", "heartbeats"),
    ("in envelopes", "heartbeat_envelopes"),
    ("batches", "batches"),
    ("syncs", "syncs"),
    ("requests", "requests"),
    ("refused", "refused"),
)
"""Counters of the table, with their captions; the JSON has all that nodes tell."""


class Member(Protocol):
    """What must be known of a node to ask it."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def client(self) -> tuple[str, int]: ...
    @property
    def addresses(self) -> Any: ...
    def is_running(self) -> bool: ...


class Asked(Protocol):
    """Who can ask a node."""

    async def status(self, address: Any, /) -> dict[str, Any]: ...


async def ask_all(system: Asked, members: Sequence[Member]) -> dict[str, dict[str, Any] | str]:
    """By node, in their order: what it says of itself, or why it says nothing."""

    async def ask(member: Member) -> dict[str, Any] | str:
        if not member.is_running():
            return "down"
        try:
            return await system.status(member.addresses)
        except (OSError, TimeoutError) as error:
            return f"does not answer ({error or 'silent'})"

    answers = await asyncio.gather(*map(ask, members))
    return {member.name: answer for member, answer in zip(members, answers, strict=True)}


def put_together(said: Mapping[str, Mapping[str, Any] | str], members: Sequence[Member]) -> dict[str, Any]:
    """One map of the whole cluster:

    - `nodes`: a map each with `name`, `state` ("up" or why nothing is known), `pid`, `client`, and of those that answer
      `counters`;
    - `ranges`, in order of their keys: what `Client.status` tells of the replica that is believed, with `lag` by
      follower in entries (None where nobody leads), and `closed_ms` by node;
    - `placement`: what the placement leader says of it, with its name as `leader`; of the node that knows the newest
      version if nobody leads it; None where placement is off;
    - `totals`: the counters of all nodes that answer, added up."""
    nodes: list[dict[str, Any]] = []
    believed: dict[int, dict[str, Any]] = {}
    closed: dict[int, dict[str, int]] = {}
    totals: dict[str, int] = {}
    placement: dict[str, Any] | None = None
    for member in members:
        state = said[member.name]
        node = {"name": member.name, "state": "up", "pid": member.pid, "client": list(member.client)}
        nodes.append(node)
        if isinstance(state, str):
            node["state"] = state
            continue
        node["counters"] = state["counters"]
        seen = state.get("placement")
        if seen is not None:
            seen = {"leader": member.name if seen["leading"] else None, **seen}
            if placement is None or _trust_in_placement(seen) > _trust_in_placement(placement):
                placement = seen
        for name, value in state["counters"].items():
            totals[name] = totals.get(name, 0) + value
        for one in state["ranges"]:
            known = believed.get(one["id"])
            if known is None or _trust(one) > _trust(known):
                believed[one["id"]] = one
            if one.get("closed_ms") is not None:
                closed.setdefault(one["id"], {})[member.name] = one["closed_ms"]
    ranges = [
        {
            **one,
            "lag": one["lag"] if one["role"] == "leader" else None,
            "closed_ms": closed.get(one["id"], {}),
        }
        for one in sorted(believed.values(), key=lambda one: (one["start"], one["id"]))
    ]
    return {"nodes": nodes, "ranges": ranges, "placement": placement, "totals": totals}


def _trust_in_placement(one: Mapping[str, Any]) -> tuple[bool, int]:
    return one["leading"], one["version"]


def _trust(one: Mapping[str, Any]) -> tuple[int, int, bool, bool]:
    # A replica that knows no term yet may know nothing of the range at all.
    return one["term"], one["generation"], one["role"] == "leader", one["leader"] is not None


def as_json(cluster: Mapping[str, Any]) -> str:
    """The whole map."""
    return json.dumps(cluster, indent=1)


def as_tables(cluster: Mapping[str, Any], most: int = 50) -> str:
    """Text for people: nodes, counters, and the first `most` ranges (0: all of them)."""
    import io

    from rich.console import Console

    text = io.StringIO()
    width = max(Console().width, WIDTH_LEAST)
    console = Console(file=text, width=width, color_system=None, highlight=False)
    console.print(_nodes(cluster))
    placement = cluster.get("placement")
    if placement is not None:
        console.print(_placement(placement))
    up = [node for node in cluster["nodes"] if node["state"] == "up"]
    if up:
        console.print(_counters(up, cluster["totals"]))
        ranges = cluster["ranges"]
        shown = ranges[:most] if most else ranges
        console.print(_ranges(shown))
        if len(shown) < len(ranges):
            console.print(f"and {len(ranges) - len(shown)} more ranges (--most 0 shows all of them)")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _table(*columns: tuple[str, bool]) -> Table:
    """Columns with a caption and whether they hold numbers."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for caption, is_number in columns:
        table.add_column(caption, justify="right" if is_number else "left", no_wrap=not is_number)
    return table


def _nodes(cluster: Mapping[str, Any]) -> Table:
    table = _table(("node", False), ("process", True), ("clients at", False), ("state", False))
    for node in cluster["nodes"]:
        host, port = node["client"]
        state = node["state"]
        if state == "up":
            counters = node["counters"]
            state = f"up, leads {counters['ranges_led']} of {counters['replicas']} ranges"
        table.add_row(node["name"], str(node["pid"]), f"{host}:{port}", state)
    return table


def _placement(placement: Mapping[str, Any]) -> Table:
    leader, version = placement["leader"], placement["version"]
    led = f"led by {leader}" if leader else "led by nobody"
    table = _table((f"\nplacement, {led}, version {version}", False), ("\nstate", False), ("\nzone", False))
    for one in placement["nodes"]:
        silent = one["silent_s"]
        state = one["state"] + (
            f", silent for {silent} s" if silent is not None and silent >= SILENT_S else ""
        )
        table.add_row(one["name"], state, one["zone"] or "-")
    if placement["leader_zones"]:
        table.add_row("leaders wished for in", "", ", ".join(placement["leader_zones"]))
    if placement["hot"]:
        table.add_row("hot ranges", ", ".join(map(str, placement["hot"])), "")
    return table


def _counters(up: Sequence[Mapping[str, Any]], totals: Mapping[str, int]) -> Table:
    table = _table(
        ("\nsince their start", False), *((f"\n{node['name']}", True) for node in up), ("\nall", True)
    )
    for caption, name in SHOWN:
        table.add_row(caption, *(str(node["counters"][name]) for node in up), str(totals[name]))
    return table


def _ranges(ranges: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        ("\nrange", True),
        ("\nleader", False),
        ("\nterm", True),
        ("\napplied", True),
        ("\nlag of followers", False),
        ("\nlease", False),
        ("\nclosed", False),
        ("\nkeys from", False),
    )
    for one in ranges:
        lag = one["lag"]
        leader = one["leader"] or "-"
        table.add_row(
            str(one["id"]),
            f"{leader} (asleep)" if one["asleep"] else leader,
            str(one["term"]),
            str(one["applied"]),
            "?" if lag is None else " ".join(f"{node}:{entries}" for node, entries in lag.items()) or "-",
            "-" if one["lease_ms"] is None else f"{one['lease_ms']} ms",
            " ".join(f"{node}:{age}ms" for node, age in one["closed_ms"].items()) or "-",
            one["start"] or "(start)",
        )
    return table
