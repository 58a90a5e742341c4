"""Why a history of registers is wrong: each dependency and each finding as a sentence with its evidence."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.isolation.cycles import Cycle
from checkers.isolation.dependencies import ANY_RW, BY_REALTIME, DERIVED, PROCESS, REALTIME, RW, WR, WW
from checkers.isolation.evidence import Cast, edge_as_data, order_reason, shown, told
from checkers.isolation.list_versions import Finding
from checkers.isolation.register_versions import RegisterVersions
from results.transactions import NIL, READ, WRITE
from results.verdict import Anomaly


class RegisterReasons:
    """Tells cycles and findings of one history."""

    def __init__(self, versions: RegisterVersions) -> None:
        self._versions = versions
        self._transactions = versions.transactions

    def of_cycle(self, cycle: Cycle, size: int) -> Anomaly:
        """The anomaly that a cycle is; `size` is that of its component."""
        transactions = self._transactions
        members = cycle.transactions
        cast = Cast(transactions, members)
        edges = []
        for place, (kind, via) in enumerate(zip(cycle.kinds, cycle.vias, strict=True)):
            source, target = members[place], members[(place + 1) % len(members)]
            if kind in (PROCESS, REALTIME):
                reason = order_reason(transactions, kind, source, target, cast)
                edges.append(edge_as_data(kind, cast.name(source), cast.name(target), reason))
            else:
                edges.append(self._edge(kind, source, target, via, cast))
        data = cast.as_data()
        also = self._also(cycle)
        return Anomaly(
            type=cycle.name,
            sentence=(
                f"{cycle.name}{f' ({also})' if also else ''}: {told(cycle, cast, [edge['reason'] for edge in edges])}. "
                f"Here {cast.introduced(data)}"
            ),
            operations=cast.events(),
            key=next((edge["key"] for edge in edges if "key" in edge), None),
            evidence={
                "transactions": data,
                "cycle": edges,
                "component": {"number": cycle.component, "transactions": size},
                **({"also": also} if also else {}),
            },
        )

    def _also(self, cycle: Cycle) -> str | None:
        if self.is_write_skew(cycle):
            return "write-skew"
        return "cyclic-versions" if self.is_cyclic_versions(cycle) else None

    def is_write_skew(self, cycle: Cycle) -> bool:
        """Whether two transactions each did not see what the other wrote to another key, and no more is needed."""
        if cycle.kinds != (RW, RW):
            return False
        key = self._transactions.key
        return int(key[cycle.vias[0]]) != int(key[cycle.vias[1]])

    def is_cyclic_versions(self, cycle: Cycle) -> bool:
        """Whether each transaction read, of one key, what the one before it had written, and wrote it again."""
        if any(kind not in (WW, WR) for kind in cycle.kinds):
            return False
        return len({int(self._transactions.key[via]) for via in cycle.vias}) == 1

    def _value(self, write: int) -> Any:
        number = int(self._transactions.value[write])
        return self._transactions.absent if number == NIL else self._transactions.values[number]

    def _edge(self, kind: int, source: int, target: int, via: int, cast: Cast) -> dict[str, Any]:
        transactions = self._transactions
        first, second = cast.name(source), cast.name(target)
        number = int(transactions.key[via])
        key = transactions.keys[number]
        if kind == WR:
            value = self._value(int(self._versions.position[via]))
            reason = f"{second} read {first}'s write of {shown(value)} to key {shown(key)}"
            return edge_as_data(kind, first, second, reason, key=key, value=value)
        value = self._value(via)
        if kind not in ANY_RW:
            before = self._last(source, number, WRITE)
            previous = self._value(before)
            reason = (
                f"{second} wrote {shown(value)} to key {shown(key)} after {first} had written {shown(previous)}"
                f"{self._derived(kind, before, via)}"
            )
            return edge_as_data(kind, first, second, reason, key=key, value=value, previous=previous)
        read = self._first(source, number)
        seen = int(self._versions.position[read])
        previous = self._value(seen) if seen >= 0 else transactions.absent
        reason = (
            f"{first} read {shown(previous)} from key {shown(key)} and not {second}'s write of {shown(value)}, which "
            f"is later{self._derived(kind, seen, via)}"
        )
        return edge_as_data(kind, first, second, reason, key=key, value=value, previous=previous)

    def _derived(self, kind: int, before: int, after: int) -> str:
        """How it is known that a version is later than another, where only sessions or real time tell."""
        if kind not in DERIVED:
            return ""
        by_real_time = kind in BY_REALTIME
        transactions = self._transactions
        early, late = self._users(before), self._users(after)
        for one in sorted(early, key=lambda number: int(transactions.end[number])):
            for other in sorted(late, key=lambda number: -int(transactions.start[number])):
                if int(transactions.end[one]) < int(transactions.start[other]) and (
                    by_real_time or int(transactions.process[one]) == int(transactions.process[other])
                ):
                    return (
                        f" (whoever knew {shown(self._value(before))} was over by event {int(transactions.end[one])}, "
                        f"before one that knew {shown(self._value(after))} began with event "
                        f"{int(transactions.start[other])}{'' if by_real_time else ' in the same session'})"
                    )
                break
        return ""

    @cached_property
    def _by_key(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self._transactions.key, kind="stable")
        return order, np.searchsorted(
            self._transactions.key[order], np.arange(len(self._transactions.keys) + 1)
        )

    def _users(self, write: int) -> list[int]:
        """The transactions that wrote or read what a write wrote, if they are known to have committed."""
        order, firsts = self._by_key
        transactions, versions = self._transactions, self._versions
        key = int(transactions.key[write])
        found = []
        for one in order[int(firsts[key]) : int(firsts[key + 1])].tolist():
            owner = int(versions.owner[one])
            if int(transactions.outcome[owner]) == 1 and (
                one == write or (int(transactions.kind[one]) == READ and int(versions.position[one]) == write)
            ):
                found.append(owner)
        return found

    def _last(self, transaction: int, key: int, kind: int) -> int:
        transactions = self._transactions
        for one in range(
            int(transactions.first[transaction + 1]) - 1, int(transactions.first[transaction]) - 1, -1
        ):
            if int(transactions.key[one]) == key and int(transactions.kind[one]) == kind:
                return one
        raise AssertionError(f"transaction {transaction} does not do {kind} to key {key}")

    def _first(self, transaction: int, key: int) -> int:
        transactions = self._transactions
        for one in range(int(transactions.first[transaction]), int(transactions.first[transaction + 1])):
            if int(transactions.key[one]) == key and int(transactions.kind[one]) == READ:
                return one
        raise AssertionError(f"transaction {transaction} does not read key {key}")

    def of_finding(self, finding: Finding) -> Anomaly:
        """The anomaly that a finding is."""
        transactions, owner = self._transactions, self._versions.owner
        key = transactions.keys[int(transactions.key[finding.first])]
        first = int(owner[finding.first])
        name = finding.name
        of_nobody = name in ("unwritten-value", "garbage-read")
        second = first if of_nobody else int(owner[finding.second])
        cast = Cast(transactions, [first, second])
        one, other = cast.name(first), cast.name(second)
        where = f"key {shown(key)}"
        written = None if of_nobody else shown(self._value(finding.second))
        if name == "internal":
            before = transactions.spelt_one(finding.second)
            now = transactions.spelt_one(finding.first)
            did = "read" if before[0] == "r" else "wrote"
            text = f"{one} {did} {shown(before[2])} at {where} and then read {shown(now[2])}"
        elif of_nobody:
            text = f"{one} read {shown(transactions.values[finding.second])} from {where}, which nobody wrote to it"
            if name == "garbage-read" and self._versions.is_initial_known:
                text += f", and before anybody wrote, it held {shown(transactions.absent)}"
            elif name == "garbage-read":
                text += (
                    ", and something else that nobody wrote was read too: only one can have been there before"
                )
        elif name == "duplicate-writes":
            text = (
                f"{one} and {other} both wrote {written} to {where}; nothing can be said of a key whose writes are not "
                "unique"
            )
        elif name == "G1a":
            text = f"{one} read {written} from {where}, which {other} wrote, and {other} failed"
        elif name == "G1b":
            text = (
                f"{one} read {written} from {where}, and {other}, which wrote it, then wrote something else"
            )
        elif name == "future-read":
            text = f"{one} read {written} from {where} before it wrote it itself"
        elif name == "dirty-update":
            failed = shown(self._value(finding.first))
            text = (
                f"{one}, which wrote {failed} to {where}, failed; {other} read that and then wrote {written}"
            )
        else:
            assert name == "lost-update", f"{name!r} is no finding"
            seen = shown(self._value(finding.third)) if finding.third >= 0 else "the initial state"
            text = (
                f"{one} and {other} both read {seen} from {where}, and then both wrote it "
                f"({shown(self._value(finding.first))} and {written}): whichever came second did not see the first"
            )
        data = cast.as_data()
        return Anomaly(
            type=name,
            sentence=f"{name}: {text}. Here {cast.introduced(data)}",
            operations=cast.events(),
            key=key,
            evidence={"transactions": data},
        )
