"""Is a history of transactions on registers isolated as demanded, and if not, which anomalies does it show?

Who read whose write is known, since no value is written to a key twice; in what order the writes were made is known
only in part. What is certain at the demanded level is used, and nothing else (Kingsbury and Alvaro, Elle, 2020,
section 5): the initial state comes first; who reads a version and then writes comes later; commit timestamps of the
database, where it gave them; and, where the level itself is about sessions or real time, the order that these give to
the versions of a key. Cycles of that make the history invalid. Without any, the history is valid if all versions
were in order; where some are not, an order of all transactions that explains every read is sought, and else a
polygraph decides.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from checkers.checker import UNSAID, Deadline, Limits
from checkers.isolation.budget import OutOfBudgetError
from checkers.isolation.cycles import find_cycles
from checkers.isolation.decide import Observations, verdict_on
from checkers.isolation.dependencies import Orders, components, orders
from checkers.isolation.initial_values import with_initial
from checkers.isolation.lattice import canonical, proscribed
from checkers.isolation.open_orders import decide, is_weak
from checkers.isolation.predicates import has_scans, impossible_answers, without_scans
from checkers.isolation.prefix import PREFIX, prefix_cycle
from checkers.isolation.register_reasons import RegisterReasons
from checkers.isolation.register_versions import (
    CERTAIN,
    DERIVED,
    IGNORED,
    RegisterVersions,
    holds_only_registers,
    keys_with_garbage,
    register_versions,
)
from checkers.isolation.serial_order import (
    EAGER_UP_TO,
    FEW_STEPS,
    NOTHING,
    REAL_TIME,
    SESSIONS,
    find_serial_order,
    tightened,
)
from checkers.words import count, listing
from results.history import History
from results.transaction_columns import transactions_of
from results.transactions import APPEND, Transactions
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

FINDINGS_TOLD: Final = 50
"""Findings of one type that are told; further ones are counted. Cycles are all told."""

NEED_NO_ORDER: Final = frozenset(
    prefix + level
    for prefix in ("", "strong-session-", "strong-")
    for level in ("read-uncommitted", "read-committed")
)
"""Levels that allow cycles with rw. Without a cycle of other dependencies, versions can be put in any order that keeps
to these, so what is not known of their order does no harm. Where a history has sessions but no times, read committed is
what Biswas and Enea call so, which is more."""


EAGER_VARIANTS: Final = (0, 1, 4)
"""Ways in which the search for a serial order looks ahead, one after the other."""
MANY_SESSIONS: Final = 25
"""From so many on it does: where fewer are concurrent, a polygraph is the quicker way to what has no serial order."""

BETWEEN: Final = (PREFIX, "parallel-snapshot-isolation")
"""Levels between read atomic and snapshot isolation that nothing here is about where orders of versions are not
known."""


class RwRegisterChecker:
    """Judges histories of transactions that read and write registers; see `lattice` for the names of models.

    With `sequential_keys` it is taken for granted that no session sees the versions of a key out of order, with
    `linearizable_keys` that nobody does who can know better by real time. `initial` is what every register held before
    the history, None if it was absent; unless that is said, nothing follows from reads of what nobody wrote (see
    `initial_values`). Histories without times are of tools that begin with an empty database.
    """

    def __init__(
        self,
        isolation: str = "strict-serializable",
        *,
        sequential_keys: bool = False,
        linearizable_keys: bool = False,
        initial: Any = UNSAID,
        name: str = "rw-register",
    ) -> None:
        self.isolation = canonical(isolation)
        self.name = name
        self.initial = initial
        demanded = proscribed(self.isolation)
        about_real_time = "G2-item-realtime" in demanded or "G-nonadjacent-item-realtime" in demanded
        about_sessions = "G2-item-process" in demanded or "G-nonadjacent-item-process" in demanded
        self._by_real_time = CERTAIN if linearizable_keys else DERIVED if about_real_time else IGNORED
        self._by_session = (
            CERTAIN if sequential_keys else DERIVED if about_sessions and not self._by_real_time else IGNORED
        )

    def check(self, history: History, limits: Limits) -> Verdict:
        return self.check_transactions(transactions_of(history, of_registers=True), limits)

    def check_transactions(
        self, transactions: Transactions, limits: Limits, *, recorded: Transactions | None = None
    ) -> Verdict:
        """The verdict on transactions as columns; `recorded` are those with scans, if these were taken out."""
        deadline = limits.deadline()
        if impossible := impossible_answers(transactions):
            more = f" (and {len(impossible) - 1} more)" if len(impossible) > 1 else ""
            sentence = f"not {self.isolation}: {impossible[0].sentence}{more}"
            return Verdict(INVALID, self.name, sentence, impossible, {"isolation": self.isolation})
        if has_scans(transactions) and self.initial is not UNSAID and self.initial is not None:
            return Verdict(
                UNKNOWN,
                self.name,
                f"where registers hold {self.initial!r:.40} at first (--initial), every key there could be lies in a "
                "scanned range, so scans cannot be judged; they can where registers are absent at first "
                "(--initial null)",
            )
        is_initial_known = self.initial is not UNSAID or not transactions.has_real_time
        if self.initial is not UNSAID:
            transactions = with_initial(transactions, self.initial)
        if not holds_only_registers(transactions):
            has_appends = bool((transactions.kind == APPEND).any())
            if not has_appends and self.isolation in NEED_NO_ORDER:
                return self._without_scans(transactions, limits)
            verdict = None if has_appends else decide(transactions, self.isolation, limits)
            if verdict is None:
                return Verdict(
                    UNKNOWN,
                    self.name,
                    f"histories with {'appends' if has_appends else 'scans'} cannot be judged here for "
                    f"{self.isolation}",
                )
            return msgspec.structs.replace(verdict, checker=self.name)
        found = Observations(recorded=recorded)
        order = orders(transactions)
        versions = register_versions(
            transactions,
            order,
            by_session=self._by_session,
            by_real_time=self._by_real_time if transactions.has_real_time else IGNORED,
        )
        versions = replace(versions, is_initial_known=is_initial_known)
        reasons = RegisterReasons(versions)
        unwritten = 0
        garbage = keys_with_garbage(versions)
        for finding in versions.findings:
            if finding.name == "unwritten-value" and garbage[transactions.key[finding.first]]:
                finding = replace(finding, name="garbage-read")
            if finding.name == "duplicate-writes":
                if not found.doubts:
                    found.doubts.append(reasons.of_finding(finding).sentence)
            elif finding.name == "unwritten-value":
                # It may have been there before the history began, so nothing follows from it.
                if unwritten == 0:
                    found.details["unwritten"] = reasons.of_finding(finding).sentence
                unwritten += 1
            elif found.counts.get(finding.name, 0) >= FINDINGS_TOLD:
                found.counts[finding.name] += 1
            else:
                found.add(finding.name, partial(reasons.of_finding, finding))
        number, component = components(transactions, versions.dependencies, order)
        cycles = find_cycles(
            len(transactions), versions.dependencies, order, number, component, deadline.expired
        )
        for cycle in cycles.cycles:
            found.add(cycle.name, partial(reasons.of_cycle, cycle, cycles.sizes[cycle.component]))
        for name, how_many in (
            ("write-skew", sum(map(reasons.is_write_skew, cycles.cycles))),
            ("cyclic-versions", sum(map(reasons.is_cyclic_versions, cycles.cycles))),
        ):
            if how_many:
                found.counts[name] = how_many
        found.undecided = cycles.undecided
        found.details |= {
            "components": cycles.components,
            "largest_component": cycles.largest,
            "open_keys": int(versions.open_keys.sum()),
            "unwritten_values": unwritten,
        }
        if not found.counts.keys() & proscribed(self.isolation):
            self._decide_open(versions, order, found, limits, deadline)
        verdict = verdict_on(self.name, self.isolation, transactions, found)
        if unwritten and verdict.outcome == VALID:
            more = (
                f"; nothing follows from {count(unwritten, 'read')} of what nobody wrote, as long as nobody says what "
                "the registers held before (--initial)"
            )
            verdict = msgspec.structs.replace(verdict, sentence=verdict.sentence + more)
        return verdict

    def _without_scans(self, transactions: Transactions, limits: Limits) -> Verdict:
        """The verdict at a level for which only what a scan answered counts, as reads of items: the same as on these
        reads, so that a scan changes nothing about what the level means."""
        try:
            items = without_scans(transactions, phantoms=False, memory_mb=limits.memory_mb)
        except OutOfBudgetError as reached:
            return Verdict(UNKNOWN, self.name, f"{self.isolation} could not be decided: {reached}")
        return self.check_transactions(items.transactions, limits, recorded=transactions)

    def _decide_open(
        self,
        versions: RegisterVersions,
        order: Orders,
        found: Observations,
        limits: Limits,
        deadline: Deadline,
    ) -> None:
        """Nothing speaks against the history: is it certain that it is right, though some orders are not known?"""
        transactions = versions.transactions
        by_sessions = self.isolation == "read-committed" and not transactions.has_real_time
        if self.isolation in NEED_NO_ORDER and not by_sessions:
            return
        if self.isolation == PREFIX and transactions.has_real_time and not versions.open_keys.any():
            self._decide_prefix(versions, found)
            return
        weak = is_weak(self.isolation)
        if not weak and transactions.has_real_time and not versions.open_keys.any():
            return
        rest = replace(limits, time_s=max(1.0, deadline.remaining()))
        verdict = decide(transactions, self.isolation, rest, versions.is_unwritten) if weak else None
        if verdict is not None and verdict.outcome != UNKNOWN:
            self._take(verdict, found)
            return
        if not found.counts:
            explained = self._serial_order(versions, order, found, deadline)
            if explained is not None:
                found.details["serial_order_agrees_with"] = explained
                found.is_proved = True
                # At weak levels sessions may count for more than real time does there.
                if not weak or explained != NOTHING:
                    return
        if found.counts.keys() & proscribed(self.isolation):
            return
        rest = replace(limits, time_s=max(1.0, deadline.remaining()))
        if not weak:
            verdict = decide(transactions, self.isolation, rest, versions.is_unwritten)
        if verdict is None and self.isolation in BETWEEN:
            # What holds for a stronger level holds, and what is wrong at a weaker one is wrong.
            stronger = decide(transactions, "snapshot-isolation", rest, versions.is_unwritten)
            weaker = decide(transactions, "read-atomic", rest, versions.is_unwritten)
            if stronger is not None and stronger.outcome == VALID:
                verdict = stronger
            elif weaker is not None and weaker.outcome == INVALID:
                verdict = weaker
        if verdict is None:
            keys = [transactions.keys[key] for key in versions.open_keys.nonzero()[0].tolist()]
            found.doubts.append(
                f"the order of the versions of {count(len(keys), 'key')} ({listing(keys, 5)}) is not known "
                "completely, and nothing here decides this level then"
            )
        else:
            self._take(verdict, found)

    @staticmethod
    def _take(verdict: Verdict, found: Observations) -> None:
        """What another algorithm says about the level."""
        if verdict.outcome == INVALID:
            for anomaly in verdict.anomalies:
                found.add(anomaly.type, lambda anomaly=anomaly: anomaly)  # type: ignore[misc]
            found.is_refuted = True
        elif verdict.outcome == UNKNOWN:
            found.doubts.append(verdict.sentence.partition(": ")[2] or verdict.sentence)
        else:
            found.is_proved = True
        found.details["decided_by"] = verdict.details

    def _decide_prefix(self, versions: RegisterVersions, found: Observations) -> None:
        """All orders of versions are known, so cycles tell all."""
        cycle = prefix_cycle(len(versions.transactions), versions.dependencies)
        if cycle is None:
            found.is_proved = True
            return
        found.counts, found.told = {}, {}
        found.add(cycle.name, partial(RegisterReasons(versions).of_cycle, cycle, len(cycle.transactions)))
        found.is_refuted = True

    def _serial_order(
        self, versions: RegisterVersions, order: Orders, found: Observations, deadline: Deadline
    ) -> str | None:
        """What an order of all transactions agrees with that explains every read; None if none was found. Cycles that
        say that there is none go to `found`."""
        transactions = versions.transactions
        demanded = proscribed(self.isolation)
        if transactions.has_real_time:
            if self._by_real_time == IGNORED:
                versions = register_versions(transactions, order, by_real_time=DERIVED)
            if find_serial_order(versions, order, agreeing_with=REAL_TIME, steps=FEW_STEPS) is not None:
                return REAL_TIME
            closer = tightened(transactions, order, versions)
            if self.isolation == "strict-serializable":
                number, component = components(transactions, closer.dependencies, order)
                cycles = find_cycles(
                    len(transactions), closer.dependencies, order, number, component, deadline.expired
                )
                reasons = RegisterReasons(replace(closer, transactions=transactions))
                for cycle in cycles.cycles:
                    cycle = replace(cycle, is_indirect=True)
                    found.add(cycle.name, partial(reasons.of_cycle, cycle, cycles.sizes[cycle.component]))
                found.undecided = [*found.undecided, *cycles.undecided]
                if number:
                    return None
            if self._find_order(closer, order, REAL_TIME):
                return REAL_TIME
        if any(one.endswith("-realtime") for one in demanded):
            return None
        versions = register_versions(transactions, order, by_session=DERIVED)
        if self._find_order(versions, order, SESSIONS):
            return SESSIONS
        if any(one.endswith("-process") for one in demanded) or not transactions.has_real_time:
            return None  # Without times the order of sessions counts at every level (see `weak_levels`).
        versions = register_versions(transactions, order)
        return NOTHING if self._find_order(versions, order, NOTHING) else None

    @staticmethod
    def _find_order(versions: RegisterVersions, order: Orders, agreeing_with: str) -> bool:
        """Whether a serial order is found: by who is over soonest, which suits few clients, or by looking ahead."""
        if find_serial_order(versions, order, agreeing_with=agreeing_with) is not None:
            return True
        many = len(np.unique(order.session)) >= MANY_SESSIONS
        return (many and len(versions.transactions) <= EAGER_UP_TO) and any(
            find_serial_order(versions, order, agreeing_with=agreeing_with, eager=True, variant=variant)
            is not None
            for variant in EAGER_VARIANTS
        )
