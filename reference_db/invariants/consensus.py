"""What must hold of the logs of one range on all nodes, over everything ever observed.

`RangeTruth` remembers what was decided: who led which term, who voted for whom, what is committed at each index, what
an index and term stand for, and what the state was after each index. Whatever a node does later is compared with it.
Each rule looks at each entry of each node once.

A leader's lease is no rule here: leaders of this database prove their leadership for each round of reads, so an old one
may believe in itself for as long as it likes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

from reference_db.invariants.disk_image import LeftBehind, RangeChange, RangeImage
from reference_db.invariants.violation import Violation
from reference_db.raft.describe import describe_entry
from reference_db.raft.messages import Entry, HardState

_LOOK_BACK = 64
"""How many committed entries are compared with a new leader's log: by log matching the last one stands for all."""

Images = Callable[[int], Sequence[tuple[str, int, RangeImage, RangeImage]]]
"""For a range: (node, Raft id, image of what is written, image of what is durable) of every node ever attached."""


class RangeTruth:
    """One range."""

    def __init__(self, range_id: int, images: Images) -> None:
        self.range_id = range_id
        self._images = images
        self.leaders: dict[int, str] = {}
        """By term."""
        self._votes: dict[tuple[int, str], int] = {}
        """By term and voter: the candidate's Raft id."""
        self._first = 1
        """Index of the first of `_terms`."""
        self._terms: list[int] = []
        """Terms of the committed entries."""
        self._commits: list[tuple[int, int]] = []
        """(term, index): in this term, committing went on to this index. Indexes grow."""
        self._contents: dict[tuple[int, int], tuple[int, int]] = {}
        """By (index, term): the previous entry's term, and a checksum of what the entry holds."""

    @property
    def committed(self) -> int:
        """The highest index that any node is known to have committed."""
        return self._first + len(self._terms) - 1

    def committed_term(self, index: int) -> int | None:
        """The term of the entry committed at an index, if known."""
        at = index - self._first
        return self._terms[at] if 0 <= at < len(self._terms) else None

    def broken(self, name: str, text: str, node: str, index: int | None = None) -> Violation:
        """A violation with the logs of all nodes around the index."""
        lines = [f"range {self.range_id}: {text}"]
        if index is not None:
            for other, _, written, durable in self._images(self.range_id):
                lines.append(f"  {other} wrote  {written.around(index)}")
                lines.append(f"  {other} synced {durable.around(index)}")
        return Violation(name, "\n".join(lines), self.range_id, node, index)

    # A node starts.

    def started(
        self, node: str, image: RangeImage, entries: Iterable[Entry], left: LeftBehind | None
    ) -> list[Violation]:
        """A node opens its disk. `left` is what it left there when it died; None at its first start."""
        found: list[Violation] = []
        previous = image.base_term
        for entry in entries:
            found += self._match(node, entry, previous)
            previous = entry.term
        if left is not None:
            found += self._survived(node, image, left)
        found += self._compare(node, image, image.base, image.hard_state.commit)
        if image.hard_state.commit > self.committed:
            # The first sight of a disk with a past: what it says is committed must be believed.
            if image.base > self.committed:
                self._first, self._terms = image.base + 1, []
            for index in range(self.committed + 1, image.hard_state.commit + 1):
                self._terms.append(image.term(index) or 0)
            self._commits.append((0, self.committed))
        found += self.in_order(node, image, "written")
        return found

    def _survived(self, node: str, image: RangeImage, left: LeftBehind) -> list[Violation]:
        """A crash leaves what was durable and, of what was not, the oldest batches."""
        expected = left.durable.copy()
        if expected.equals(image):
            return []
        for change in left.unsynced:
            expected.apply(change)
            if expected.equals(image):
                return []
        durable, state = left.durable, image.hard_state
        index = min(image.last, durable.last) if image.last != durable.last else durable.hard_state.commit
        text = (
            f"{node} starts with what was never on its disk, even if any number of the {len(left.unsynced)} latest "
            f"batches is lost: {shown_state(state)}, applied {image.applied}, entries {image.base + 1} to "
            f"{image.last}; "
            f"durable when it died were {shown_state(durable.hard_state)}, applied {durable.applied}, entries "
            f"{durable.base + 1} to {durable.last}"
        )
        return [self.broken("survives a restart", text, node, index)]

    # Elections.

    def voted(self, node: str, term: int, candidate: int) -> list[Violation]:
        """A node grants its vote: the answer leaves."""
        known = self._votes.setdefault((term, node), candidate)
        if known == candidate:
            return []
        text = f"{node} voted for node {known} in term {term}, and now votes for node {candidate}"
        return [self.broken("one vote a term", text, node)]

    def forget_votes(self, node: str) -> None:
        """The node has lost them, through no fault of its own."""
        self._votes = {key: candidate for key, candidate in self._votes.items() if key[1] != node}

    def leads(self, node: str, term: int, last: int, term_at: Callable[[int], int]) -> list[Violation]:
        """A node leads a term, with a log that `term_at` answers for (0: compacted) up to `last`."""
        known = self.leaders.setdefault(term, node)
        if known != node:
            text = f"{known} and {node} both lead term {term}"
            return [self.broken("election safety", text, node, last)]
        required = next((index for then, index in reversed(self._commits) if then < term), 0)
        for index in range(required, max(required - _LOOK_BACK, self._first - 1), -1):
            committed, mine = self.committed_term(index), term_at(index) if index <= last else -1
            if mine == 0:
                break
            if mine != committed:
                has = f"has term {mine} there" if mine > 0 else f"ends at {last}"
                text = (
                    f"{node} leads term {term} without entry {index} of term {committed}, which was committed before: "
                    f"its log {has}"
                )
                return [self.broken("leader completeness", text, node, index)]
        return []

    # Logs.

    def wrote(self, node: str, image: RangeImage, change: RangeChange, led_term: int) -> list[Violation]:
        """A node's batch is about to change its image. `led_term`: the term that it has led since before, or 0."""
        found: list[Violation] = []
        state = image.hard_state
        new = change.hard_state
        if new is not None and new is not state:
            if new.term < state.term or (new.term == state.term and state.vote and new.vote != state.vote):
                text = f"{node} writes {shown_state(new)} over {shown_state(state)}"
                found.append(self.broken("terms and votes stay", text, node, new.commit))
            if new.commit < state.commit:
                text = f"{node} writes commit {new.commit} over {state.commit}"
                found.append(self.broken("commit stays", text, node, new.commit))
        if not change.entries:
            return found
        first = change.entries[0].index
        is_reset = change.truncated is not None and change.truncated.index > image.last
        if is_reset and change.truncated is not None:
            previous: int | None = change.truncated.term if first == change.truncated.index + 1 else None
        else:
            previous = image.term(first - 1)
        for entry in change.entries:
            found += self._match(node, entry, previous)
            previous = entry.term
        if first <= image.last and not is_reset:
            if led_term and led_term == state.term and (new is None or new.term == led_term):
                text = (
                    f"{node}, which leads term {led_term}, writes entry {first} over its own log, which goes on to "
                    f"{image.last}: {describe_entry(change.entries[0])}"
                )
                found.append(self.broken("leader appends only", text, node, first))
            for entry in change.entries:
                if entry.index > state.commit:
                    break
                if not image.has(entry.index, entry.term):
                    text = (
                        f"{node} writes {describe_entry(entry)} over the entry of term {image.term(entry.index)} that "
                        f"it knew as committed (commit {state.commit})"
                    )
                    found.append(self.broken("committed entries stay", text, node, entry.index))
                    break
        return found

    def _match(self, node: str, entry: Entry, previous_term: int | None) -> list[Violation]:
        key = (entry.index, entry.term)
        content = zlib.crc32(entry.data, entry.kind)
        known = self._contents.get(key)
        if known is None:
            if previous_term is not None:
                self._contents[key] = (previous_term, content)
            return []
        if known[1] == content and (previous_term is None or known[0] == previous_term):
            return []
        text = (
            f"{node} has another entry {entry.index} of term {entry.term} than others had: {describe_entry(entry)} "
            f"after an entry of term {previous_term}; known were checksum {known[1]:08x} (this: {content:08x}) after "
            f"term {known[0]}"
        )
        return [self.broken("log matching", text, node, entry.index)]

    def in_order(self, node: str, image: RangeImage, what: str) -> list[Violation]:
        """truncated <= applied <= committed <= last, and a log without gaps."""
        commit = image.hard_state.commit
        if not image.base <= image.applied <= commit <= image.last:
            text = (
                f"{node} has {what} truncated {image.base}, applied {image.applied}, committed {commit}, last index "
                f"{image.last}, which are not in this order"
            )
            return [self.broken("indexes in order", text, node, commit)]
        if len(image.terms) != image.last - image.base:
            missing = [at for at in range(image.base + 1, image.last + 1) if at not in image.terms][:5]
            beyond = sorted(at for at in image.terms if not image.base < at <= image.last)[:5]
            text = (
                f"{node} has {what} {len(image.terms)} entries between {image.base} and {image.last}; missing: "
                f"{missing}, out of place: {beyond}"
            )
            return [self.broken("log without gaps", text, node, image.last)]
        return []

    # Commits.

    def committed_on(
        self,
        node: str,
        image: RangeImage,
        before: int,
        quorums: Sequence[frozenset[int]],
    ) -> list[Violation]:
        """A node, whose image holds its batch already, has raised its commit index from `before`. `quorums` are the
        voters (two sets in a joint configuration) that it counted."""
        commit = image.hard_state.commit
        if not self._terms and self.committed < image.base:
            # A range that came from a split has its first entry after that index.
            self._first = image.base + 1
        found = self._compare(node, image, before, commit)
        if found or commit <= self.committed:
            return found
        for index in range(self.committed + 1, commit + 1):
            term = image.term(index)
            if term is None:
                text = f"{node} commits up to {commit} without having entry {index}"
                return [self.broken("committed entries stay", text, node, index)]
            self._terms.append(term)
        self._commits.append((image.hard_state.term, commit))
        return self._on_quorum(node, commit, self._terms[-1], quorums)

    def _compare(self, node: str, image: RangeImage, before: int, commit: int) -> list[Violation]:
        """What the node calls committed in `(before, commit]` is what is known to be."""
        for index in range(max(before + 1, image.base, self._first), min(commit, self.committed) + 1):
            mine, known = image.term(index), self._terms[index - self._first]
            if mine != known:
                text = f"{node} has term {mine} committed at index {index}, where term {known} was committed before"
                return [self.broken("committed entries stay", text, node, index)]
        return []

    def _on_quorum(
        self, node: str, index: int, term: int, quorums: Sequence[frozenset[int]]
    ) -> list[Violation]:
        holders = {
            number: other
            for other, number, _, durable in self._images(self.range_id)
            if durable.has(index, term)
        }
        for voters in quorums:
            if not voters:
                continue
            having = sorted(voters & holders.keys())
            if len(having) <= len(voters) // 2:
                who = ", ".join(holders[number] for number in having) or "nobody"
                text = (
                    f"{node} commits entry {index} of term {term}, which is durable on {who}: {len(having)} of "
                    f"{len(voters)} voters ({', '.join(map(str, sorted(voters)))})"
                )
                return [self.broken("committed on a durable quorum", text, node, index)]
        return []

    def applied(self, node: str, entry: Entry) -> list[Violation]:
        """A node has applied an entry, and its commit index of that moment is known."""
        known = self.committed_term(entry.index)
        if known == entry.term:
            return []
        text = f"{node} applied {describe_entry(entry)}, but " + (
            "nothing is committed there" if known is None else f"the entry of term {known} is committed there"
        )
        return [self.broken("only committed entries are applied", text, node, entry.index)]


def shown_state(state: HardState) -> str:
    """`term 3, vote 2, commit 7`."""
    return f"term {state.term}, vote {state.vote}, commit {state.commit}"
