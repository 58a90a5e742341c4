"""Each rule about logs, votes and leaders: broken at its smallest, beside an innocent twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reference_db.invariants.consensus import RangeTruth
from reference_db.invariants.disk_image import LeftBehind, RangeChange, RangeImage
from reference_db.invariants.violation import Violation
from reference_db.raft.messages import Entry, HardState
from reference_db.storage.raft_log import TruncatedState
from reference_db.storage.range_snapshot import AppliedState

VOTERS = (frozenset((1, 2, 3)), frozenset[int]())


class Disks:
    """Three nodes' images of one range, written to through the truth as the watcher does it."""

    def __init__(self) -> None:
        self.written = {name: RangeImage() for name in ("n1", "n2", "n3")}
        self.durable = {name: RangeImage() for name in ("n1", "n2", "n3")}
        self.truth = RangeTruth(1, self._images)

    def _images(self, _range_id: int) -> list[tuple[str, int, RangeImage, RangeImage]]:
        return [
            (name, number, self.written[name], self.durable[name])
            for number, name in enumerate(self.written, 1)
        ]

    def write(
        self,
        node: str,
        *entries: Entry,
        state: HardState | None = None,
        applied: int | None = None,
        deleted: tuple[int, ...] = (),
        truncated: TruncatedState | None = None,
        led_term: int = 0,
        synced: bool = True,
    ) -> list[Violation]:
        """One batch of a node."""
        change = RangeChange(
            list(entries),
            list(deleted),
            state,
            None if applied is None else AppliedState(applied, 1),
            truncated,
        )
        image = self.written[node]
        commit = image.hard_state.commit
        found = self.truth.wrote(node, image, change, led_term)
        image.apply(change)
        if synced:
            self.durable[node].apply(change)
        if image.hard_state.commit > commit:
            found += self.truth.committed_on(node, image, commit, VOTERS)
        return found + self.truth.in_order(node, image, "written")

    def leads(self, node: str, term: int) -> list[Violation]:
        image = self.written[node]
        return self.truth.leads(node, term, image.last, lambda index: image.term(index) or 0)

    def restarts(self, node: str, image: RangeImage, *unsynced: RangeChange) -> list[Violation]:
        left = LeftBehind(self.durable[node], unsynced)
        self.written[node] = image
        return self.truth.started(node, image, [], left)


ONE, TWO, THREE = Entry(1, 1, b"a"), Entry(1, 2, b"b"), Entry(1, 3, b"c")


def settled() -> Disks:
    """Term 1, led by n1: entries 1 and 2 are everywhere and committed, 3 is on n1 alone."""
    disks = Disks()
    found: list[Violation] = []
    for node in ("n1", "n2", "n3"):
        found += disks.write(node, ONE, TWO, state=HardState(1, 1, 0))
    found += disks.leads("n1", 1)
    found += disks.write("n1", THREE, state=HardState(1, 1, 2), applied=2, led_term=1)
    assert found == []
    return disks


def names(found: list[Violation]) -> list[str]:
    return [one.name for one in found]


def test_two_leaders_of_one_term() -> None:
    disks = settled()
    assert disks.leads("n1", 1) == []
    assert disks.leads("n2", 2) == []
    assert names(disks.leads("n3", 2)) == ["election safety"]


def test_two_votes_in_one_term() -> None:
    truth = settled().truth
    assert truth.voted("n2", 5, 1) == []
    assert truth.voted("n2", 5, 1) == []
    assert truth.voted("n2", 6, 3) == []
    assert names(truth.voted("n2", 5, 3)) == ["one vote a term"]


@pytest.mark.parametrize(
    ("state", "broken"),
    [
        (HardState(1, 1, 2), []),
        (HardState(2, 0, 2), []),
        (HardState(2, 3, 2), []),
        (HardState(0, 1, 2), ["terms and votes stay"]),
        (HardState(1, 2, 2), ["terms and votes stay"]),
        (HardState(1, 1, 1), ["commit stays", "indexes in order"]),
    ],
)
def test_terms_votes_and_commits_never_go_back(state: HardState, broken: list[str]) -> None:
    assert names(settled().write("n1", state=state)) == broken


def test_the_same_index_and_term_with_other_data() -> None:
    assert names(settled().write("n2", THREE)) == []
    assert names(settled().write("n2", Entry(1, 3, b"other"))) == ["log matching"]


def test_the_same_entry_after_another_one() -> None:
    disks = settled()
    assert disks.write("n2", Entry(2, 3, b"x"), Entry(3, 4, b"y"), state=HardState(3, 2, 0)) == []
    # n3 has an entry of term 1 where n2 has one of term 2, and the same entry after it.
    assert names(disks.write("n3", THREE, Entry(3, 4, b"y"), state=HardState(3, 2, 0))) == ["log matching"]


def test_a_leader_overwrites_its_own_log() -> None:
    overwritten = Entry(1, 3, b"c"), Entry(1, 4, b"d")
    assert names(settled().write("n1", *overwritten, led_term=1)) == ["leader appends only"]
    assert names(settled().write("n1", *overwritten, led_term=0)) == []
    assert names(settled().write("n1", Entry(1, 4, b"d"), led_term=1)) == []


def test_a_leader_without_a_committed_entry() -> None:
    disks = settled()
    assert disks.leads("n2", 2) == []
    short = settled()
    short.write("n3", Entry(1, 1, b"a"), deleted=(2,))
    assert names(short.leads("n3", 3)) == ["leader completeness"]
    late = settled()
    late.write("n3", Entry(1, 1, b"a"), deleted=(2,))
    # Entry 2 was committed in term 1. Who led before that owes nothing.
    assert names(late.truth.leads("n3", 1, 1, lambda _: 1)) == ["election safety"]


def test_a_committed_entry_is_replaced() -> None:
    replaced = Entry(2, 2, b"z")
    assert "committed entries stay" in names(settled().write("n1", replaced, deleted=(3,)))
    # n2 did not know yet that it was committed; it finds out when it says what it has committed itself.
    disks = settled()
    assert disks.write("n2", replaced, state=HardState(2, 2, 0)) == []
    assert names(disks.write("n2", state=HardState(2, 2, 2))) == ["committed entries stay"]
    # An entry that was not committed may go.
    assert names(settled().write("n1", Entry(2, 3, b"z"), state=HardState(2, 0, 2))) == []


def test_a_commit_that_is_on_too_few_disks() -> None:
    """n2 has written entry 3, and only its memory says that it is durable."""
    disks = settled()
    assert disks.write("n2", THREE, synced=False) == []
    found = disks.write("n1", state=HardState(1, 1, 3))
    assert names(found) == ["committed on a durable quorum"]
    assert "durable on n1: 1 of 3 voters" in found[0].text
    assert "n2 synced entries 1 to 2" in found[0].text
    innocent = settled()
    assert innocent.write("n2", THREE) == []
    assert innocent.write("n1", state=HardState(1, 1, 3)) == []


def test_a_follower_that_hears_of_a_commit_late_proves_nothing() -> None:
    """1. n1 and n2 have entry 3, n1 commits. 2. n2 loses its memory, not its disk. 3. n3 hears of the commit."""
    disks = settled()
    disks.write("n2", THREE)
    assert disks.write("n1", state=HardState(1, 1, 3)) == []
    disks.durable["n2"] = RangeImage()  # Whatever happens later to n2's disk: it was there when n1 committed.
    assert disks.write("n3", THREE, state=HardState(1, 1, 3)) == []


def test_indexes_that_are_not_in_order() -> None:
    assert names(settled().write("n1", applied=3)) == ["indexes in order"]
    assert names(settled().write("n1", applied=2)) == []
    assert names(settled().write("n1", state=HardState(1, 1, 4))) == [
        "committed entries stay",
        "indexes in order",
    ]
    compacted = TruncatedState(2, 1)
    assert names(settled().write("n1", truncated=compacted, deleted=(1, 2))) == []
    assert names(settled().write("n2", truncated=compacted, deleted=(1, 2))) == ["indexes in order"]


def test_a_log_with_a_gap() -> None:
    assert names(settled().write("n1", deleted=(1,))) == ["log without gaps"]
    assert names(settled().write("n1", Entry(1, 5, b"e"))) == ["log without gaps"]
    assert names(settled().write("n1", Entry(1, 4, b"e"))) == []


def test_an_entry_is_applied_that_is_not_the_committed_one() -> None:
    truth = settled().truth
    assert truth.applied("n2", TWO) == []
    assert names(truth.applied("n2", Entry(2, 2, b"b"))) == ["only committed entries are applied"]
    assert names(truth.applied("n2", THREE)) == ["only committed entries are applied"]


def _lose_vote(image: RangeImage) -> None:
    image.hard_state = HardState(1, 0, 2)


def _lose_term(image: RangeImage) -> None:
    image.hard_state = HardState(0, 0, 2)


def _lose_entry(image: RangeImage) -> None:
    del image.terms[3]
    image.last = 2


def _lose_applied(image: RangeImage) -> None:
    image.applied = 1


@pytest.mark.parametrize("lose", [_lose_vote, _lose_term, _lose_entry, _lose_applied])
def test_what_was_durable_is_gone_after_a_restart(lose: Callable[[RangeImage], None]) -> None:
    disks = settled()
    image = disks.durable["n1"].copy()
    assert disks.restarts("n1", image.copy()) == []
    lose(image)
    assert names(settled().restarts("n1", image)) == ["survives a restart"]


def test_a_crash_may_lose_the_newest_batches_but_none_before_them() -> None:
    disks = settled()
    first = RangeChange([Entry(1, 4, b"d")])
    second = RangeChange([], hard_state=HardState(1, 1, 3))
    for kept in range(3):
        image = disks.durable["n1"].copy()
        for change in (first, second)[:kept]:
            image.apply(change)
        assert disks.restarts("n1", image, first, second) == []
    hole = disks.durable["n1"].copy()
    hole.apply(second)
    assert names(disks.restarts("n1", hole, first, second)) == ["survives a restart"]


def test_a_violation_shows_both_logs_and_the_values() -> None:
    (found,) = settled().write("n2", Entry(1, 3, b"other"))
    assert "n2 has another entry 3 of term 1" in found.text
    assert "n1 wrote  entries 1 to 3, near 3: 0:t0 1:t1 2:t1 3:t1; term 1, vote 1, commit 2" in found.text
    assert (found.node, found.range_id, found.index) == ("n2", 1, 3)
    assert str(found).startswith("log matching (entries of the same index and term hold the same")
