"""Links that carry bytes, but late, slowly, with losses or in disorder: the verbs, each proven.

A link that is shaped goes through a queue of the packet engine (`packets.py`), which the rules in the namespace of its
receiver fill. The proofs are datagrams of our own that travel the same way and are timed, beside the engine's own
counts: a rule that matches nothing is found out, and so is an engine that does nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import Ledger
from harness.environments.linux.links import Links
from harness.environments.linux.namespace import ProbeEnd
from harness.environments.linux.netem import Netem
from harness.environments.linux.netem import can as netem_can
from harness.environments.linux.netem import why_not as netem_why_not
from harness.environments.linux.packets import Condition
from nemesis.cluster import Evidence, FaultFailed, Link, evidence_of

PATIENCE_S = 1.0
"""How long a datagram may be overdue before it counts as lost."""
MOST_LOSS = 0.9
MOST_LOSS_PROBES = 3_000
LOSS_ROUND = 50
"""Datagrams that are sent before it is looked at whether one was lost."""
MOST_TIMINGS = 25
"""Times that a datagram is timed on a link which loses some, until one has arrived."""
LEAST_BYTES_PER_S = 1_000
THROTTLE_DATAGRAMS, DATAGRAM_BYTES = 8, 1_000
ROUND_S = 0.02
"""How long the datagrams of a round may take beyond what the link takes."""


class AskEngine(Protocol):
    """Sends a request to the packet engine and returns its answer."""

    def __call__(self, verb: str, **arguments: Any) -> Awaitable[Any]:
        """Raises EnvironmentFailed if the engine has ended or refuses."""


class Shaping:
    """The verbs on the links of a run, and which links are shaped now."""

    def __init__(self, links: Links, ask: AskEngine, ledger: Ledger, netem: Netem | None = None) -> None:
        """`netem`: what it can do is left to the kernel; None: everything is for the packet engine."""
        self._links = links
        self._netem = netem
        self._ask = ask
        self._ledger = ledger
        self._conditions: dict[Link, Condition] = {}
        self._entries: dict[Link, int] = {}
        self._numbers: dict[Link, int] = {}
        """The queue of each link that ever was shaped; numbers count from 1, and none is used twice."""
        self._open: set[str] = set()
        """Nodes whose namespace the engine has open."""
        self._of_engine: set[tuple[str, int]] = set()
        """Queues that the packet engine was ever told about, with their nodes."""
        self._lock = asyncio.Lock()

    @property
    def shaped(self) -> tuple[Link, ...]:
        """Links that are slow, lossy or throttled now, in the order in which they became so."""
        return tuple(self._conditions)

    async def joined(self, node: str, pid: int) -> None:
        """The node has a new namespace, that of this process: what shapes its links does so from the start."""
        await self._ask("open", node=node, pid=pid)
        self._open.add(node)
        if self._netem is not None:
            self._netem.forget(node)
        for link, condition in list(self._conditions.items()):
            if self._links.node_of(link) == node:
                await self._tell(link, self._numbers[link], condition)

    async def left(self, node: str) -> None:
        """The node's namespace has ended: nothing of ours keeps it."""
        if node in self._open:
            self._open.discard(node)
            await self._ask("close", node=node)

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        """See `Cluster.slow`."""
        if delay_ms < 0 or not 0 <= jitter_ms <= delay_ms:
            raise ValueError(f"delay_ms {delay_ms}, jitter_ms {jitter_ms}: must be 0 <= jitter <= delay")
        least_s = (delay_ms - jitter_ms) / 1000

        async def proven(link: Link, before: Mapping[str, int]) -> dict[str, Any]:
            if not self._links.enters:
                return await (self._is_met(link, before, "delayed") if delay_ms else self._is_free(link))
            # Where packets overtake others, one that did is no proof of the opposite.
            for _ in range(MOST_TIMINGS if self._conditions.get(link, Condition()).reorder else 1):
                late_s = await self._time(link, PATIENCE_S + 3 * delay_ms / 1000)
                if late_s is None or late_s >= least_s:
                    break
            # A link that is slow anyway is no proof: the engine must have had the datagram.
            met = not delay_ms or (await self._counters())[link]["seen"] > before["seen"]
            proves = late_s is not None and late_s >= least_s and met
            return {"what": f"a datagram {_name(link)}", "after": _arrival(late_s), "proves": proves}

        return await self._shape(
            links, lambda now: replace(now, delay_s=delay_ms / 1000, jitter_s=jitter_ms / 1000), proven
        )

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        """See `Cluster.throttle`."""
        if bytes_per_s is not None and bytes_per_s < LEAST_BYTES_PER_S:
            raise ValueError(
                f"bytes_per_s {bytes_per_s}: must be at least {LEAST_BYTES_PER_S}, or None to undo"
            )
        sent = THROTTLE_DATAGRAMS * DATAGRAM_BYTES
        least_s = 0.9 * (sent - DATAGRAM_BYTES) / bytes_per_s if bytes_per_s else 0.0

        async def proven(link: Link, before: Mapping[str, int]) -> dict[str, Any]:
            if not self._links.enters:
                met = self._is_met(link, before, "delayed", DATAGRAM_BYTES)
                return await (met if bytes_per_s else self._is_free(link))
            late_s = await self._time(link, PATIENCE_S + 10 * least_s, THROTTLE_DATAGRAMS, DATAGRAM_BYTES)
            proves = late_s is not None and late_s >= least_s
            return {"what": f"{sent} bytes {_name(link)}", "after": _arrival(late_s), "proves": proves}

        return await self._shape(links, lambda now: replace(now, bytes_per_s=float(bytes_per_s or 0)), proven)

    async def lose(self, links: Sequence[Link], share: float, burst: float = 1.0) -> Evidence:
        """See `Cluster.lose`; `burst` is the mean number of packets that are lost in a row."""
        if not 0.0 <= share <= MOST_LOSS or burst < 1:
            raise ValueError(f"share {share}, burst {burst}: must be 0 to {MOST_LOSS}, and at least 1")

        async def proven(link: Link, before: Mapping[str, int]) -> dict[str, Any]:
            if not share and not self._links.enters:
                return await self._is_free(link)
            if not share:
                late_s = await self._time(link, PATIENCE_S)
                return {
                    "what": f"a datagram {_name(link)}",
                    "after": _arrival(late_s),
                    "proves": late_s is not None,
                }
            sent, arrived, lost = await self._count_losses(link)
            return {
                "what": f"datagrams {_name(link)}",
                "after": f"{arrived} of {sent} arrived, the engine lost {lost}",
                "proves": lost > 0 and arrived < sent,
            }

        return await self._shape(links, lambda now: replace(now, lose=share, burst=burst), proven)

    async def disturb(
        self, links: Sequence[Link], duplicate: float = 0.0, reorder: float = 0.0, corrupt: float = 0.0
    ) -> Evidence:
        """Of the packets of each link these shares (0 to 0.9) arrive twice, overtake others, or with a bit changed."""
        shares = {"duplicate": duplicate, "reorder": reorder, "corrupt": corrupt}
        wrong = {name: share for name, share in shares.items() if not 0.0 <= share <= MOST_LOSS}
        if wrong:
            raise ValueError(
                f"{', '.join(f'{name} {share}' for name, share in wrong.items())}: must be 0 to {MOST_LOSS}"
            )
        done = {"duplicate": "duplicated", "reorder": "reordered", "corrupt": "corrupted"}
        asked = [done[name] for name, share in shares.items() if share]

        async def proven(link: Link, before: Mapping[str, int]) -> dict[str, Any]:
            counts: Mapping[str, int] = {}
            for _ in range(MOST_LOSS_PROBES // LOSS_ROUND):
                await self._burst(link)
                counts = (await self._counters())[link]
                if all(counts[name] > before[name] for name in asked):
                    break
            shown = {name: counts[name] - before[name] for name in done.values()}
            return {
                "what": f"packets {_name(link)}",
                "after": shown,
                "proves": all(shown[name] for name in asked),
            }

        return await self._shape(links, lambda now: replace(now, **shares), proven)

    async def restore(self, links: Sequence[Link]) -> Evidence:
        """Undoes everything on these links."""

        async def proven(link: Link, before: Mapping[str, int]) -> dict[str, Any]:
            if not self._links.enters:
                return await self._is_free(link)
            late_s = await self._time(link, PATIENCE_S)
            return {
                "what": f"a datagram {_name(link)}",
                "after": _arrival(late_s),
                "proves": late_s is not None,
            }

        return await self._shape(links, lambda _: Condition(), proven)

    async def _shape(
        self,
        links: Sequence[Link],
        change: Callable[[Condition], Condition],
        proven: Callable[[Link, Mapping[str, int]], Awaitable[dict[str, Any]]],
    ) -> Evidence:
        """Changes the condition of each link, and proves it on each that is not cut."""
        wanted = list(dict.fromkeys(links))
        for link in wanted:
            self._links.node_of(link)
        async with self._lock:
            conditions = {link: change(self._conditions.get(link, Condition())) for link in wanted}
            await self._put(conditions)
            before = await self._counters()
            idle = {link: why for link in wanted if (why := self._links.why_silent(link)) is not None}
            measured = [link for link in wanted if link not in idle]
            nothing = dict.fromkeys(("seen", "lost", "duplicated", "reordered", "corrupted"), 0)
            probes = list(
                await asyncio.gather(*(proven(link, before.get(link, nothing)) for link in measured))
            )
        unseen = [
            {"what": f"{_name(link)}: {why}, so nothing can be measured", "proves": None}
            for link, why in idle.items()
        ]
        if self._netem is not None:
            probes = [
                {**probe, "by": "netem" if self._is_for_kernel(conditions[link]) else "the packet engine"}
                for link, probe in zip(measured, probes, strict=True)
            ]
        shown = evidence_of(probes)
        undone = all(condition == Condition() for condition in conditions.values())
        return Evidence(shown.took_effect or (not measured and undone), [*shown.probes, *unseen])

    async def _put(self, conditions: Mapping[Link, Condition]) -> None:
        """The engine first, then the rules that lead to it; the other way round where a condition ends."""
        numbers: dict[Link, int | None] = {}
        for link, condition in conditions.items():
            if condition == Condition():
                if link in self._conditions:
                    numbers[link] = None
                continue
            number = self._numbers.setdefault(link, len(self._numbers) + 1)
            if link not in self._entries:
                source, target = link
                self._entries[link] = self._ledger.intend("links", source=source, target=target)
            try:
                await self._tell(link, number, condition)
            except EnvironmentFailed as error:
                raise FaultFailed(f"shaping {_name(link)}: {error}") from error
            numbers[link] = None if self._is_for_kernel(condition) else number
            self._conditions[link] = condition
        if numbers:
            await self._links.queue(numbers)
        for link in numbers:
            if conditions[link] == Condition():
                await self._tell(link, self._numbers[link], Condition())
                del self._conditions[link]
                self._ledger.done(self._entries.pop(link))

    def _is_for_kernel(self, condition: Condition) -> bool:
        return self._netem is not None and netem_can(condition)

    async def _tell(self, link: Link, queue: int, condition: Condition) -> None:
        """Tells the kernel or the engine; of a node that has no namespace now they are told when that has one."""
        node = self._links.node_of(link)
        if node not in self._open:
            return
        by_kernel = self._is_for_kernel(condition)
        if self._netem is not None and by_kernel and condition != Condition():
            await self._netem.put(node, queue, self._links.rule_of(link), condition)
        elif self._netem is not None:
            await self._netem.drop(node, queue)
        if by_kernel and (node, queue) not in self._of_engine:
            return  # Where there is no queue to be had either, it is not asked for.
        self._of_engine.add((node, queue))
        by_engine = Condition() if by_kernel else condition
        await self._ask("put", node=node, queue=queue, condition=asdict(by_engine))

    async def _is_met(
        self, link: Link, before: Mapping[str, int], what: str, size: int = 16
    ) -> dict[str, Any]:
        """A probe where no socket can be opened at the ends: packets are sent, and the engine counts what it did."""
        await self._links.send_blind(link, THROTTLE_DATAGRAMS, size)
        counts = await self._counts(link)
        done = counts[what] - before.get(what, 0)
        shown = {"what": f"packets {_name(link)}", "after": f"the engine has {what} {done} since"}
        return {**shown, "proves": done > 0}

    async def _is_free(self, link: Link) -> dict[str, Any]:
        """The same for a link that is as it was: the engine meets nothing any more."""
        before = (await self._counts(link))["seen"]
        await self._links.send_blind(link, THROTTLE_DATAGRAMS, 16)
        met = (await self._counts(link))["seen"] - before
        shown = {
            "what": f"packets {_name(link)}",
            "after": f"the engine has met {met} of {THROTTLE_DATAGRAMS}",
        }
        return {**shown, "proves": met == 0 or link in self._conditions}

    async def _counts(self, link: Link) -> Mapping[str, int]:
        counts = (await self._counters()).get(link)
        return counts if counts is not None else dict.fromkeys(("seen", "delayed", "lost"), 0)

    # Measuring

    async def _counters(self) -> dict[Link, dict[str, int]]:
        """What the engine has done so far, of each link that ever was shaped."""
        rows = {(row["node"], row["queue"]): row for row in await self._ask("counters")}
        for node in self._open if self._netem is not None else ():
            for queue, done in (await self._netem.counted(node)).items():  # type: ignore[union-attr]
                row = rows.get((node, queue), {"node": node, "queue": queue})
                rows[node, queue] = {**row, **{name: row.get(name, 0) + more for name, more in done.items()}}
        found = {}
        for link, number in self._numbers.items():
            row = rows.get((self._links.node_of(link), number))
            if row is not None:
                found[link] = {name: value for name, value in row.items() if name not in ("node", "queue")}
        return found

    async def _ends(self, link: Link) -> tuple[ProbeEnd, ProbeEnd]:
        ends = await self._links.probe_ends(link)
        if ends is None:
            raise FaultFailed(f"{_name(link)}: one end has no namespace now, so nothing can be measured")
        return ends

    async def _time(self, link: Link, patience_s: float, count: int = 1, size: int = 16) -> float | None:
        """Seconds until `count` datagrams of so many bytes had arrived; None if fewer ever did.

        On a link that loses or corrupts packets as well, some more are sent, and again until enough have passed.
        """
        source, target = await self._ends(link)
        passes = passing_share(self._conditions.get(link, Condition()))
        for _ in range(1 if passes == 1 else MOST_TIMINGS):
            tokens = [os.urandom(16).ljust(size, b"\0") for _ in range(math.ceil(count / passes))]
            with target.arrivals(tokens, count) as arrived:
                begun = time.monotonic()
                for token in tokens:
                    source.send(token, target.address)
                if await arrived.wait(patience_s):
                    return sorted(arrived.times.values())[count - 1] - begun
        return None

    async def _burst(self, link: Link) -> int:
        """Sends a round of datagrams; how many arrived soon (0 where that cannot be seen)."""
        if not self._links.enters:
            await self._links.send_blind(link, LOSS_ROUND, 16)
            return 0
        source, target = await self._ends(link)
        tokens = [os.urandom(16) for _ in range(LOSS_ROUND)]
        now = self._conditions.get(link, Condition())
        with target.arrivals(tokens) as arrived:
            for token in tokens:
                source.send(token, target.address)
            await arrived.wait(ROUND_S + now.delay_s + now.jitter_s)
            return len(arrived.times)

    async def _count_losses(self, link: Link) -> tuple[int, int, int]:
        """Datagrams sent and arrived, and packets that the engine lost meanwhile, until it was one at least."""
        before = (await self._counters())[link]["lost"]
        sent = arrived = lost = 0
        while not lost and sent < MOST_LOSS_PROBES:
            arrived += await self._burst(link)
            sent += LOSS_ROUND
            lost = (await self._counters())[link]["lost"] - before
        return sent, arrived, lost


def netem_of(links: Links) -> Netem | None:
    """Netem for these links, if the kernel has it and their nodes' namespaces can be entered."""
    return Netem(links.run_at) if links.enters and netem_why_not() is None else None


def passing_share(condition: Condition) -> float:
    """Which share of the packets arrives as it was sent, above 0 to 1."""
    return (1 - condition.lose) * (1 - condition.corrupt)


def _name(link: Link) -> str:
    return f"{link[0]} -> {link[1]}"


def _arrival(late_s: float | None) -> str:
    return "did not arrive" if late_s is None else f"arrived after {late_s * 1000:.2f} ms"
