"""Watch streams: each of the nine guarantees broken at its smallest, beside a stream that keeps all."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.watch import WatchChecker
from results.verdict import UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = WatchChecker()


def put(
    revision: int, key: str, value: Any, previous: Any = None, is_create: bool | None = None
) -> dict[str, Any]:
    return {
        "revision": revision,
        "type": "put",
        "key": key,
        "value": value,
        "previous": previous,
        "is_create": previous is None if is_create is None else is_create,
    }


def delete(revision: int, key: str, previous: Any) -> dict[str, Any]:
    return {
        "revision": revision,
        "type": "delete",
        "key": key,
        "value": None,
        "previous": previous,
        "is_create": False,
    }


class Watched(Story):
    def put(self, revision: int, key: str, value: Any) -> Watched:
        self.did(0, "put", [key, value], [key, value, revision])
        return self

    def delete(self, revision: int | None, key: str) -> Watched:
        self.did(0, "delete", key, [key, revision])
        return self

    def watch(self, asked: dict[str, Any], *batches: list[dict[str, Any]], bookmarks: Any = ()) -> Watched:
        self.did(1, "watch", asked, {"events": list(batches), "bookmarks": list(bookmarks)})
        return self


def three() -> Watched:
    """x is made, changed and deleted; y is made between."""
    return Watched().put(1, "x", "a").put(2, "y", "b").put(3, "x", "c").delete(4, "x").delete(None, "z")


X1, Y2, X3, X4 = put(1, "x", "a"), put(2, "y", "b"), put(3, "x", "c", "a"), delete(4, "x", "c")
ALL = {"prefix": "", "revision": 1}


def test_a_stream_that_keeps_all_guarantees() -> None:
    story = three().watch(ALL, [X1, Y2], [X3], [X4], bookmarks=[[1, 2], [3, 4], 4])
    verdict = story.judged(CHECKER)
    assert verdict.outcome == VALID, verdict.sentence
    assert three().watch({"key": "x", "revision": 2}, [X3, X4]).judged(CHECKER).outcome == VALID
    assert three().watch({"key": "x"}, [X3]).judged(CHECKER).outcome == VALID
    for asked in ({"start": "x", "end": "y"}, {"end": "y"}):
        assert three().watch({**asked, "revision": 1}, [X1], [X3]).judged(CHECKER).outcome == VALID
    assert three().watch({"start": "y", "revision": 1}, [Y2]).judged(CHECKER).outcome == VALID


@pytest.mark.parametrize(
    ("asked", "batches", "bookmarks", "kind"),
    [
        ({"key": "x", "revision": 1}, [[X1], [Y2], [X3]], [], "event not asked for (filter)"),
        ({"prefix": "", "revision": 2}, [[X1, Y2, X3]], [], "event not asked for (filter)"),
        (ALL, [[X1], [X3], [Y2]], [], "events out of order (ordered)"),
        (ALL, [[X1], [Y2], [X1], [X3]], [], "event sent twice (unique)"),
        (ALL, [[X1], [Y2], [X3]], [[2, 3]], "event after its bookmark (bookmarkable)"),
        (ALL, [[X1], [Y2]], [[0, 3]], "event after its bookmark (bookmarkable)"),
        (ALL, [[X1], [Y2]], [[1, 1], [1, 3]], "event after its bookmark (bookmarkable)"),
        (ALL, [[X1], [X3]], [], "event left out (reliable)"),
        ({"prefix": ""}, [[X1], [X3]], [], "event left out (reliable)"),
        ({"prefix": "y", "revision": 1}, [[X1], [Y2]], [], "event not asked for (filter)"),
        ({"prefix": "", "revision": 2}, [[Y2, X3], [X1]], [[1, 3]], "event not asked for (filter)"),
        (ALL, [[X1], [Y2]], [[2, 3]], "event left out (reliable)"),
        (ALL, [[X1], [Y2]], [3], "event left out (reliable)"),
        (ALL, [[Y2], [X3]], [], "event left out at the start (resumable)"),
        ({"key": "x", "revision": 2}, [], [4], "event left out at the start (resumable)"),
        (ALL, [[X1, Y2, put(3, "x", "c", "b")]], [], "wrong previous value"),
        (ALL, [[X1, Y2, put(3, "x", "c", None, False)]], [], "wrong previous value"),
        (ALL, [[X1, Y2, X3, delete(4, "x", "a")]], [], "wrong previous value"),
        (ALL, [[X1, Y2, put(3, "x", "c", "a", True)]], [], "wrong is-create"),
        (ALL, [[put(1, "x", "a", None, False)]], [], "wrong is-create"),
        (ALL, [[X1, Y2, X3, {**X4, "is_create": True}]], [], "wrong is-create"),
        (ALL, [[X1, put(2, "y", "z")]], [], "event never written"),
        (ALL, [[X1, put(2, "y", "a")]], [], "event never written"),
    ],
)
def test_each_guarantee_broken(asked: Any, batches: Any, bookmarks: Any, kind: str) -> None:
    assert kind in kinds(three().watch(asked, *batches, bookmarks=bookmarks).judged(CHECKER))


def test_progress_that_came_with_a_batch_is_a_bookmark_after_it() -> None:
    def sent(*batches: Any) -> list[str]:
        return kinds(three().did(1, "watch", ALL, {"events": list(batches)}).judged(CHECKER))

    assert sent({"events": [X1, Y2], "progress": 2}, {"events": [X3]}) == []
    assert sent({"events": [X1]}, {"events": [Y2], "progress": 2}, [X3]) == []
    assert sent({"events": [X1, Y2], "progress": 3}, [X3]) == ["event after its bookmark (bookmarkable)"]
    assert sent({"events": [X1, Y2], "progress": 3}) == ["event left out (reliable)"]
    assert sent({"progress": 2}, [X3]) == ["event left out at the start (resumable)"]


def test_what_was_left_out_is_told_with_who_knows_of_it() -> None:
    verdict = three().watch(ALL, [X1], [X4]).judged(CHECKER)
    assert "event left out (reliable)" in kinds(verdict)
    assert (
        "was sent revisions 1 to 4, without the put of 'b' to 'y' at revision 2 (known by" in verdict.sentence
    )
    assert "and 1 other event (revisions 3)" in verdict.sentence
    verdict = three().watch(ALL, [put(3, "x", "c", "a")]).judged(CHECKER)
    assert "was to begin at revision 1 and began with revision 3, without the put of 'a'" in verdict.sentence
    verdict = three().watch({"key": "x", "revision": 4}, bookmarks=[4]).judged(CHECKER)
    assert kinds(verdict) == ["event left out at the start (resumable)"]
    assert "got a bookmark at 4, without the delete of 'x' at revision 4" in verdict.sentence


def test_what_was_there_before_is_told() -> None:
    verdict = three().watch({"key": "x", "revision": 3}, [put(3, "x", "c", "b")]).judged(CHECKER)
    assert kinds(verdict) == ["wrong previous value"]
    assert "but the put of 'a' to 'x' at revision 1 came before" in verdict.sentence
    assert verdict.anomalies[0].operations == [0, 1, 10, 11]
    again = three().put(5, "x", "d")
    assert again.watch({"key": "x", "revision": 5}, [put(5, "x", "d")]).judged(CHECKER).outcome == VALID
    verdict = again.watch({"key": "x", "revision": 5}, [put(5, "x", "d", "c")]).judged(CHECKER)
    assert set(kinds(verdict)) == {"wrong previous value", "wrong is-create"}
    assert "but the delete of 'x' at revision 4 came before" in verdict.sentence


def test_a_torn_revision() -> None:
    """Two keys are changed at one revision (a transaction, which these operations do not have, so two puts say so)."""
    both = Watched().put(1, "x", "a").put(1, "y", "b")
    assert both.watch(ALL, [X1, put(1, "y", "b")]).judged(CHECKER).outcome == VALID
    verdict = Watched().put(1, "x", "a").put(1, "y", "b").watch(ALL, [X1], [put(1, "y", "b")]).judged(CHECKER)
    assert kinds(verdict) == ["torn revision (atomic)"]
    three_keys = Watched().put(1, "x", "a").put(1, "y", "b").put(1, "z", "c")
    verdict = three_keys.watch(ALL, [X1], [put(1, "y", "b"), put(1, "z", "c")]).judged(CHECKER)
    assert verdict.anomalies[0].evidence["count"] == 1


def test_streams_that_contradict_each_other_or_a_write() -> None:
    story = Watched()
    story.crashed(7, "put", ["x", "a"])
    story.crashed(8, "put", ["x", "b"])
    story.watch(ALL, [X1])
    assert story.judged(CHECKER).outcome == VALID
    story.watch(ALL, [put(1, "x", "b")])
    assert kinds(story.judged(CHECKER)) == ["event contradicts another"]
    assert "event contradicts another" in kinds(
        Watched().put(1, "x", "a").put(2, "x", "b").watch(ALL, [put(1, "x", "b")]).judged(CHECKER)
    )


def test_what_came_after_a_contradiction_is_not_judged_by_it() -> None:
    """Who says that the value before was b may be right."""
    story = Watched()
    story.crashed(7, "put", ["x", "a"])
    story.crashed(8, "put", ["x", "b"])
    story.put(2, "x", "c").watch(ALL, [X1]).watch(ALL, [put(1, "x", "b"), put(2, "x", "c", "b")])
    assert kinds(story.judged(CHECKER)) == ["event contradicts another"]


def test_what_one_stream_shows_the_other_must_show_too() -> None:
    story = Watched()
    story.crashed(7, "put", ["x", "a"])
    story.put(2, "x", "c").put(3, "x", "d")
    story.watch({"key": "x", "revision": 2}, [put(2, "x", "c", "a"), put(3, "x", "d", "c")])
    assert story.judged(CHECKER).outcome == VALID
    story.watch(ALL, [X1, put(2, "x", "c", "a")])
    assert story.judged(CHECKER).outcome == VALID
    story.watch(ALL, [put(2, "x", "c", "a")])
    assert kinds(story.judged(CHECKER)) == ["event left out at the start (resumable)"]


def test_a_write_of_unknown_outcome_excuses_what_it_would_explain() -> None:
    for crashed, event, outcome in (
        ([], put(1, "x", "a", "q", False), "wrong previous value"),
        ([("put", ["x", "q"])], put(1, "x", "a", "q", False), None),
        ([("put", ["x", "r"])], put(1, "x", "a", "q", False), "wrong previous value"),
        ([("put", ["y", "q"])], put(1, "x", "a", "q", False), "wrong previous value"),
        ([("put", ["x", "q"])], put(1, "x", "a", None, True), None),
    ):
        story = Watched()
        for number, (f, asked) in enumerate(crashed):
            story.crashed(10 + number, f, asked)
        verdict = story.put(1, "x", "a").watch(ALL, [event]).judged(CHECKER)
        assert (outcome in kinds(verdict)) if outcome else verdict.outcome == VALID, verdict.sentence
    gone = Watched().put(1, "x", "a")
    gone.crashed(9, "delete", "x")
    assert gone.put(3, "x", "c").watch(ALL, [X1], [put(3, "x", "c", None)]).judged(CHECKER).outcome == VALID


def test_a_crashed_write_that_a_stream_has_shown_excuses_nothing_else() -> None:
    """Nobody knows when q was written, until a stream shows it at revision 1; 3 replaced what came later."""
    story = Watched()
    story.crashed(9, "put", ["x", "q"])
    story.put(2, "x", "c").put(3, "x", "d").watch({"key": "x", "revision": 3}, [put(3, "x", "d", "q")])
    assert story.judged(CHECKER).outcome == VALID
    story.watch({"key": "x", "revision": 1}, [put(1, "x", "q"), put(2, "x", "c", "q")])
    assert kinds(story.judged(CHECKER)) == ["wrong previous value"]
    again = Watched()
    again.crashed(9, "put", ["x", "q"])
    again.put(1, "x", "q").put(2, "x", "c").put(3, "x", "d")
    again.watch(ALL, [put(1, "x", "q"), put(2, "x", "c", "q"), put(3, "x", "d", "q")])
    assert again.judged(CHECKER).outcome == VALID  # It was written twice, and once nobody knows when.


def test_two_crashed_writes_of_one_value_and_one_of_them_was_shown() -> None:
    story = Watched()
    story.crashed(8, "put", ["x", "q"])
    story.crashed(9, "put", ["x", "q"])
    story.put(2, "x", "c").put(3, "x", "d")
    story.watch(ALL, [put(1, "x", "q"), put(2, "x", "c", "q"), put(3, "x", "d", "q")])
    assert story.judged(CHECKER).outcome == VALID, "the other one may have come between"


def test_what_makes_an_event_no_creation_is_a_put_that_may_have_been_there() -> None:
    shown = Watched()
    shown.crashed(9, "put", ["x", "q"])
    shown.delete(2, "x").put(3, "x", "c")
    shown.watch(ALL, [put(1, "x", "q"), delete(2, "x", "q"), put(3, "x", "c", None, False)])
    assert kinds(shown.judged(CHECKER)) == ["wrong is-create"]
    gone = Watched()
    gone.crashed(9, "delete", "x")
    gone.put(1, "x", "a").watch(ALL, [put(1, "x", "a", None, False)])
    assert kinds(gone.judged(CHECKER)) == ["wrong is-create"]
    other = three().did(0, "get", "x", "a").watch(ALL, [X1, Y2, X3])
    assert other.judged(CHECKER).outcome == VALID


def test_writes_that_were_acknowledged_without_a_revision_may_have_been_anywhere() -> None:
    for answer in (["x", "q"], ["x", "q", None]):
        story = Watched().did(0, "put", ["x", "q"], answer).put(1, "x", "a")
        assert story.watch(ALL, [put(1, "x", "a", "q", False)]).judged(CHECKER).outcome == VALID
        story.watch(ALL, [put(1, "x", "a", "p", False)])
        assert kinds(story.judged(CHECKER)) == ["wrong previous value"]
    strange = Watched().did(0, "put", ["x", "q"], ["x", "q", "1"]).put(1, "x", "a").watch(ALL, [X1])
    assert "1 value is not" in strange.judged(CHECKER).sentence
    gone = Watched().put(1, "x", "a").did(0, "delete", "x", "done").put(3, "x", "c")
    assert gone.watch(ALL, [X1, put(3, "x", "c")]).judged(CHECKER).outcome == VALID
    kept = Watched().put(1, "x", "a").did(0, "delete", "x", ["x", None]).put(3, "x", "c")
    assert "wrong previous value" in kinds(kept.watch(ALL, [X1, put(3, "x", "c")]).judged(CHECKER))


def test_events_of_failed_writes_and_fields_that_are_left_out() -> None:
    story = Watched().put(1, "x", "a")
    story.failed(3, "put", ["x", "b"])
    plain = {"revision": 2, "type": "put", "key": "x", "value": "b"}
    assert kinds(story.watch(ALL, [X1], [plain]).judged(CHECKER)) == ["event of a failed write"]
    unseen = three()
    unseen.failed(3, "put", ["x", "b"])
    assert unseen.watch(ALL, [X1, Y2, X3]).judged(CHECKER).outcome == VALID
    plain = {"revision": 1, "type": "put", "key": "x", "value": "a"}
    assert Watched().put(1, "x", "a").watch(ALL, [plain]).judged(CHECKER).outcome == VALID


def test_what_cannot_be_judged() -> None:
    assert three().judged(CHECKER).outcome == UNKNOWN
    assert three().watch({"key": "q", "revision": 1}).judged(CHECKER).outcome == UNKNOWN
    watches: list[tuple[Any, Any]] = [
        ({"key": 3}, {"events": [[X1]]}),
        ("x", {"events": [[X1]]}),
        (ALL, [[X1]]),
        ({"revision": "1"}, {"events": [[X1]]}),
        *((ALL, {"events": events}) for events in (7, [7], [[7]], [[{"type": "put"}]])),
        *((ALL, {"events": [[X1]], "bookmarks": marks}) for marks in (["1"], [["0", 1]], [[0, "1"]])),
    ]
    strange = three().did(0, "put", "x").did(0, "put", [1, "x"]).did(0, "delete", 7)
    for asked, answer in watches:
        strange.did(1, "watch", asked, answer)
    assert strange.judged(CHECKER).outcome == UNKNOWN
    assert f"{3 + len(watches)} values are not" in strange.judged(CHECKER).sentence


def test_a_put_that_cannot_be_read_may_have_been_any() -> None:
    strange = Watched().did(0, "put", "nonsense")
    verdict = strange.watch(ALL, [X1]).judged(CHECKER)
    assert (verdict.outcome, kinds(verdict)) == (UNKNOWN, [])
    later = Watched().put(1, "x", "a").did(0, "put", "nonsense").put(5, "x", "d")
    verdict = later.watch(ALL, [X1], [put(5, "x", "d", "z")]).judged(CHECKER)
    assert (verdict.outcome, kinds(verdict)) == (UNKNOWN, []), "z may have been there"
    known = Watched().put(1, "x", "a").put(5, "x", "d").watch(ALL, [X1], [put(5, "x", "d", "z")])
    assert kinds(known.judged(CHECKER)) == ["wrong previous value"]


def test_watches_that_failed_show_nothing() -> None:
    story = three()
    story.failed(3, "watch", ALL)
    story.crashed(4, "watch", ALL)
    verdict = story.watch({"key": "q", "revision": 1}).judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert verdict.sentence.startswith("none of 3 watches was sent an event or a bookmark")
    assert verdict.details == {"watches": 3, "events": 0, "bookmarks": 0, "writes": 5}


def test_a_database_that_was_not_empty() -> None:
    story = Watched().put(1, "x", "a").watch(ALL, [put(1, "x", "a", "old", False)])
    assert set(kinds(story.judged(CHECKER))) == {"wrong previous value", "wrong is-create"}
    assert story.judged(WatchChecker(empty_at_start=False)).outcome == VALID


def test_of_many_mistakes_a_few_are_told_and_all_are_counted() -> None:
    story = Watched()
    for revision in range(1, 101):
        story.put(revision, "x", revision)
    wrong = [put(revision, "x", revision, "?", False) for revision in range(1, 101)]
    (anomaly, *_) = story.watch(ALL, wrong).judged(CHECKER).anomalies
    assert anomaly.evidence["count"] == 100
    assert len(anomaly.evidence["examples"]) == 20
    assert anomaly.sentence.startswith("100 wrong previous value: ")


def test_an_event_is_not_sent_before_its_write_began() -> None:
    early = Watched().watch(ALL, [X1]).put(1, "x", "a")
    assert kinds(early.judged(CHECKER)) == ["event never written"]
    assert "which process 0 began to do only later (0.002–0.003 s)" in early.judged(CHECKER).sentence
    during = Watched()
    during.invoke(1, "watch", ALL)
    during.put(1, "x", "a")
    during.event(1, "ok", "watch", {"events": [[X1]]})
    assert during.judged(CHECKER).outcome == VALID


def test_a_delete_whose_answer_cannot_be_read_may_have_happened() -> None:
    for answer in ("x", ["x", 2, 7], {"revision": 2}):
        story = Watched().put(1, "x", "a").did(0, "delete", "x", answer).put(3, "x", "c")
        assert story.watch(ALL, [X1, delete(2, "x", "a"), put(3, "x", "c")]).judged(CHECKER).outcome == VALID


MANY = "more events than writes"


def test_a_write_is_shown_at_one_revision() -> None:
    once = Watched().put(5, "x", 1)
    assert once.watch(ALL, [put(5, "x", 1)]).watch(ALL, [put(5, "x", 1)]).judged(CHECKER).outcome == VALID
    verdict = once.watch(ALL, [put(5, "x", 1)], [put(7, "x", 1, 1)]).judged(CHECKER)
    assert kinds(verdict) == [MANY]
    assert "put of 1 to 'x' at revision 7, but there were at most 1 such put, known from" in verdict.sentence
    again = Watched().put(5, "x", 1).put(7, "x", 1).watch(ALL, [put(5, "x", 1)], [put(7, "x", 1, 1)])
    assert again.judged(CHECKER).outcome == VALID
    gone = Watched().put(5, "x", 1).delete(6, "x").put(7, "x", 2)
    more = [put(5, "x", 1), delete(6, "x", 1), put(7, "x", 2), delete(8, "x", 2)]
    assert kinds(gone.watch(ALL, more).judged(CHECKER)) == [MANY]
    gone.crashed(9, "delete", "x")
    assert kinds(gone.judged(CHECKER)) == [MANY], "that began later"
    assert kinds(gone.watch(ALL, more).judged(CHECKER)) == [MANY], "the first stream had it before"


def test_a_write_is_shown_at_the_revision_that_was_acknowledged() -> None:
    asked = {"prefix": "", "revision": 6}
    assert kinds(Watched().put(5, "x", 1).watch(asked, [put(6, "x", 1, 1)]).judged(CHECKER)) == [MANY]
    assert Watched().put(6, "x", 1).watch(asked, [put(6, "x", 1)]).judged(CHECKER).outcome == VALID
    for answer in (["x", 1], ["x", 1, None]):
        untold = Watched().put(5, "x", 1).did(0, "put", ["x", 1], answer)
        assert untold.watch(asked, [put(6, "x", 1, 1)]).judged(CHECKER).outcome == VALID
    strange = (
        Watched().put(5, "x", 1).did(0, "put", ["x", 1], ["x", 1, "6"]).watch(asked, [put(6, "x", 1, 1)])
    )
    assert strange.judged(CHECKER).outcome == UNKNOWN
    other = Watched().put(5, "x", 1).did(0, "put", "nonsense").watch(asked, [put(6, "x", 1, 1)])
    assert other.judged(CHECKER).outcome == UNKNOWN
    failed = Watched().put(5, "x", 1)
    failed.failed(2, "put", ["x", 1])
    assert kinds(failed.watch(asked, [put(6, "x", 1, 1)]).judged(CHECKER)) == [MANY]


def test_writes_of_unknown_outcome_explain_one_revision_each() -> None:
    shown = [put(5, "x", 1), put(6, "x", 1, 1)]
    story = Watched()
    story.crashed(8, "put", ["x", 1])
    assert kinds(story.watch(ALL, shown).judged(CHECKER)) == [MANY]
    two = Watched()
    two.crashed(8, "put", ["x", 1])
    two.crashed(9, "put", ["x", 1])
    assert two.watch(ALL, shown).watch(ALL, shown).judged(CHECKER).outcome == VALID
    later = Watched()
    later.crashed(8, "put", ["x", 1])
    later.watch(ALL, shown[:1])
    later.crashed(9, "put", ["x", 1])
    assert later.watch(ALL, shown).judged(CHECKER).outcome == VALID
    known = Watched()
    known.crashed(8, "put", ["x", 1])
    assert known.put(5, "x", 1).watch(ALL, shown).judged(CHECKER).outcome == VALID
    before = Watched()
    before.crashed(8, "put", ["x", 1])
    before.watch(ALL, shown[:1]).put(5, "x", 1)
    assert kinds(before.judged(CHECKER)) == ["event never written"], "at 5 is the one that began later"
