"""Steps at which a transaction's coordinator can be made to die, so that every place where one may be gone is tried.

A coordinator is a task of the node that a client talks to. At a step that is *armed* it ends as a crash would end it:
it does nothing more, cleans nothing up, answers nobody, and its heartbeats stop; what it has sent goes on. The node
lives, so that a run sees many such deaths. What is armed is told by a client (`ClientForsake`) that the node's options
allow it (`fault_points`), and never by default.
"""

from __future__ import annotations

from reference_db.trace import Trace

STEPS = (
    "first-intents-sent",
    "intents-sent",
    "intents-laid",
    "reads-moved",
    "committed-in-parallel",
    "acknowledged",
    "decision-sent",
    "decided",
    "first-resolutions-sent",
    "resolutions-sent",
    "resolved",
    "commit-at-once-sent",
    "committed-at-once",
)
"""From the first intent to the last resolve; at those that begin with `first` one of several ranges was asked. After
`committed-in-parallel`, `decided` and `committed-at-once` the transaction is committed, and its client never hears of
it. At `acknowledged` the client was told, and that it is committed stands nowhere yet."""


class Forsaken(Exception):
    """This coordinator is dead: nobody may go on, clean up, or answer."""


class FaultPoints:
    """What is armed on one node."""

    def __init__(self, trace: Trace | None = None) -> None:
        self._trace = trace
        self._armed: dict[str, int] = {}
        self.passed: dict[str, int] = dict.fromkeys(STEPS, 0)
        """How many coordinators have come to each step."""
        self.died: dict[str, int] = dict.fromkeys(STEPS, 0)
        """How many of them died there."""

    def arm(self, step: str, count: int) -> None:
        """The next `count` coordinators that reach this step die there; 0 disarms it. ValueError for another step."""
        if step not in STEPS:
            raise ValueError(f"no step {step!r}: the steps are {', '.join(STEPS)}")
        if count > 0:
            self._armed[step] = count
        else:
            self._armed.pop(step, None)

    def kills(self, step: str) -> bool:
        """Whether who reaches this step now dies there; counts it."""
        self.passed[step] += 1
        left = self._armed.get(step, 0)
        if not left:
            return False
        self.arm(step, left - 1)
        self.died[step] += 1
        if self._trace is not None:
            self._mark(self._trace, step)
        return True

    def reached(self, step: str) -> None:
        """Raises Forsaken if the one who calls dies here."""
        if self.kills(step):
            raise Forsaken(step)

    @staticmethod
    def _mark(trace: Trace, step: str) -> None:
        match step:
            case "first-intents-sent":
                trace.mark("a coordinator died when its first intents were sent")
            case "intents-sent":
                trace.mark("a coordinator died when its intents were sent")
            case "intents-laid":
                trace.mark("a coordinator died when its intents were laid")
            case "reads-moved":
                trace.mark("a coordinator died when its reads were moved")
            case "committed-in-parallel":
                trace.mark("a coordinator died committed in parallel, and told nobody")
            case "acknowledged":
                trace.mark("a coordinator died when its client had been told")
            case "decision-sent":
                trace.mark("a coordinator died when it had asked for the decision")
            case "decided":
                trace.mark("a coordinator died committed, and told nobody")
            case "first-resolutions-sent":
                trace.mark("a coordinator died when it had asked for its first resolution")
            case "resolutions-sent":
                trace.mark("a coordinator died when it had asked for resolutions")
            case "resolved":
                trace.mark("a coordinator died before its record was forgotten")
            case "commit-at-once-sent":
                trace.mark("a coordinator died when it had asked to commit at once")
            case "committed-at-once":
                trace.mark("a coordinator died committed at once, and told nobody")
            case _:
                raise AssertionError(f"step {step} has no mark")
