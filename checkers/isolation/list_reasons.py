"""Why a history of lists is wrong: each dependency and each finding as a sentence with its evidence."""

from __future__ import annotations

from typing import Any, Final

from checkers.isolation.append_orders import Impossible
from checkers.isolation.commit_order import BY_COMMITS
from checkers.isolation.cycles import Cycle
from checkers.isolation.dependencies import PROCESS, RW, WR, WW
from checkers.isolation.evidence import Cast, edge_as_data, order_reason, shown, told
from checkers.isolation.list_versions import Finding, ListVersions
from checkers.words import count
from results.history import TYPE_CODES
from results.transactions import APPEND, READ
from results.verdict import Anomaly

_FAIL: Final = TYPE_CODES["fail"]


class ListReasons:
    """Tells cycles and findings of one history."""

    def __init__(self, versions: ListVersions) -> None:
        self._versions = versions
        self._transactions = versions.transactions

    def of_cycle(self, cycle: Cycle, size: int) -> Anomaly:
        """The anomaly that a cycle is; `size` is that of its component."""
        transactions = self._transactions
        cast = Cast(transactions, cycle.transactions)
        edges = []
        members = cycle.transactions
        for place, (kind, via) in enumerate(zip(cycle.kinds, cycle.vias, strict=True)):
            source, target = members[place], members[(place + 1) % len(members)]
            if kind >= PROCESS:
                reason = order_reason(transactions, kind, source, target, cast)
                edges.append(edge_as_data(kind, cast.name(source), cast.name(target), reason))
            else:
                edges.append(self._edge(kind, source, target, via, cast))
        data = cast.as_data()
        name = cycle.name
        skew = self.is_write_skew(cycle)
        sentence = told(cycle, cast, [edge["reason"] for edge in edges])
        return Anomaly(
            type=name,
            sentence=f"{name}{' (write skew)' if skew else ''}: {sentence}. Here {cast.introduced(data)}",
            operations=cast.events(),
            key=next((edge["key"] for edge in edges if "key" in edge), None),
            evidence={
                "transactions": data,
                "cycle": edges,
                "component": {"number": cycle.component, "transactions": size},
                **({"also": "write-skew"} if skew else {}),
            },
        )

    def is_write_skew(self, cycle: Cycle) -> bool:
        """Whether two transactions each did not see what the other wrote to another key, and no more is needed."""
        if cycle.kinds != (RW, RW):
            return False
        key = self._transactions.key
        return int(key[cycle.vias[0]]) != int(key[cycle.vias[1]])

    def _edge(self, kind: int, source: int, target: int, via: int, cast: Cast) -> dict[str, Any]:
        transactions = self._transactions
        first, second = cast.name(source), cast.name(target)
        key = transactions.keys[int(transactions.key[via])]
        if kind == WR:
            value = self._value(self._seen_of(via, source))
            reason = f"{second} observed {first}'s append of {shown(value)} to key {shown(key)}"
            return edge_as_data(kind, first, second, reason, key=key, value=value)
        value = self._value(via)
        if kind == WW:
            previous = self._value(self._before(via, source))
            place = "" if self._versions.position[via] >= 0 else ", which nobody observed,"
            if self._versions.by_commits is not None and via in self._versions.by_commits:
                place = ", by the commit timestamps of the database,"
            reason = (
                f"{second} appended {shown(value)}{place} to key {shown(key)} after {first} had appended "
                f"{shown(previous)}"
            )
            return edge_as_data(kind, first, second, reason, key=key, value=value, previous=previous)
        assert kind == RW, f"an edge of kind {kind} is no dependency"
        reason = f"{first} did not observe {second}'s append of {shown(value)} to key {shown(key)}"
        return edge_as_data(kind, first, second, reason, key=key, value=value)

    def of_impossible(self, decided: Impossible) -> Anomaly:
        """Two appends that nobody observed, neither of which can have come first."""
        transactions, owner = self._transactions, self._versions.owner
        first, second = int(owner[decided.first]), int(owner[decided.second])
        cycles = decided.cycles or ([], [])
        members = [
            first,
            second,
            *(edge[0] for cycle in cycles for edge in cycle if edge[0] < len(transactions)),
        ]
        cast = Cast(transactions, members)
        one, other = cast.name(first), cast.name(second)
        key = transactions.keys[int(transactions.key[decided.first])]
        text = (
            f"{one} and {other} both appended to key {shown(key)} ({shown(self._value(decided.first))} and "
            f"{shown(self._value(decided.second))}), and nobody observed which came first"
        )
        if decided.cycles is None:
            text += (
                "; every order of this and the other appends that nobody observed closes a cycle with one rw"
            )
        for (before, after), cycle in zip(((one, other), (other, one)), cycles, strict=True):
            if cycle:
                text += (
                    f"; if {before} came before {after}, then {'; and '.join(self._steps(cycle[1:], cast))}"
                )
        data = cast.as_data()
        return Anomaly(
            type="G-single-item",
            sentence=f"G-single-item: {text}: a contradiction. Here {cast.introduced(data)}",
            operations=cast.events(),
            key=key,
            evidence={"transactions": data},
        )

    def _steps(self, edges: list[tuple[int, int, int, int]], cast: Cast) -> list[str]:
        """The reasons of edges one after the other; those into and out of nodes between transactions are one."""
        told = []
        source, kind = -1, -1
        for begin, target, of_edge, via in edges:
            if source < 0:
                source, kind = begin, of_edge
            if target >= len(self._transactions):
                continue
            if kind == WW and self._versions.position[via] < 0 and self._is_open(via, source):
                told.append(
                    f"{cast.name(target)} appended {shown(self._value(via))} after {cast.name(source)}, as the other "
                    "order is impossible"
                )
            else:
                told.append(self._edge(kind, source, target, via, cast)["reason"])
            source = -1
        return told

    def _is_open(self, append: int, source: int) -> bool:
        """Whether no append of `source` to the key was observed."""
        versions, transactions = self._versions, self._transactions
        mine = range(int(transactions.first[source]), int(transactions.first[source + 1]))
        key = transactions.key[append]
        return not any(
            transactions.kind[one] == APPEND and transactions.key[one] == key and versions.position[one] >= 0
            for one in mine
        )

    def _value(self, append: int) -> Any:
        return self._transactions.values[int(self._transactions.value[append])]

    def _before(self, append: int, source: int) -> int:
        """The append of `source` that comes right before, leaving out those that failed."""
        versions = self._versions
        key = int(self._transactions.key[append])
        begin, end = int(versions.order_first[key]), int(versions.order_first[key + 1])
        place = int(versions.position[append])
        at = end if place < 0 else begin + place
        while at > begin:
            at -= 1
            other = int(versions.order[at])
            if other >= 0 and int(versions.owner[other]) == source:
                return other
        raise AssertionError(f"no append of transaction {source} comes before micro-operation {append}")

    def _seen_of(self, read: int, source: int) -> int:
        """The last append of `source` that a read saw."""
        transactions = self._transactions
        key = int(transactions.key[read])
        seen = transactions.elements[
            int(transactions.element_first[read]) : int(transactions.element_first[read + 1])
        ].tolist()
        place = {value: at for at, value in enumerate(seen)}
        begin, end = int(transactions.first[source]), int(transactions.first[source + 1])
        kinds, keys, values = (
            column[begin:end].tolist() for column in (transactions.kind, transactions.key, transactions.value)
        )
        best, found = -1, -1
        for offset in range(end - begin):
            if kinds[offset] != READ and keys[offset] == key and place.get(values[offset], -1) > best:
                best, found = place[values[offset]], begin + offset
        assert found >= 0, f"read {read} saw nothing that transaction {source} appended"
        return found

    def of_finding(self, finding: Finding) -> Anomaly:
        """The anomaly that a finding is."""
        transactions, owner = self._transactions, self._versions.owner
        key = transactions.keys[int(transactions.key[finding.first])]
        first = int(owner[finding.first])
        second = first
        if finding.name not in ("garbage-read", "duplicate-elements"):
            second = int(owner[finding.second])
        cast = Cast(transactions, [first, second])
        one, other = cast.name(first), cast.name(second)
        name = finding.name
        where = f"key {shown(key)}"
        if name == "internal":
            before = transactions.spelt_one(finding.second)
            now = transactions.spelt_one(finding.first)
            did = f"read {shown(before[2])} of" if before[0] == "r" else f"appended {shown(before[2])} to"
            text = f"{one} {did} {where} and then read {shown(now[2])}, which does not follow from that"
        elif name == "garbage-read":
            value = transactions.values[finding.second]
            text = f"{one} read {shown(value)} from {where}, which nobody ever appended to it"
        elif name == "duplicate-elements":
            value = transactions.values[finding.second]
            text = f"{one} read {shown(value)} from {where} more than once, though it was appended only once"
        elif name == "duplicate-appends":
            text = (
                f"{one} and {other} both appended {shown(self._value(finding.first))} to {where}; nothing can be said "
                "of a key whose appends are not unique"
            )
        elif name == "incompatible-order" and finding.third == BY_COMMITS:
            at = transactions.committed_at
            assert at is not None, "commit timestamps are told of a history without any"
            observed = self._versions.position[finding.first] >= 0
            text = (
                f"{other} appended {shown(self._value(finding.second))} to {where}, and "
                + ("then " if observed else "nobody who observed that observed that ")
                + f"{one} appended {shown(self._value(finding.first))}"
                + (", as was read; but " if observed else "; but ")
                + f"by the commit timestamps of the database {one} ({at[first]}) came before {other} ({at[second]})"
            )
        elif name == "incompatible-order" and int(transactions.kind[finding.first]) == APPEND:
            text = (
                f"{one} appended {shown(self._value(finding.first))} to {where} before "
                f"{shown(self._value(finding.third))}, and {other} observed the second without the first before it"
            )
        elif name == "incompatible-order":
            mine, longest = (transactions.spelt_one(m)[2] for m in (finding.first, finding.second))
            text = (
                f"{one} read {shown(mine)} from {where} and {other} read {shown(longest)}: neither is how the other "
                "began"
            )
        elif name == "G1a":
            value = shown(self._value(finding.second))
            text = f"{one} observed {value} in {where}, which {other} appended, and {other} failed"
        elif name == "G1b":
            text = (
                f"{one} read {where} as it was after {other}'s append of {shown(self._value(finding.second))}, and "
                f"{other} appended more to it"
            )
        elif name == "future-read":
            text = (
                f"{one} observed {shown(self._value(finding.second))} in {where} before it appended it itself"
            )
        elif name == "dirty-update":
            text = (
                f"{one} failed, but {other}'s append of {shown(self._value(finding.second))} to {where} built on "
                f"{one}'s append of {shown(self._value(finding.first))}"
            )
        else:
            assert name == "lost-update", f"{name!r} is no finding"
            text = (
                f"{one} and {other} both read {where} with the same {count(finding.third, 'element')}, and then both "
                f"appended to it ({shown(self._value(finding.first))} and {shown(self._value(finding.second))}): "
                "whichever came second did not see the first"
            )
        data = cast.as_data()
        return Anomaly(
            type=name,
            sentence=f"{name}: {text}. Here {cast.introduced(data)}",
            operations=cast.events(),
            key=key,
            evidence={"transactions": data},
        )
