"""Is a history of list-append transactions isolated as demanded, and if not, which anomalies does it show?

Every read of a list tells which appends came before it, so the history itself says in what order the versions of each
list were written, and the dependencies between transactions follow (Kingsbury and Alvaro, Elle, 2020). Each anomaly
is searched for, whatever was demanded; the model only decides which of them make the history invalid.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from checkers.checker import Deadline, Limits
from checkers.isolation.append_orders import Impossible, OpenOrders
from checkers.isolation.commit_order import with_commit_order
from checkers.isolation.cycles import find_cycles
from checkers.isolation.decide import Observations, verdict_on
from checkers.isolation.dependencies import Dependencies, components, orders
from checkers.isolation.lattice import canonical, implied_models, proscribed
from checkers.isolation.list_reasons import ListReasons
from checkers.isolation.list_versions import ListVersions, list_versions
from checkers.isolation.list_visibility import anomaly_of, overlooked
from checkers.isolation.open_orders import decide
from checkers.isolation.polygraph import LEVELS as SNAPSHOTS
from checkers.isolation.prefix import PREFIX, prefix_cycle
from checkers.isolation.unobserved import ALLOWING_CYCLES, as_registers, in_order_of_ends
from checkers.words import count
from results.history import History
from results.transaction_columns import transactions_of
from results.transactions import APPEND, READ, Transactions
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

FINDINGS_TOLD: Final = 50
"""Findings of one type that are told; further ones are counted. Cycles are all told."""
_NO_ANOMALIES: Final = ("duplicate-appends",)
"""Findings that say that the history cannot be judged, not that it is wrong."""


class ListAppendChecker:
    """Judges histories of transactions that read lists and append to them; see `lattice` for the names of models."""

    def __init__(self, isolation: str = "strict-serializable", *, name: str = "list-append") -> None:
        self.isolation = canonical(isolation)
        self.name = name

    def check(self, history: History, limits: Limits) -> Verdict:
        return self.check_transactions(transactions_of(history, of_registers=False), limits)

    def check_transactions(self, transactions: Transactions, limits: Limits) -> Verdict:
        """The verdict on transactions as columns."""
        deadline = limits.deadline()
        other = (transactions.kind != READ) & (transactions.kind != APPEND)
        if other.any():
            place = int(other.argmax())
            return Verdict(
                UNKNOWN,
                self.name,
                f"this is no history of list-append: it holds {transactions.spelt_one(place)!r:.120}, and only "
                "reads and appends can be judged",
            )
        found = Observations()
        versions = with_commit_order(list_versions(transactions))
        reasons = ListReasons(versions)
        for finding in versions.findings:
            if finding.name in _NO_ANOMALIES:
                if len(found.doubts) < 1:
                    found.doubts.append(reasons.of_finding(finding).sentence)
            elif found.counts.get(finding.name, 0) >= FINDINGS_TOLD:
                found.counts[finding.name] += 1
            else:
                found.add(finding.name, partial(reasons.of_finding, finding))
        order = orders(transactions)
        number, component = components(transactions, versions.dependencies, order)
        cycles = find_cycles(
            len(transactions), versions.dependencies, order, number, component, deadline.expired
        )
        for cycle in cycles.cycles:
            found.add(cycle.name, partial(reasons.of_cycle, cycle, cycles.sizes[cycle.component]))
        skews = sum(reasons.is_write_skew(cycle) for cycle in cycles.cycles)
        if skews:
            found.counts["write-skew"] = skews
        partial_views, complete = overlooked(versions, order, component, cycles, deadline.expired)
        for one in partial_views:
            found.add(one.name, partial(anomaly_of, one, transactions))
        found.undecided = cycles.undecided
        if not complete and self.isolation in implied_models(["causal"]):
            found.doubts.append(
                "not all components could be searched for reads that saw others in part; allow more time"
            )
        found.details = {"components": cycles.components, "largest_component": cycles.largest}
        if not found.counts.keys() & proscribed(self.isolation) and not found.undecided:
            self._decide_open(versions, reasons, found, limits, deadline)
        return verdict_on(self.name, self.isolation, transactions, found)

    def _decide_open(
        self,
        versions: ListVersions,
        reasons: ListReasons,
        found: Observations,
        limits: Limits,
        deadline: Deadline,
    ) -> None:
        """What the level allows was found, and nothing else: is the history right? (See `prefix` and `unobserved`.)"""
        transactions = versions.transactions
        if self.isolation == PREFIX:
            cycle = prefix_cycle(len(transactions), versions.dependencies)
            if cycle is None:
                found.is_proved = True
            else:
                found.counts, found.told = {}, {}
                found.add(cycle.name, partial(reasons.of_cycle, cycle, len(cycle.transactions)))
                found.is_refuted = True
        elif self.isolation in ALLOWING_CYCLES and found.counts:
            ordered = in_order_of_ends(versions)
            if ordered is None:
                return
            rest = replace(limits, time_s=max(1.0, deadline.remaining()))
            asked = self.isolation if self.isolation in SNAPSHOTS else "snapshot-isolation"
            verdict = decide(as_registers(versions), asked, rest)
            assert verdict is not None, f"nothing decides {asked}"
            if verdict.outcome == VALID or (
                asked != self.isolation and self._allows(transactions, ordered, deadline)
            ):
                found.is_proved = True
            elif asked != self.isolation:
                self._search_orders(versions, reasons, found, limits, deadline)
            elif verdict.outcome == INVALID:
                for anomaly in verdict.anomalies:
                    found.add(anomaly.type, lambda anomaly=anomaly: anomaly)  # type: ignore[misc]
                found.is_refuted = True
            else:
                found.doubts.append(
                    "several appends to one key were observed by nobody, so their order is not known, and it matters "
                    "at this level; a read of such keys in the end would tell"
                )

    def _search_orders(
        self,
        versions: ListVersions,
        reasons: ListReasons,
        found: Observations,
        limits: Limits,
        deadline: Deadline,
    ) -> None:
        """Levels about what happened before what, which no polygraph decides (see `append_orders`)."""
        needed = OpenOrders.size_bytes(versions.dependencies.nodes) // 1_000_000
        if needed > limits.memory_mb // 2:
            found.doubts.append(
                "several appends to one key were observed by nobody, and to look for an order of them takes "
                f"{needed} MB, more than half of the {limits.memory_mb} MB allowed; allow more, or read such keys in "
                "the end"
            )
            return
        orders = OpenOrders(versions)
        decided = orders.decide(deadline)
        if decided is True:
            found.is_proved = True
        elif isinstance(decided, Impossible):
            found.add("G-single-item", partial(reasons.of_impossible, decided))
        else:
            found.doubts.append(
                f"{count(len(orders.pairs), 'pair')} of appends to one key were observed by nobody, and not all their "
                "orders could be tried; allow more time, or read such keys in the end"
            )

    def _allows(self, transactions: Transactions, dependencies: Dependencies, deadline: Deadline) -> bool:
        """Whether the level allows all cycles of these dependencies."""
        order = orders(transactions)
        number, component = components(transactions, dependencies, order)
        cycles = find_cycles(len(transactions), dependencies, order, number, component, deadline.expired)
        names = {cycle.name for cycle in cycles.cycles}
        return not cycles.undecided and not names & proscribed(self.isolation)
