"""Holds: who may undo what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nemesis.holds import Holds


def test_the_last_to_let_go_heals() -> None:
    holds = Holds()
    assert holds.take("cut", ("n1", "n2"), 1) is True
    assert holds.take("cut", ("n1", "n2"), 2) is False
    assert holds.release("cut", ("n1", "n2"), 1) is False
    assert holds.release("cut", ("n1", "n2"), 2) is True
    assert holds.release("cut", ("n1", "n2"), 2) is False, "who does not hold has nothing to heal"


def test_kinds_do_not_mix_and_what_is_dropped_is_nobodys() -> None:
    holds = Holds()
    holds.take("pause", "n1", 1)
    assert holds.holders("down", "n1") == ()
    assert holds.drop("pause", "n1") == (1,)
    assert holds.release("pause", "n1", 1) is False
    assert holds.drop("pause", "n1") == ()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(1, 4))))
def test_exactly_the_last_release_says_so(moves: list[tuple[bool, str, int]]) -> None:
    """Against the obvious model: a set of steps for each thing."""
    holds = Holds()
    model: dict[str, set[int]] = {"a": set(), "b": set()}
    for take, thing, step in moves:
        if take:
            assert holds.take("cut", thing, step) == (not model[thing])
            model[thing].add(step)
        else:
            last = model[thing] == {step}
            model[thing].discard(step)
            assert holds.release("cut", thing, step) == last
        assert set(holds.holders("cut", thing)) == model[thing]
