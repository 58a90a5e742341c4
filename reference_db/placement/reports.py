"""What a node tells the placement leader about itself, once a second: the ranges that it leads, and what it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from reference_db.ranges.descriptor import Descriptor


class LedReport(msgspec.Struct, frozen=True, array_like=True):
    """A range that the node leads, and may answer for."""

    descriptor: Descriptor
    term: int
    is_settled: bool
    """It has led for a while, and is not handing over."""
    caught_up: tuple[str, ...]
    """Nodes whose replicas vote and lack little, with its own."""
    rates: dict[str, float] = {}
    """Requests a second by the node that sent them on for its clients."""


class Report(msgspec.Struct, frozen=True, array_like=True):
    """One node at one moment."""

    version: int
    """Of the state of placement that it has, durably."""
    led: tuple[LedReport, ...]


def encode_report(report: Report) -> bytes:
    """As it is sent."""
    return _ENCODER.encode(report)


def decode_report(data: bytes) -> Report:
    """Raises msgspec.DecodeError for anything that `encode_report` has not made."""
    return _DECODER.decode(data)


def newest(reports: Mapping[str, Report]) -> dict[int, tuple[str, LedReport]]:
    """By range: its leader, and what that says; of several that believe to lead, the one with the newest term."""
    found: dict[int, tuple[str, LedReport]] = {}
    for node, report in sorted(reports.items()):
        for one in report.led:
            known = found.get(one.descriptor.id)
            if known is None or known[1].term < one.term:
                found[one.descriptor.id] = (node, one)
    return dict(sorted(found.items()))


def is_whole(descriptors: Iterable[Descriptor]) -> bool:
    """Whether every key is in one of these ranges. While one has no leader, or was cut while the nodes were asked, what
    seems uneven may not be."""
    end: bytes | None = b""
    for one in sorted(descriptors, key=lambda one: one.start):
        if one.start != end:
            return False
        end = one.end
    return end is None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Report)
