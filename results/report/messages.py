"""The messages of a run for its page: as many as a browser draws with ease, those around what went wrong first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from results.messages import Message, MessageLog
from results.report.columns import pack_integers, pack_texts
from results.report.escape import shortened
from results.report.faults import natural_key

MOST_MESSAGES = 25_000
"""In the page; the others are in the run folder."""
CLIENT = "client"
"""The host of all clients, as `results.messages` names it."""
NEVER = -1
"""In place of how long a message took: it did not arrive."""


def message_data(log: MessageLog | None, moments: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
    """JSON-like, `front_end/src/run.ts` names the fields; None where no message is known.

    `moments` are the anomalies, from when to when in nanoseconds. Times go into the page in microseconds.
    """
    if log is None or not log.messages:
        return None
    shown = _nearest(log.messages, moments)
    hosts = sorted({host for one in shown for host in (one.source, one.target)}, key=_place)
    kinds = sorted({one.kind for one in shown})
    ranges = sorted({one.range for one in shown}, key=natural_key)
    place = {
        name: {item: at for at, item in enumerate(items)}
        for name, items in (("host", hosts), ("kind", kinds), ("range", ranges))
    }
    return {
        "recorded": log.recorded,
        "kept": len(log.messages),
        "n": len(shown),
        "hosts": [shortened(host, 60) for host in hosts],
        "kinds": [shortened(kind, 60) for kind in kinds],
        "ranges": [shortened(name, 60) for name in ranges],
        "sent": pack_integers([one.sent_ns // 1000 for one in shown], delta=True),
        "took": pack_integers([_took_us(one) for one in shown]),
        "source": pack_integers([place["host"][one.source] for one in shown]),
        "target": pack_integers([place["host"][one.target] for one in shown]),
        "kind": pack_integers([place["kind"][one.kind] for one in shown]),
        "range": pack_integers([place["range"][one.range] for one in shown]),
        "term": pack_integers([one.term for one in shown]),
        "text": pack_texts(one.text.replace("\n", " ") for one in shown),
    }


def _nearest(messages: list[Message], moments: Sequence[tuple[int, int]]) -> list[Message]:
    """Those nearest in time to a moment, in their order; the last ones where there is none."""
    if len(messages) <= MOST_MESSAGES:
        return messages
    if not moments:
        return messages[-MOST_MESSAGES:]
    away = [min(_away_ns(one.sent_ns, *moment) for moment in moments) for one in messages]
    nearest = sorted(range(len(messages)), key=lambda at: (away[at], at))[:MOST_MESSAGES]
    return [messages[at] for at in sorted(nearest)]


def _away_ns(time_ns: int, start_ns: int, end_ns: int) -> int:
    return max(start_ns - time_ns, time_ns - end_ns, 0)


def _took_us(message: Message) -> int:
    return NEVER if message.arrived_ns is None else (message.arrived_ns - message.sent_ns) // 1000


def _place(host: str) -> tuple[bool, Any]:
    """Clients above the nodes."""
    return host != CLIENT, natural_key(host)
