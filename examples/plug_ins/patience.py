"""A checker: nobody waits longer than a second for an answer. Judges histories of any workload.

    harness test --workload bank --checkers examples.plug_ins.patience:Patience
    harness check --model examples.plug_ins.patience:Patience history.jsonl

To take options, a page may offer a `checkers.registry.Entry` in the place of a class.
"""

from __future__ import annotations

from checkers.checker import Limits
from results.history import History
from results.operation import OK
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

LONGEST_NS = 1_000_000_000


class Patience:
    """Every answer comes within a second. What was never answered is not judged."""

    name = "patience"

    def check(self, history: History, limits: Limits) -> Verdict:
        answered = [
            (pair.invocation, pair.completion)
            for pair in history.pairs()
            if pair.completion is not None and pair.completion.type == OK
        ]
        if not answered:
            return Verdict(UNKNOWN, self.name, "nothing was answered")
        longest_s = max(answer.time - asked.time for asked, answer in answered) / 1e9
        slow = [(asked, answer) for asked, answer in answered if answer.time - asked.time > LONGEST_NS]
        if not slow:
            return Verdict(VALID, self.name, f"{len(answered)} answers, the latest after {longest_s:.3f} s")
        anomalies = [
            Anomaly(
                "late answer",
                f"process {asked.process} waited {(answer.time - asked.time) / 1e9:.3f} s for its {asked.f}",
                [asked.index, answer.index],
            )
            for asked, answer in slow[:20]
        ]
        sentence = f"{len(slow)} of {len(answered)} answers took more than 1 s, the longest {longest_s:.3f} s"
        return Verdict(INVALID, self.name, sentence, anomalies)
