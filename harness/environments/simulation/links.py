"""Links between simulated hosts: how long bytes take from one to another, and what is wrong with the way there.

A link is directed. Its conditions are those of a network: latency that varies, a delay on top, a limit of bytes per
second that all connections share, a share of lost segments, a cut. Nothing here knows of connections; a link answers
one question: when does what leaves now arrive?
"""

from __future__ import annotations

import math
import random
from typing import Literal

import msgspec

LinkName = tuple[str, str]
"""Names of the hosts `(source, target)`; bytes travel from source to target."""

SECOND_NS = 1_000_000_000
LOSS_AGAIN_MOST_NS = 3_200_000_000
"""On a lossy link lost segments are sent again at least so often: what does get through keeps the sender hopeful."""
LOOPBACK_NS = 20_000
"""What a host needs to reach itself."""


class NetworkOptions(msgspec.Struct, frozen=True):
    """What holds for all links and connections of a world. Times in ns of virtual time."""

    latency_ns: int = 200_000
    """One way, at least."""
    jitter_ns: int = 100_000
    """`uniform`: at most this much more. `lognormal`: this much more at the median, now and then far more."""
    jitter_shape: Literal["uniform", "lognormal"] = "uniform"
    split_share: float = 0.02
    """The share of segments that arrive in two pieces. (Segments that become due together arrive as one.)"""
    window_bytes: int = 256 * 1024
    """How many bytes of one direction the two kernels take before the sender must wait."""
    backlog: int = 128
    """Connections that wait to be accepted; beyond that, requests for one are dropped."""
    retransmission_ns: int = 200_000_000
    """After which a lost segment is sent again; doubles with every further loss."""
    retransmission_most_ns: int = 120 * SECOND_NS
    give_up_ns: int = 900 * SECOND_NS
    """A sender whose bytes nobody acknowledged for so long gives the connection up (ETIMEDOUT)."""
    connect_give_up_ns: int = 127 * SECOND_NS
    """A connection that nobody answered for so long is given up (ETIMEDOUT). It was asked for after 1, 3, 7, ... s."""
    reset_after_ns: tuple[int, int] = (3 * SECOND_NS, 30 * SECOND_NS)
    """A connection that has been stuck at a cut for longer than a time drawn from here does not survive the mend:
    something between the two has forgotten it, and resets it."""


class LinkConditions(msgspec.Struct, frozen=True):
    """What is wrong with a link now, and what it has carried so far."""

    is_cut: bool
    delay_ns: int
    jitter_ns: int
    bytes_per_s: int | None
    loss_share: float
    segments: int
    bytes: int
    lost_segments: int

    @property
    def is_healthy(self) -> bool:
        """Nothing is wrong with it."""
        return (
            not (self.is_cut or self.delay_ns or self.jitter_ns or self.loss_share)
            and self.bytes_per_s is None
        )


class Link:
    """One direction between two hosts."""

    __slots__ = (
        "_base_ns",
        "_free_at_ns",
        "_lognormal",
        "_options",
        "_random",
        "_spread_ns",
        "bytes",
        "bytes_per_s",
        "delay_ns",
        "is_blocked",
        "is_cut",
        "is_plain",
        "jitter_ns",
        "loss_share",
        "lost_segments",
        "name",
        "segments",
        "source",
        "target",
        "text",
    )

    def __init__(self, source: str, target: str, options: NetworkOptions, stream: random.Random) -> None:
        """`stream` draws the jitter and losses of this link, and nothing else does."""
        self.source = source
        self.target = target
        self.name: LinkName = (source, target)
        self.text = f"{source}>{target}"
        self.is_cut = False
        self.is_blocked = False
        """It is cut, or the machine at one of its ends was without power when somebody last looked."""
        self.is_plain = True
        """Neither delayed nor limited nor lossy."""
        self.delay_ns = 0
        self.jitter_ns = 0
        self.bytes_per_s: int | None = None
        self.loss_share = 0.0
        self.segments = 0
        self.bytes = 0
        self.lost_segments = 0
        self._random = stream
        self._free_at_ns = 0
        self.configure(options)

    def configure(self, options: NetworkOptions) -> None:
        """What holds from now on, apart from the conditions."""
        self._options = options
        if self.source == self.target:
            self._base_ns, self._spread_ns, self._lognormal = LOOPBACK_NS, LOOPBACK_NS // 4, False
        else:
            self._base_ns, self._spread_ns = options.latency_ns, options.jitter_ns
            self._lognormal = options.jitter_shape == "lognormal"

    @property
    def base_ns(self) -> int:
        """The least that a segment needs."""
        return self._base_ns + max(0, self.delay_ns - self.jitter_ns)

    def set_conditions(
        self,
        *,
        delay_ns: int | None = None,
        jitter_ns: int | None = None,
        loss_share: float | None = None,
    ) -> None:
        """Change what is given."""
        if delay_ns is not None:
            self.delay_ns = delay_ns
        if jitter_ns is not None:
            self.jitter_ns = jitter_ns
        if loss_share is not None:
            self.loss_share = loss_share
        self._refresh()

    def limit(self, bytes_per_s: int | None, now_ns: int) -> None:
        """At most so many bytes a second; what was queued for the old limit starts afresh."""
        self.bytes_per_s = bytes_per_s
        self._free_at_ns = now_ns
        self._refresh()

    def _refresh(self) -> None:
        self.is_plain = not (self.delay_ns or self.jitter_ns or self.loss_share) and self.bytes_per_s is None

    def conditions(self) -> LinkConditions:
        """What is wrong with it now."""
        return LinkConditions(
            is_cut=self.is_cut,
            delay_ns=self.delay_ns,
            jitter_ns=self.jitter_ns,
            bytes_per_s=self.bytes_per_s,
            loss_share=self.loss_share,
            segments=self.segments,
            bytes=self.bytes,
            lost_segments=self.lost_segments,
        )

    def splits(self) -> bool:
        """Draws whether the next segment arrives in two pieces."""
        return self._random.random() < self._options.split_share

    def splits_at(self, size: int) -> int:
        """Draws where, in [1, size - 1]."""
        return 1 + int(self._random.random() * (size - 1))

    def transit(self, now_ns: int, size: int) -> int:
        """When a segment of so many bytes that leaves now arrives; one that is lost arrives when sent again."""
        self.segments += 1
        self.bytes += size
        if self._lognormal:
            spread = int(self._spread_ns * math.exp(self._random.gauss(0.0, 1.0)))
        else:
            spread = int(self._random.random() * self._spread_ns)
        when = now_ns + self._base_ns + spread
        if self.is_plain:
            return when
        if self.bytes_per_s is not None:
            begin = max(now_ns, self._free_at_ns)
            self._free_at_ns = begin + size * SECOND_NS // self.bytes_per_s
            when += self._free_at_ns - now_ns
        if self.delay_ns or self.jitter_ns:
            when += max(0, self.delay_ns + int((2 * self._random.random() - 1) * self.jitter_ns))
        again_ns = self._options.retransmission_ns
        while self.loss_share and self._random.random() < self.loss_share:
            self.lost_segments += 1
            when += again_ns
            again_ns = min(2 * again_ns, LOSS_AGAIN_MOST_NS)
        return when
