"""Whether the cluster came back after everything was healed; if not, the final reads prove nothing.

The harness records two events of process `harness` between the main and the final phase: `heal` (value `{"healed",
"failed", "problems"}`: what was undone, and what could not be) and `recovery` (value `{"recovered", "after_ns",
"problem"}`). A run that ended before them, because its harness was killed, is judged for what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checkers.checker import Limits
from results.history import History
from results.operation import HARNESS
from results.verdict import UNKNOWN, VALID, Verdict


@dataclass
class RecoveryChecker:
    """Unknown if a fault could not be healed, if the cluster did not become whole again in time, or if the history
    ends before that was seen; never invalid, since how long a recovery may take is not promised by anybody yet."""

    name: str = field(default="recovery", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        """Looks at the last `heal` and `recovery` events."""
        said = {
            event.f: event.value for event in history.observed(HARNESS) if isinstance(event.value, Mapping)
        }
        heal, recovery = said.get("heal"), said.get("recovery")
        if recovery is None:
            return Verdict(
                UNKNOWN, self.name, "the history ends before the cluster was healed and seen to recover"
            )
        details = {"heal": dict(heal or {}), "recovery": dict(recovery)}
        failed = list((heal or {}).get("failed", ()))
        if failed:
            return Verdict(
                UNKNOWN, self.name, "faults that could not be healed: " + "; ".join(failed), details=details
            )
        seconds = float(recovery.get("after_ns", 0)) / 1e9
        if not recovery.get("recovered"):
            sentence = f"the cluster was not whole again {seconds:.1f} s after healing began: {recovery.get('problem')}"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        return Verdict(VALID, self.name, f"whole again {seconds:.1f} s after healing began", details=details)
