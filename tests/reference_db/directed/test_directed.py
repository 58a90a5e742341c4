"""Every directed schedule shows its defect, and finds nothing wrong with the clean group."""

import importlib
import pkgutil
from collections.abc import Callable

import pytest

import reference_db.directed
from reference_db.defects import defect_names, describe

STORIES = {
    defect.directed: defect.name for name in defect_names() if (defect := describe(name)).directed is not None
}


def story(name: str) -> Callable[[bool], list[str]]:
    found: Callable[[bool], list[str]] = importlib.import_module(f"reference_db.directed.{name}").directed
    return found


@pytest.mark.parametrize("name", STORIES)
def test_with_the_defect_the_story_ends_badly(name: str) -> None:
    assert story(name)(True)


@pytest.mark.parametrize("name", STORIES)
def test_the_clean_twin_finds_nothing(name: str) -> None:
    assert story(name)(False) == []


def test_every_story_belongs_to_a_defect() -> None:
    there = {module.name for module in pkgutil.iter_modules(reference_db.directed.__path__)}
    witnessed = {describe(name).witnessed for name in defect_names()} - {None}
    assert there - {"stage", "clients"} == STORIES.keys() | witnessed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vote_stale_count", "both lead term 2"),
        ("no_prevote", "the leader of term 1 was replaced"),
        (
            "fig8_commit",
            "member 5 leads term 4 with '' of term 2 at index 2, where 'x' of term 1 was committed",
        ),
        ("commit_regress", "the commit index of member 3 went back from 3 to 0"),
        (
            "ack_wrong_leader",
            "entry 2 was committed as '' of term 2, and member 1 commits 'x' of term 1 there",
        ),
        ("conflict_not_truncated", "terms [0, 1, 2, 1, 1]"),
        ("append_aba", "n1 has applied entry 2 of term 1, and its disk holds term 2"),
        ("readindex_ctx_reuse", "answers the read second at index 1, although 3 was committed"),
        ("lease_kept_on_transfer", "answers the read late at index 1, although 3 was committed"),
        ("lease_promise_forgotten", "answers the read late at index 1, although 3 was committed"),
        ("lease_wallclock", "answers the read late at index 1, although 3 was committed"),
        ("snap_keeps_suffix", "behind it entries 6 of term 1, 7 of term 1"),
        ("joint_one_half", "where 'x' of term 1 was committed"),
        ("nonvoting_leader_self", "where '1' of term 1 was committed"),
    ],
)
def test_what_is_found_says_what_happened(name: str, words: str) -> None:
    assert any(words in sentence for sentence in story(name)(True)), story(name)(True)
