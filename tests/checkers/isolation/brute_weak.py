"""Read committed, read atomic and causal by trying every commit order and every writer of each read: slow, and plain.

The definitions are those of Biswas and Enea (OOPSLA 2019), with the read consistency of AWDIT, word by word.
"""

from __future__ import annotations

from itertools import chain, combinations, permutations, product

from tests.checkers.isolation.registers import Transaction


def satisfies(transactions: list[Transaction], level: str) -> bool:
    """Whether some set of the transactions of unknown outcome, some writers and some commit order fit."""
    ok = [number for number, one in enumerate(transactions) if one.outcome == "ok"]
    unknown = [number for number, one in enumerate(transactions) if one.outcome == "info"]
    chosen = chain.from_iterable(combinations(unknown, size) for size in range(len(unknown) + 1))
    return any(_fits(transactions, sorted([*ok, *some]), level) for some in chosen)


def _fits(transactions: list[Transaction], committed: list[int], level: str) -> bool:
    reads = []
    for number in committed:
        one = transactions[number]
        if one.outcome != "ok":
            continue
        own: dict[str, int | None] = {}
        for place, (is_write, key, value) in enumerate(one.steps):
            if is_write:
                own[key] = value
            elif key in own:
                if own[key] != value:
                    return False
            else:
                reads.append((number, place, key, value))
    writers = []
    for number, _, key, value in reads:
        possible = [
            other for other in committed if other != number and _left(transactions[other], key, value)
        ]
        if value is None:
            possible.append(-1)
        writers.append(possible)
    for choice in product(*writers):
        seen = [
            (reader, place, key, writer)
            for (reader, place, key, _), writer in zip(reads, choice, strict=True)
        ]
        if any(_explains(transactions, order, seen, level) for order in permutations(committed)):
            return True
    return False


def _left(one: Transaction, key: str, value: int | None) -> bool:
    """Whether the last write of a transaction to a key is of this value."""
    writes = [written for is_write, of_key, written in one.steps if is_write and of_key == key]
    return bool(writes) and writes[-1] == value


def _explains(
    transactions: list[Transaction], order: tuple[int, ...], seen: list[tuple[int, int, str, int]], level: str
) -> bool:
    place = {number: at for at, number in enumerate(order)}
    place[-1] = -1
    before = {
        (a, b) for a in order for b in order if a < b and transactions[a].session == transactions[b].session
    }
    reads = {(writer, reader) for reader, _, _, writer in seen if writer >= 0}
    if any(place[a] >= place[b] for a, b in before | reads):
        return False
    direct = before | reads
    happened = set(direct)
    while True:
        more = {(a, d) for a, b in happened for c, d in direct if b == c} - happened
        if not more:
            break
        happened |= more
    for reader, at, key, writer in seen:
        if level == "read-committed":
            visible = {
                other for one, earlier, _, other in seen if one == reader and earlier < at and other >= 0
            }
        else:
            visible = {a for a, b in (direct if level == "read-atomic" else happened) if b == reader}
        for other in visible - {writer}:
            writes_key = any(is_write and of_key == key for is_write, of_key, _ in transactions[other].steps)
            if writes_key and place[other] > place[writer]:
                return False
    return True
