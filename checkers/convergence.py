"""Whether the replicas agree when all is healed and done: the same bytes, and nothing left over.

The harness records one event of process `harness`, function `final-state`, value `{"asked", "settled", "after_ns",
"silent", "replicas"}`: what every node's replicas held after the final reads, asked again and again until they had
settled or the time for recovery was over. A replica is `{"node", "range", "replicas", "term", "applied", "locks",
"records", "digest"}`.

Two promises are judged. Safety: replicas of a range that have applied the same hold the same bytes, at any time.
Liveness: once every fault is healed, everyone converges, and no lock and no record of a transaction is left, since
whoever left one behind must be tidied up after. The second only where it was due: if a fault could not be healed, or a
node does not answer, it is unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.words import count, listing
from results.history import History
from results.operation import HARNESS
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

FINAL_STATE = "final-state"


@dataclass
class ConvergenceChecker:
    """Invalid if replicas differ at the same applied index, or the cluster does not come to rest; valid, saying so,
    where the system's nodes cannot be asked; unknown if they were asked in vain."""

    name: str = field(default="convergence", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """Looks at the last `final-state` event, and at what was healed."""
        events = [event for event in history.observed(HARNESS) if isinstance(event.value, Mapping)]
        asked = [event for event in events if event.f == FINAL_STATE]
        if not asked or not asked[-1].value.get("asked"):
            why = asked[-1].value.get("why") if asked else None
            sentence = "what the replicas hold was not compared" + (f": {why}" if why else "")
            return Verdict(VALID, self.name, sentence)
        value, index = asked[-1].value, asked[-1].index
        replicas = [one for one in value.get("replicas", ()) if isinstance(one, Mapping)]
        silent = [str(node) for node in value.get("silent", ())]
        ranges = _by_range(replicas)
        details = {
            "replicas": len(replicas),
            "ranges": len(ranges),
            "silent": silent,
            "after_ns": value.get("after_ns"),
        }
        differing = [anomaly for one in ranges.values() for anomaly in _differing(one, index)]
        if differing:
            names = sorted({str(anomaly.evidence["range"]) for anomaly in differing})
            sentence = f"replicas of {count(len(names), 'range')} ({listing(names)}) hold different data"
            return Verdict(INVALID, self.name, sentence, differing, details=details)
        if not replicas:
            sentence = f"no node answered what it holds ({listing(silent) or 'nobody was there to ask'})"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        waited = f"{float(value.get('after_ns') or 0) / 1e9:.1f} s after the final reads"
        unsettled = [anomaly for one in ranges.values() for anomaly in _unsettled(one, waited, index)]
        if silent:
            sentence = (
                f"{listing(silent)} did not answer what is held there, so whether all converged is not known"
            )
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        if unsettled:
            unhealed = [
                line for event in events if event.f == "heal" for line in event.value.get("failed", ())
            ]
            if unhealed:
                sentence = f"not at rest {waited}, but not everything could be healed: {'; '.join(unhealed)}"
                return Verdict(UNKNOWN, self.name, sentence, details=details)
            sentence = (
                f"liveness: the cluster was not at rest {waited}, though every fault was healed: "
                f"{unsettled[0].sentence}"
            )
            return Verdict(INVALID, self.name, sentence, unsettled, details=details)
        compared = "the same data" if all(one.get("digest") for one in replicas) else "the same indexes"
        sentence = (
            f"all {count(len(replicas), 'replica')} of {count(len(ranges), 'range')} hold {compared}, no lock and no "
            f"record is left, {waited}"
        )
        return Verdict(VALID, self.name, sentence, details=details)


def _by_range(replicas: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for replica in replicas:
        found[str(replica.get("range"))].append(replica)
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def _differing(replicas: Sequence[Mapping[str, Any]], index: int) -> list[Anomaly]:
    """Replicas of one range: other bytes at the same applied index."""
    found = []
    by_applied: dict[Any, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for replica in replicas:
        if replica.get("digest"):
            by_applied[replica.get("applied")][str(replica["digest"])].append(str(replica.get("node")))
    for applied, nodes in by_applied.items():
        if len(nodes) > 1:
            who = "; ".join(f"{', '.join(names)} {digest}" for digest, names in nodes.items())
            found.append(
                Anomaly(
                    type="replica-divergence",
                    sentence=f"replicas of range {replicas[0].get('range')} hold different data after the same "
                    f"{applied} entries: {who}",
                    operations=[index],
                    evidence={"range": replicas[0].get("range"), "applied": applied, "digests": dict(nodes)},
                )
            )
    return found


def _unsettled(replicas: Sequence[Mapping[str, Any]], waited: str, index: int) -> list[Anomaly]:
    """Replicas of one range: at different indexes, missing, or with something left over."""
    range_id = replicas[0].get("range")
    texts: list[tuple[str, str]] = []
    applied = {str(one.get("node")): one.get("applied") for one in replicas}
    if len(set(applied.values())) > 1:
        where = ", ".join(f"{node} {at}" for node, at in applied.items())
        texts.append(
            ("not-converged", f"replicas of range {range_id} stand at different entries {waited}: {where}")
        )
    missing = sorted({str(node) for one in replicas for node in one.get("replicas", ())} - applied.keys())
    if missing:
        texts.append(("not-converged", f"{listing(missing)} should hold range {range_id}, and does not"))
    for what, kind in (("locks", "leftover-lock"), ("records", "leftover-record")):
        held = {str(one.get("node")): int(one.get(what) or 0) for one in replicas}
        if any(held.values()):
            where = ", ".join(f"{node} {number}" for node, number in held.items() if number)
            words = "locks of transactions" if what == "locks" else "records of transactions"
            texts.append((kind, f"range {range_id} still holds {words} {waited}: {where}"))
    return [
        Anomaly(type=kind, sentence=text, operations=[index], evidence={"range": range_id})
        for kind, text in texts
    ]
